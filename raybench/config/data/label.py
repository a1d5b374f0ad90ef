"""Label expressions: a small language over bar fields, parsed to a tree and computed elsewhere. No numpy.

expression  $field | number | expression (+ - * /) expression | -expression | (expression)
Ref(x, n)   x of n bars ago; of -n bars ahead where n is negative
Log(x) Abs(x)
Mean(x, n) Sum(x, n) Std(x, n) Max(x, n) Min(x, n)   over the last n bars, the present one included
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from raybench.errors import ConfigError

DEFAULT_LABEL = "Ref($close, -2) / Ref($close, -1) - 1"
"""Return from the close of the next bar to the close of the one after, Qlib's benchmark label."""

MAX_LENGTH = 600  # also bounds the depth of the tree, which is walked by recursion
MAX_DEPTH = 50
MAX_NUMBER = 3.4e38  # labels are float32, where a larger one is infinite
_NEVER = 1 << 40  # bars ahead

Operator = Literal["+", "-", "*", "/"]
ElementwiseName = Literal["Log", "Abs"]
RollingName = Literal["Mean", "Sum", "Std", "Max", "Min"]

ELEMENTWISE = ("Log", "Abs")
ROLLING = ("Mean", "Sum", "Std", "Max", "Min")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the bars, by its name without the dollar sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Negate:
    """Minus ``x``."""

    x: Node


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left`` and ``right`` joined by one of + - * /."""

    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Ref:
    """``x`` shifted by ``n`` bars: into the past for n > 0, into the future for n < 0."""

    x: Node
    n: int


@dataclass(frozen=True, slots=True)
class ValueFunction:
    """Log or Abs of each value."""

    name: ElementwiseName
    x: Node


@dataclass(frozen=True, slots=True)
class Rolling:
    """A statistic of the last ``n`` bars."""

    name: RollingName
    x: Node
    n: int


Node: TypeAlias = Field | Number | Negate | Arithmetic | Ref | ValueFunction | Rolling


@dataclass(frozen=True, slots=True)
class LabelExpression:
    """A parsed label."""

    text: str
    root: Node

    @property
    def horizon(self) -> int:
        """How many bars ahead of its own the label looks, at most."""
        return max(0, _lead(self.root))

    @property
    def holding(self) -> int:
        """Bars from the first price that is not known yet to the last, at least 1.

        Labels of neighbouring dates share ``holding - 1`` bars: Ref($close, -2) / Ref($close, -1) - 1 is held for
        one bar and shares none, Ref($close, -6) / Ref($close, -1) - 1 is held for five.
        """
        return max(1, self.horizon - max(0, _nearest(self.root)))

    @property
    def reach(self) -> int:
        """How many bars before its own the label looks back, at most."""
        return max(0, -_nearest(self.root))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the bar fields it reads, sorted."""
        return tuple(sorted(set(_fields(self.root))))


