"""One new date costs what one date costs: no more is asked of the store, however many dates or years are there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from raybench.config import Config
from raybench.market.bars import Bars, open_bars
from raybench.panel.frame_parts import BarRows
from tests.cluster.s3_requests import counted
from tests.cluster.s3_server import BUCKET, file_system, upload

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
MOST = 20


def scored(words: list[str], server: Mapping[str, str]) -> list[str]:
    """Score in a process of its own; gives what was asked of the store."""
    with counted(server["AWS_ENDPOINT_URL"]) as (endpoint, requests):
        line = [sys.executable, "-m", "raybench", "score", *words, "--local", "-q"]
        known = os.environ | dict(server) | {"AWS_ENDPOINT_URL": endpoint}
        done = subprocess.run(line, env=known, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return list(requests)


@pytest.mark.slow
def test_the_requests_for_one_new_date_do_not_grow_with_the_table(
    run: str, market_bars: str, server: Mapping[str, str]
) -> None:
    """Run, bars and table are all there: three new dates, then one, then none."""
    upload(market_bars, "bars", server)
    upload(run, "run", server)
    days = [str(day) for day in open_bars(market_bars).calendar[-8:].astype("datetime64[D]")]
    line = ["--model", f"s3://{BUCKET}/run", "--bars", f"s3://{BUCKET}/bars"]
    store = file_system(server["AWS_ENDPOINT_URL"])
    seen = {}
    for there in (300, 3_000):
        to = f"s3://{BUCKET}/scores-{there}"
        scored([*line, "--to", to, "--start", days[0], "--end", days[4]], server)
        with store.open_input_stream(f"{BUCKET}/scores-{there}/date={days[0]}/scores.parquet") as stream:
            old = stream.read()
        for day in np.datetime64("2000-01-03") + np.arange(there):
            with store.open_output_stream(f"{BUCKET}/scores-{there}/date={day}/scores.parquet") as stream:
                stream.write(old)
        more = scored([*line, "--to", to, "--since-last"], server)
        store.delete_file(f"{BUCKET}/scores-{there}/date={days[-1]}/scores.parquet")
        one = scored([*line, "--to", to, "--since-last"], server)
        none = scored([*line, "--to", to, "--since-last"], server)
        seen[there] = [len(one), len(more), len(none)]
        assert [request for request in one if "list-type" in request] == []
        assert Counter(request.partition(" ")[0] for request in one)["PUT"] == 2, "the date, and the line of the job"
    assert seen[300] == seen[3_000]
    one_date, three_dates, nothing_new = seen[300]
    assert one_date <= MOST + 1
    assert three_dates <= MOST + 3
    assert nothing_new < one_date


def test_one_new_date_reads_the_rows_of_its_windows_and_no_more(
    run: str, market_bars: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A window of 8, and features that look 60 rows back: 67 calendar entries and the date itself."""
    from raybench.cluster.jobs.scoring import score

    days = [str(day) for day in open_bars(market_bars).calendar[-3:].astype("datetime64[D]")]
    score(run, bars=market_bars, to=str(tmp_path), start=days[0], end=days[1], local=True)
    blocks, block = [], Bars.block

    def noted(self: Bars, *given: object, **options: object) -> object:
        blocks.append(block(self, *given, **options))  # type: ignore[arg-type]
        return blocks[-1]

    frames, part_of = [], BarRows.part_of

    def framed(self: BarRows, block: object) -> object:
        frames.append(part_of(self, block))  # type: ignore[arg-type]
        return frames[-1]

    monkeypatch.setattr(Bars, "block", noted)
    monkeypatch.setattr(BarRows, "part_of", framed)
    assert list(score(run, bars=market_bars, to=str(tmp_path), since_last=True, local=True).written) == days[2:]
    read = np.unique(np.concatenate([one.datetime_R for one in blocks]))
    assert len(read) <= 60 + 8
    assert str(read[-1].astype("datetime64[D]")) == days[2]
    assert len(np.unique(np.concatenate([part.datetime_R for part in frames]))) == 8


