"""What a bench knows of fits that have ended, and of what it was asked for, when it is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raybench.comparison.asked import Asked, Bench, Ended
from raybench.comparison.fits import Fit, plan_fits
from raybench.comparison.ledger import Results
from raybench.comparison.results import DAILY, daily_path, failed_row, identified
from raybench.errors import RunError


def ended(fit: Fit) -> tuple[dict[str, Any], pd.DataFrame]:
    row = {**identified(fit.name, fit.config, folder=fit.folder, roll=fit.roll), "Rank IC": 0.1, "error": None}
    days = pd.DataFrame({"datetime": pd.date_range("2015-08-03", periods=3), "ic": 0.2, "rank_ic": [0.1, None, 0.2]})
    return row, days.assign(name=fit.name, seed=fit.seed, roll=fit.roll)[list(DAILY)]


@pytest.mark.parametrize("rolling", [None, "2m"])
def test_what_was_put_is_found_again(make_config, tmp_path: Path, rolling: str | None) -> None:
    fits = plan_fits({"a": make_config(), "b": make_config(train__lr=1.0)}, 2, rolling=rolling)
    known = Results(str(tmp_path), fits)
    known.put(fits[2], *ended(fits[2]))
    known.put(fits[0], *ended(fits[0]))
    known.put(fits[1], failed_row("a", fits[1].config, "diverged", folder=fits[1].folder, roll=fits[1].roll), None)
    again = Results.opened(str(tmp_path), fits)
    pd.testing.assert_frame_equal(again.frame(), known.frame())
    assert again.frame()["run"].tolist() == [fit.folder for fit in fits[:3]]
    assert [again.went_well(fit) for fit in fits[:4]] == [True, False, True, False]
    again.put(fits[1], *ended(fits[1]))
    assert len(again.daily()) == 9
    assert Results.opened(str(tmp_path), fits[1:]).row(fits[0]) is None


def test_a_row_without_its_days_is_not_kept(make_config, tmp_path: Path) -> None:
    fits = plan_fits({"a": make_config(), "b": make_config(train__lr=1.0)}, 1)
    known = Results(str(tmp_path), fits)
    for fit in fits:
        known.put(fit, *ended(fit))
    Path(daily_path(str(tmp_path), "a")).unlink()
    again = Results.opened(str(tmp_path), fits)
    assert [again.went_well(fit) for fit in fits] == [False, True]
    assert not Results.opened(str(tmp_path / "nowhere"), fits).went_well(fits[0])


@pytest.mark.parametrize("name", ["results.parquet", "daily/a.parquet"])
def test_a_damaged_table_is_told_and_its_runs_are_judged_again(make_config, tmp_path: Path, name: str) -> None:
    fits = plan_fits({"a": make_config()}, 1)
    Results(str(tmp_path), fits).put(fits[0], *ended(fits[0]))
    assert Results.are_whole(str(tmp_path))
    file = tmp_path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(RunError, match=r"is damaged: .* was written; the same command with --resume judges its runs"):
        Results.opened(str(tmp_path), fits)
    assert not Results.are_whole(str(tmp_path))
    again = Results.opened(str(tmp_path), fits, anew=True)
    assert not again.went_well(fits[0])
    again.put(fits[0], *ended(fits[0]))
    assert Results.opened(str(tmp_path), fits).went_well(fits[0])


def test_what_was_asked_for(make_config, tmp_path: Path) -> None:
    configs, out = {"a": make_config(), "b": make_config(train__lr=1.0)}, str(tmp_path)
    asked = Asked.of(plan_fits(configs, 2), None, expanding=False)
    assert Bench.read(out) is None
    Bench(asked=asked).write(out)
    stored = Bench.read(out)
    assert stored == Bench(asked=asked)
    asked.refuse_other(out, stored.asked)
    done = Bench(asked=asked, ended=Ended(seconds=1.5, finished="now", failed=1, warnings=("look",)))
    done.write(out)
    assert Bench.read(out) == done
    more = Asked.of(plan_fits(configs, 3), None, expanding=False)
    with pytest.raises(RunError, match=r"2 fits such as runs/a/seed-2 are asked for and not there"):
        more.refuse_other(out, asked)
    with pytest.raises(RunError, match=r"2 fits such as runs/a/seed-2 are there and not asked for"):
        asked.refuse_other(out, more)
    other = Asked.of(plan_fits({**configs, "a": make_config(train__lr=0.5)}, 2), None, expanding=False)
    with pytest.raises(RunError, match=r"runs/a/seed-0: train\.lr is 0\.003 there, 0\.5 here"):
        other.refuse_other(out, asked)
    (tmp_path / "bench.json").write_text('{"schema_version": 1}')
    with pytest.raises(RunError, match=r"bench\.json: is damaged"):
        Bench.read(out)
