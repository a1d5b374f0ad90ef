"""Whose a run directory is, and what is refused before Ray starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raybench.cluster.jobs import training
from raybench.config import Config, dump_config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, DataError, ResourceError, RunError, UserError
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.runs.artifact import begin_run
from raybench.storage.claims import held
from raybench.training import checkpoints
from raybench.training.checkpoints import Identity
from raybench.training.sources import fingerprint_now
from tests.cluster.watch import Watch
from tests.training.test_checkpoints import state

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


class RayStartedError(Exception):
    """What ``no_ray`` raises where Ray would be started."""


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def session(**_: object) -> Iterator[None]:
        raise RayStartedError
        yield

    monkeypatch.setattr("raybench.cluster.session.session", session)
    monkeypatch.setenv("RAY_ADDRESS", "local")


def begun(out: Path, config: Config, *, with_config: bool = True) -> str:
    """Make a run directory as an interrupted training of ``config`` leaves it after two epochs."""
    folder = out / "checkpoints" / "checkpoint_2026-01-01_00-00-00.5"
    folder.mkdir(parents=True)
    checkpoints.write(
        folder, state(2), Identity.of(config, fingerprint_now(PanelSpec.of(config)), workers=2, rows="resident")
    )
    if with_config:
        begin_run(str(out), config)
    return str(out)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(
    config: Config, out: str, told: str, *, resume: bool = False, kind: type[Exception] = RunError
) -> None:
    before = files(Path(out))
    with pytest.raises(kind, match=told):
        training.train(config, out=out, resume=resume)
    assert files(Path(out)) == before


def test_checkpoints_left_over_are_not_a_new_training_s(make_config: MakeConfig, tmp_path: Path) -> None:
    out = begun(tmp_path / "run", make_config(train__seed=1), with_config=False)
    for resume in (False, True):
        assert_refused(make_config(), out, r"of another configuration .*train\.seed is 1 there, 0 here", resume=resume)
    assert_refused(
        make_config(train__seed=1), out, "2 epochs of an unfinished training of this configuration; add --resume"
    )


def test_checkpoints_of_another_run_under_one_s_own_configuration(make_config: MakeConfig, tmp_path: Path) -> None:
    out = begun(tmp_path / "run", make_config(model__dropout=0.5))
    begin_run(out, make_config())
    assert_refused(make_config(), out, r"model\.dropout is 0\.5 there, 0\.0 here", resume=True)


def test_bars_that_changed_are_not_gone_on_with(make_config: MakeConfig, market_bars: str, tmp_path: Path) -> None:
    shutil.copytree(market_bars, tmp_path / "bars")
    config = make_config(data__bars=str(tmp_path / "bars"))
    out, before = begun(tmp_path / "run", config), fingerprint_now(PanelSpec.of(config))
    change(tmp_path / "bars", market_bars)
    told = rf"of other data \(fingerprint {before[:12]}, now {fingerprint_now(PanelSpec.of(config))[:12]}\)"
    assert_refused(config, out, told, resume=True)


def change(bars: Path, like: str) -> None:
    """Put bars that differ in one value into the place of others."""
    from raybench.market.bars import open_bars

    opened = open_bars(like)
    frame = opened.block().to_frame().dropna()
    frame.loc[frame.index[0], "close"] *= 1.001
    table = bars.parent / "changed.parquet"
    frame.to_parquet(table)
    universes = {name: opened.listed(name) for name in opened.universes if name != "all"}
    shutil.rmtree(bars)
    import_bars(open_source(str(table), "parquet"), str(bars), universes=universes)


def test_what_is_the_same_goes_on(make_config: MakeConfig, market_bars: str, tmp_path: Path) -> None:
    """Another number of workers, and another name of the same bars."""
    out = begun(tmp_path / "run", make_config())
    (tmp_path / "link").symlink_to(market_bars)
    other = make_config(cluster__num_workers=1, cluster__max_failures=0, data__bars=str(tmp_path / "link"))
    with pytest.raises(RayStartedError):
        training.train(other, out=out, resume=True)


def test_a_folder_that_is_being_written_is_left_alone(make_config: MakeConfig, tmp_path: Path) -> None:
    out = begun(tmp_path / "run", make_config())
    with held(out, what="train"):
        assert_refused(
            make_config(), out, r"is being written by `raybench train` \(process", resume=True, kind=DataError
        )


@pytest.mark.parametrize("lr", [None, 0.5])
def test_the_owner_of_a_folder_is_named_before_anything_else(
    make_config: MakeConfig, tmp_path: Path, lr: float | None
) -> None:
    """Without --resume too, and if it is for another configuration."""
    out = begun(tmp_path / "run", make_config())
    with held(out, what="train"):
        wanted = make_config() if lr is None else make_config(train__lr=lr)
        assert_refused(wanted, out, r"is being written by `raybench train` \(process", kind=DataError)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_no_epoch_was_finished_is_taken(
    make_config: MakeConfig, tmp_path: Path, resume: bool
) -> None:
    """As after a loss that was not finite, whose message says to lower train.lr."""
    begin_run(str(tmp_path / "run"), make_config())
    for config in (make_config(), make_config(train__lr=1e-4)):
        with pytest.raises(RayStartedError):
            training.train(config, out=str(tmp_path / "run"), resume=resume)


def test_a_configuration_that_a_person_wrote_there_stays(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(dump_config(make_config()) + "# mine\n")
    assert_refused(make_config(train__lr=1e-4), str(tmp_path / "run"), "another configuration")


def test_how_a_training_of_another_length_goes(make_config: MakeConfig, make_run: MakeRun, tmp_path: Path) -> None:
    config = make_config(train__max_epochs=3)
    longer = make_config(train__max_epochs=9, train__early_stop__patience=9)
    out = begun(tmp_path / "run", config)
    assert_refused(
        longer, out, r"go on as it began, with train\.early_stop\.patience=\d+ train\.max_epochs=3 and --resume"
    )
    assert_refused(longer, make_run(config), "gets neither longer nor shorter: train into another --out", resume=True)


def test_a_training_owns_its_folder_until_it_ends(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    @contextmanager
    def session(**_: object) -> Iterator[None]:
        seen.append((tmp_path / "run.claim").exists())
        raise RayStartedError
        yield

    monkeypatch.setattr("raybench.cluster.session.session", session)
    with pytest.raises(RayStartedError):
        training.train(make_config(), out=str(tmp_path / "run"))
    assert seen == [True]
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_compared_with_the_data_named(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    shutil.copytree(market_bars, tmp_path / "bars")
    config = make_config(data__bars=str(tmp_path / "bars"))
    run = make_run(config)
    watch = Watch(0, lambda: None)
    assert training.train(config, out=run, progress=watch).uri == run
    assert training.train(make_config(cluster__num_workers=1), out=run, progress=watch).uri == run  # equal bars
    assert watch.notes == []
    change(tmp_path / "bars", market_bars)
    assert training.train(config, out=run, progress=watch).uri == run
    assert "was trained on other data" in watch.notes[0]
    shutil.move(tmp_path / "bars", tmp_path / "moved")
    assert training.train(config, out=run).uri == run
    assert_refused(
        make_config(data__bars=str(tmp_path / "moved")), run, "was trained on other data .*choose another --out"
    )
    assert_refused(make_config(data__bars=str(tmp_path / "no")), run, "is not a bars dataset", kind=DataError)


REFUSED: dict[str, tuple[dict[str, Any], type[UserError], str]] = {
    "bars": ({"data__bars": "/no/bars"}, DataError, "/no/bars: is not a bars dataset"),
    "universe": ({"data__universe": "csi301"}, DataError, "no universe csi301; it has all, demo, late"),
    "label": ({"data__label": "Ref($amount, -1) / $close"}, DataError, r"data\.label reads \$amount, which .* it has"),
    "weight": (
        {"train__sample_weight": "{type: column, column: cap}"},
        DataError,
        r"no field cap, which train\.sample_weight\.column names",
    ),
    "dates": (
        {"data__segments__valid": "[2030-01-01, 2030-06-30]", "data__segments__test": "[2030-07-01, 2030-12-31]"},
        DataError,
        r"data\.segments\.valid \(2030-01-01 to 2030-06-30\) has no date of .*, which runs from 2014",
    ),
    "workers": ({"cluster__num_workers": 500}, ResourceError, r"500 workers of 1 CPU.*lower cluster\.num_workers"),
    "cpus": ({"cluster__cpus_per_worker": 500}, ResourceError, r"lower cluster\.cpus_per_worker"),
    "gpu": ({"cluster__use_gpu": True}, ResourceError, "the cluster has no GPU"),
    "network": ({"model": "{type: nowhere:Net}"}, ConfigError, "there is no module nowhere"),
    "concepts": ({"data__concepts": "/no/concepts"}, DataError, "/no/concepts"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_told_before_ray_starts(make_config: MakeConfig, tmp_path: Path, what: str) -> None:
    changes, kind, told = REFUSED[what]
    assert_refused(make_config(**changes), str(tmp_path / "run"), told, kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_columns_of_a_table_are_told_before_ray_starts(make_config: MakeConfig, tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    pd.DataFrame({"instrument": ["A"], "datetime": pd.to_datetime(["2014-01-02"]), "x": [1.0]}).to_parquet(table)
    tree = make_config().model_dump(by_alias=True)
    tree["data"] |= {"bars": None, "universe": "all", "features": str(table), "label": "LABEL0"}
    for columns, told in ((["y"], "no column y"), (["x"], r"no column LABEL0, which data\.label names")):
        tree["data"]["feature_set"] = {"type": "table", "columns": columns}
        assert_refused(Config.model_validate(tree), str(tmp_path / "run"), told, kind=DataError)


def test_nothing_is_trained_into_what_is_something_else(make_config: MakeConfig, market_bars: str) -> None:
    assert_refused(make_config(), market_bars, "--out is .* which holds a bars dataset", kind=DataError)
