"""Label expressions: how they bind, how far they look, and what is refused."""

from __future__ import annotations

import pytest

from raybench.config.data.label import (
    DEFAULT_LABEL,
    Arithmetic,
    Field,
    Negate,
    Number,
    Ref,
    Rolling,
    ValueFunction,
    parse_label,
)
from raybench.errors import ConfigError

CLOSE = Field("close")


def test_the_default_label() -> None:
    label = parse_label(DEFAULT_LABEL)
    assert label.root == Arithmetic("-", Arithmetic("/", Ref(CLOSE, -2), Ref(CLOSE, -1)), Number(1.0))
    assert (label.horizon, label.fields) == (2, ("close",))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("$a + 1 - 2", Arithmetic("-", Arithmetic("+", Field("a"), Number(1)), Number(2))),
        ("$a + 1 * 2", Arithmetic("+", Field("a"), Arithmetic("*", Number(1), Number(2)))),
        ("($a + 1) * 2", Arithmetic("*", Arithmetic("+", Field("a"), Number(1)), Number(2))),
        ("$a / 2 / 3", Arithmetic("/", Arithmetic("/", Field("a"), Number(2)), Number(3))),
        ("-$a * 2", Arithmetic("*", Negate(Field("a")), Number(2))),
        ("2 - -$a", Arithmetic("-", Number(2), Negate(Field("a")))),
        ("$a*1e-3", Arithmetic("*", Field("a"), Number(0.001))),
        (" Log( Abs($a) ) ", ValueFunction("Log", ValueFunction("Abs", Field("a")))),
        ("Mean(Ref($close,-5),5)", Rolling("Mean", Ref(CLOSE, -5), 5)),
    ],
)
def test_how_it_binds(text: str, root: object) -> None:
    assert parse_label(text).root == root


@pytest.mark.parametrize(
    ("text", "horizon", "fields"),
    [
        ("$close", 0, ("close",)),
        ("Ref($close, 3)", 0, ("close",)),
        ("Ref(Ref($close, -3), 1)", 2, ("close",)),
        ("Ref(Mean($vwap, 3), -5) / $open", 5, ("open", "vwap")),
        ("Ref($close, -1) + Ref($close, -4) - Ref($close, -2)", 4, ("close",)),
    ],
)
def test_how_far_it_looks(text: str, horizon: int, fields: tuple[str, ...]) -> None:
    label = parse_label(text)
    assert (label.horizon, label.fields) == (horizon, fields)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "want a field such as"),
        ("1 + 2", "reads no field"),
        ("$close $open", "unexpected '\\$open' at character 8"),
        ("close", "a field is written \\$close"),
        ("Ref($close)", "want ','"),
        ("Ref($close, 1.5)", "whole number"),
        ("Ref($close, 0)", "not 0"),
        ("Mean($close, -3)", "at least 1"),
        ("Mean($close, 0)", "at least 1"),
        ("Ref($close, $n)", "whole number"),
        ("Corr($close, $open, 5)", "unknown function 'Corr'"),
        ("$close ** 2", "want a field"),
        ("$close > 1", "cannot read '>'"),
        ("($close", "want '\\)', got 'the end'"),
        ("$", "cannot read"),
        ("$close / 1e39", "numbers up to 3.4e\\+38, .*got 1e39 at character 10"),
        ("$close * 1e999", "numbers up to"),
        ("__import__('os')", "unknown function"),
        ("(" * 200 + "$close" + ")" * 200, "levels"),
        ("-" * 200 + "$close", "levels"),
        ("$close" + "+1" * 1_000, "characters"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_label(text)


def test_the_longest_label_can_be_walked() -> None:
    assert parse_label("$a" + "+1" * 299).horizon == 0


@pytest.mark.parametrize(
    ("text", "holding"),
    [
        ("Ref($close, -2) / Ref($close, -1) - 1", 1),
        ("Ref($close, -6) / Ref($close, -1) - 1", 5),
        ("Ref($close, -5) / $close - 1", 5),
        ("Ref($close, -1) / Ref($open, -1) - 1", 1),
        ("Log(Ref($close, -11) / Ref($close, -1)) * 100", 10),
        ("Mean(Ref($close, -5), 5) / $close - 1", 5),
        ("Ref($close, -5) / Ref($close, 3) - 1", 5),
        ("$close / Ref($close, 5) - 1", 1),
    ],
)
def test_how_long_it_is_held(text: str, holding: int) -> None:
    assert parse_label(text).holding == holding