def parse_label(text: str) -> LabelExpression:
    """Read a label expression; what is wrong with it is a ConfigError that says where."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"the label expression has {len(text)} characters, at most {MAX_LENGTH} are read")
    parser = _Parser(text)
    root = parser.expression(0)
    if parser.token:
        raise parser.error(f"unexpected {parser.token!r}")
    if not any(_fields(root)):
        raise ConfigError(f"label {text!r} reads no field; want at least one such as $close")
    return LabelExpression(text=text, root=root)


def _lead(node: Node) -> int:
    match node:
        case Field() | Number():
            return 0
        case Ref(x, n):
            return _lead(x) - n
        case Arithmetic(_, left, right):
            return max(_lead(left), _lead(right))
        case Negate(x) | ValueFunction(_, x) | Rolling(_, x, _):
            return _lead(x)


def _nearest(node: Node) -> int:
    """Bars ahead of the earliest bar that is read; of a number none is, which counts as later than any."""
    match node:
        case Field():
            return 0
        case Number():
            return _NEVER
        case Ref(x, n):
            return _nearest(x) - n
        case Arithmetic(_, left, right):
            return min(_nearest(left), _nearest(right))
        case Negate(x) | ValueFunction(_, x):
            return _nearest(x)
        case Rolling(_, x, n):
            return _nearest(x) - (n - 1)


def _fields(node: Node) -> Iterator[str]:
    match node:
        case Field(name):
            yield name
        case Arithmetic(_, left, right):
            yield from _fields(left)
            yield from _fields(right)
        case Number():
            pass
        case Negate(x) | ValueFunction(_, x) | Rolling(_, x, _) | Ref(x, _):
            yield from _fields(x)


_TOKEN = re.compile(
    r"\s*(\$[A-Za-z_]\w*|[A-Za-z_]\w*|[-+*/(),]|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)",
    re.ASCII,
)
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


class _Parser:
    """Precedence climbing over one token of look-ahead; ``token`` is empty at the end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.start = 0
        self.depth = 0
        self.token = ""
        self.advance()

    def error(self, what: str) -> ConfigError:
        return ConfigError(f"label {self.text!r}: {what} at character {self.start + 1}")

    def advance(self) -> str:
        taken = self.token
        rest = self.text[self.end :]
        self.start = self.end + len(rest) - len(rest.lstrip())
        if not rest.strip():
            self.token = ""
            return taken
        found = _TOKEN.match(self.text, self.end)
        if found is None:
            raise self.error(f"cannot read {rest.strip()[0]!r}")
        self.token, self.end = found.group(1), found.end()
        return taken

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(f"want {token!r}, got {self.token or 'the end'!r}")
        self.advance()

    def expression(self, minimum: int) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} levels")
        left = self.operand()
        while _PRECEDENCE.get(self.token, 0) > minimum:
            operator = cast(Operator, self.advance())
            left = Arithmetic(operator, left, self.expression(_PRECEDENCE[operator]))
        self.depth -= 1
        return left

    def operand(self) -> Node:
        token = self.token
        if token == "-":
            self.advance()
            return Negate(self.expression(_PRECEDENCE["*"]))
        if token == "(":
            self.advance()
            inner = self.expression(0)
            self.expect(")")
            return inner
        if token.startswith("$"):
            return Field(self.advance()[1:])
        if token[:1].isdigit() or token[:1] == ".":
            return self.number()
        if token[:1].isalpha() or token[:1] == "_":
            return self.call()
        raise self.error(f"want a field such as $close, a number or a function, got {token or 'the end'!r}")

    def number(self) -> Number:
        value = float(self.token)
        if value > MAX_NUMBER:
            raise self.error(f"want numbers up to {MAX_NUMBER:g}, as float32 has them, got {self.token}")
        self.advance()
        return Number(value)

    def call(self) -> Node:
        name = self.token
        if name not in ("Ref", *ELEMENTWISE, *ROLLING):
            known = ", ".join(("Ref", *ELEMENTWISE, *ROLLING))
            raise self.error(f"unknown function {name!r} (known: {known}; a field is written ${name})")
        self.advance()
        self.expect("(")
        x = self.expression(0)
        if name in ELEMENTWISE:
            self.expect(")")
            return ValueFunction(cast(ElementwiseName, name), x)
        self.expect(",")
        n = self.whole_number(name)
        self.expect(")")
        return Ref(x, n) if name == "Ref" else Rolling(cast(RollingName, name), x, n)

    def whole_number(self, name: str) -> int:
        sign = -1 if self.token == "-" else 1
        if self.token == "-":
            self.advance()
        if not self.token.isdigit():
            raise self.error(f"{name} wants a whole number second, got {self.token or 'the end'!r}")
        n = sign * int(self.token)
        if abs(n) > 100_000 or n == 0 or (n < 0 and name != "Ref"):
            # in Qlib 0 means "from the first bar on", which no label wants
            wanted = "not 0" if name == "Ref" else "at least 1"
            raise self.error(f"{name} wants a whole number second, {wanted}, got {n}")
        self.advance()
        return n
