"""Label expressions that hypothesis draws: printed and read they are the same tree, and nonsense is one line."""

from __future__ import annotations

from typing import get_args

from hypothesis import assume, example, given
from hypothesis import strategies as st

from raybench.config import find_problems
from raybench.config.data.label import (
    ELEMENTWISE,
    MAX_LENGTH,
    MAX_NUMBER,
    ROLLING,
    Arithmetic,
    Field,
    LabelExpression,
    Negate,
    Node,
    Number,
    Operator,
    Ref,
    Rolling,
    ValueFunction,
    parse_label,
)
from raybench.errors import ConfigError

FIELDS = st.sampled_from(["close", "open", "vwap", "_x1", "Ref", "Log"]).map(Field)
NUMBERS = st.one_of(st.integers(0, 10**6), st.floats(0, MAX_NUMBER)).map(lambda n: Number(float(n)))
BARS = st.integers(1, 100_000)


def above(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(Negate, below),
        st.builds(Arithmetic, st.sampled_from(get_args(Operator)), below, below),
        st.builds(ValueFunction, st.sampled_from(ELEMENTWISE), below),
        st.builds(Rolling, st.sampled_from(ROLLING), below, BARS),
        st.builds(Ref, below, st.one_of(BARS, BARS.map(lambda n: -n))),
    )


TREES = st.recursive(st.one_of(FIELDS, NUMBERS), above, max_leaves=12)
RANK = {"+": 1, "-": 1, "*": 2, "/": 2}


def shown(node: Node, gap: str, *, wrapped: bool, rank: int = 0) -> str:
    """The text of a tree with the parentheses that it needs (``wrapped``: with all); ``gap`` between tokens."""

    def inner(x: Node, at_least: int = 0) -> str:
        return shown(x, gap, wrapped=wrapped, rank=at_least)

    match node:
        case Field(name):
            return f"${name}"
        case Number(value):
            return repr(value)
        case ValueFunction(name, x):
            return f"{name}({gap}{inner(x)})"
        case Ref(x, n):
            return f"Ref{gap}({inner(x)},{gap}{n})"
        case Rolling(name, x, n):
            return f"{name}({inner(x)}{gap},{n}{gap})"
        case Negate(x):
            text, mine = f"-{gap}{inner(x, 3)}", 3
        case Arithmetic(sign, left, right):
            mine = RANK[sign]
            text = f"{inner(left, mine)}{gap}{sign}{gap}{inner(right, mine + 1)}"
    return f"({text})" if wrapped or mine < rank else text


@given(tree=TREES, gap=st.sampled_from(["", " ", "\t\n "]), wrapped=st.booleans())
def test_what_is_printed_is_read_as_the_same_tree(tree: Node, gap: str, wrapped: bool) -> None:
    whole = Arithmetic("+", tree, Field("close"))  # a label reads a field
    text = shown(whole, gap, wrapped=wrapped)
    assume(len(text) <= MAX_LENGTH)
    label = parse_label(text)
    assert label.root == whole
    assert parse_label(shown(label.root, "", wrapped=False)).root == whole
    assert min(label.reach, label.horizon, label.holding - 1) >= 0


SIGNS = ["(", ")", ",", "-", "--", "+", "*", "/", ".", "\n"]
WORDS = ["$close", "$", "Ref", "Mean(", "Log(", "1", "-2", "1e5", "0x1"]
ODD = [f"Ref($close, {'9' * 500})", "$close * 1e999", "$close\u2028+", "\u0663 + $close", "$cl\u00f6se", "\x00", "'"]
SOUP = st.lists(st.sampled_from([*SIGNS, *WORDS, *ODD]), max_size=12).map("".join)
CONFIG = """
data: {bars: b, segments: {train: [2010-01-01, 2011-01-01], valid: [2012-01-01, 2013-01-01], test: [2014-01-01, 2015-01-01]}}
model: {type: gru}
"""  # noqa: E501


def is_one_line(text: str) -> bool:
    return len(text.splitlines()) == 1 and text.isprintable()


@given(text=st.one_of(st.text(max_size=40), SOUP))
@example("1" * 700)
def test_nonsense_is_one_line(text: str) -> None:
    found: LabelExpression | ConfigError
    try:
        found = parse_label(text)
    except ConfigError as error:
        found = error
    if isinstance(found, ConfigError):
        assert is_one_line(str(found))
    else:
        assert parse_label(shown(found.root, " ", wrapped=True)).root == found.root


@given(text=st.one_of(st.text(max_size=30), SOUP))
def test_nonsense_in_a_configuration_is_one_line(text: str) -> None:
    assert all(map(is_one_line, find_problems(CONFIG, name="c.yaml", overrides=[f"data.label={text}"])))
