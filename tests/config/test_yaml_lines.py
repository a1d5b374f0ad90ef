"""Values of YAML text are changed, and nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from raybench.config.yaml_lines import Change, with_changes
from raybench.config.yaml_text import parse_yaml

TEXT = """\
# at the top
a: 1

b:
  # two lines
  # of comment
  c: x                      # behind
  # of d
  d:
    e: [1, 2]
f: {g: 1}
"""


def test_one_value_and_its_comment() -> None:
    changes = {("b", "c"): Change(value="y z", comment=["of c"]), ("b", "d"): Change(below=True, comment=["new"])}
    assert with_changes(TEXT, changes, "t") == (
        TEXT.replace("  # two lines\n  # of comment\n  c: x                      # behind\n", "  # of c\n  c: y z\n")
    ).replace("# of d", "# new")


@pytest.mark.parametrize(
    "value",
    [
        "data/cn/bars", "a: b", "# no comment", "  blanks  ", "1e-3", "null", "yes", "~/x", "2020-01-01", "", "[x",
        "two\nlines", "a b " * 60, "日本", "tab\there", 'quo"te', "it's", 1, 2.5, None, True,
        [dt.date(2020, 1, 2), dt.date(2020, 1, 3)],
    ],
)  # fmt: skip
def test_any_value_is_read_as_it_was_given(value: Any) -> None:
    text = with_changes(TEXT, {("b", "c"): Change(value=value)}, "t")
    found = parse_yaml(text, "t").tree
    wanted = [str(day) for day in value] if isinstance(value, list) else value
    assert found == {"a": 1, "b": {"c": wanted, "d": {"e": [1, 2]}}, "f": {"g": 1}}


def test_what_has_no_line_of_its_own_is_not_changed() -> None:
    with pytest.raises(AssertionError, match="g does not begin its line"):
        with_changes(TEXT, {("f", "g"): Change(value=2)}, "t")
