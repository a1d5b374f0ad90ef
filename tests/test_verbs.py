"""The verbs of the package: loaded when used, and callable where they are packages too."""

from __future__ import annotations

import inspect

import pytest

import raybench


def test_a_verb_is_its_function() -> None:
    from raybench.api.verbs import features

    assert raybench.features is features
    assert "features" in dir(raybench)


@pytest.mark.parametrize("name", ["train", "score", "evaluate", "explain"])
def test_a_package_can_be_called(name: str) -> None:
    package = getattr(raybench, name)
    assert callable(package)
    assert inspect.ismodule(package)
    with pytest.raises(TypeError, match=f"{name}\\(\\)"):
        package(nonsense=1)


def test_packages_are_still_packages() -> None:
    import raybench.train.early_stopping as module
    from raybench.train import early_stopping

    assert module is early_stopping
    assert raybench.train.early_stopping is module  # type: ignore[attr-defined]


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        raybench.nonsense  # type: ignore[attr-defined]  # noqa: B018