@pytest.mark.parametrize("thin", [None, 0, 2, 5])
def test_whenever_a_job_of_a_few_dates_is_killed_no_date_is_passed_by(
    run: str, market_bars: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, thin: int | None
) -> None:
    """Before each date is published, those before it are there, or noted; and nothing is noted that need not be."""
    from raybench.cluster.jobs.scoring import score
    from raybench.scoring import job
    from raybench.scoring.refused import read_refused
    from tests.cluster.scored import import_frame

    days = [str(day) for day in open_bars(market_bars).calendar[-7:].astype("datetime64[D]")]
    rows, to = open_bars(market_bars).block().to_frame(), str(tmp_path / "scores")
    if thin is not None:
        there = rows["instrument"] <= "SYN0004"
        fields = ["open", "high", "low", "close", "volume"]
        rows.loc[(rows["datetime"] == days[thin + 1]) & ~there, fields] = np.nan
    bars = import_frame(rows, str(tmp_path / "bars"), like=market_bars)
    score(run, bars=bars, to=to, start=days[0], end=days[0], local=True)
    seen, write_date = [], job.write_date

    def watched(to: str, day: np.datetime64, *given: object) -> None:
        noted = {str(day): facts for day, facts in read_refused(to).items()}
        behind = [before for before in days if before < str(day) and not (Path(to) / f"date={before}").exists()]
        assert set(behind) <= set(noted)
        seen.append((str(day), len(noted)))
        write_date(to, day, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "write_date", watched)
    done = score(run, bars=bars, to=to, since_last=True, local=True)
    refused = [] if thin is None else [days[thin + 1]]
    assert list(done.low_coverage) == refused
    assert [day for day, _ in seen] == list(done.written) == [day for day in days[1:] if day not in refused]
    assert [day for day, noted in seen if noted] == ([] if thin is None else days[thin + 2 :])
    assert list(map(str, read_refused(to))) == refused


def test_a_date_that_stays_refused_is_not_tried_again_and_does_not_make_others_be(
    run: str, market_bars: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One date a year ago that never reaches the coverage: the next morning reads its own rows."""
    from raybench.cluster.jobs.scoring import score
    from raybench.scoring.refused import read_refused
    from tests.cluster.scored import import_frame

    calendar = open_bars(market_bars).calendar.astype("datetime64[D]")
    thin, days = str(calendar[-200]), [str(day) for day in calendar[-2:]]
    rows = open_bars(market_bars).block().to_frame()
    rows.loc[(rows["datetime"] == thin) & (rows["instrument"] > "SYN0004"), ["open", "high", "low", "close"]] = np.nan
    rows.loc[rows["datetime"] == thin, "volume"] = np.nan
    bars, to = import_frame(rows, str(tmp_path / "bars"), like=market_bars), str(tmp_path / "scores")
    done = score(run, bars=bars, to=to, start=thin, end=days[0], local=True)
    assert done.low_coverage == (thin,)
    assert not done.newest_refused
    blocks, block = [], Bars.block

    def noted(self: Bars, *given: object, **options: object) -> object:
        blocks.append(block(self, *given, **options))  # type: ignore[arg-type]
        return blocks[-1]

    monkeypatch.setattr(Bars, "block", noted)
    done = score(run, bars=bars, to=to, since_last=True, local=True)
    assert list(done.written) == days[1:]
    assert (done.low_coverage, done.newest_refused) == ((thin,), False)
    assert any("refused before, and nothing has come since" in line for line in done.warnings)
    assert len(np.unique(np.concatenate([one.datetime_R for one in blocks]))) <= 60 + 8
    # what comes for it is found, and read by itself
    blocks.clear()
    import_frame(open_bars(market_bars).block().to_frame(), str(tmp_path / "bars2"), like=market_bars)
    done = score(run, bars=str(tmp_path / "bars2"), to=to, since_last=True, local=True)
    assert list(done.written) == [thin]
    assert read_refused(to) == {}
    assert max(len(np.unique(one.datetime_R)) for one in blocks[1:]) <= 60 + 8
