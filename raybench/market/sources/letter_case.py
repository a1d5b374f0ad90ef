"""Names that differ in case only are one: which spelling is read, and which is kept.

Qlib reads folders and files of a provider in lower case, whatever the case of the name it was given. So of two that
differ in case only the one in lower case counts, and the other is left out and said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from raybench.columns.spelling import plain
from raybench.errors import DataError
from raybench.market.universe import Universe, make_universe
from raybench.reports.text import numbered
from raybench.storage import files


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerCase:
    """Paths below a folder as Qlib reads them.

    actual : the path in lower case -> the path that is there; hidden files (a dot in front) are not among them.
    left_out : folders and files that differ in case from one that is read, and which that is.
    """

    actual: Mapping[str, str]
    left_out: tuple[str, ...]


def in_lower_case(root: str, paths: Iterable[str]) -> LowerCase:
    """Choose among paths that differ in case only; DataError where none of them is in lower case."""
    kept = [path.split("/") for path in paths if not any(part.startswith(".") for part in path.split("/"))]
    left_out: list[str] = []
    for depth in range(max(map(len, kept), default=0)):  # those above have one spelling each by now
        spellings = defaultdict(set)
        for parts in kept:
            if depth < len(parts):
                spellings["/".join(parts[: depth + 1]).lower()].add("/".join(parts[: depth + 1]))
        read = {lower: _lower(root, names) for lower, names in spellings.items()}
        gone = {name for lower, names in spellings.items() for name in names if name != read[lower]}
        left_out += [f"{name} (beside {read[name.lower()]})" for name in sorted(gone)]
        kept = [parts for parts in kept if "/".join(parts[: depth + 1]) not in gone]
    actual = {"/".join(parts): "/".join(parts) for parts in kept}
    return LowerCase(actual={path.lower(): path for path in actual}, left_out=tuple(left_out))


def _lower(root: str, names: set[str]) -> str:
    """The path whose last part is in lower case; the only path as it is."""
    if len(names) == 1:
        return next(iter(names))
    for name in names:
        last = name.rpartition("/")[2]
        if last == last.lower():
            return name
    both = " and ".join(files.join(root, name) for name in sorted(names))
    raise DataError(f"{both}: differ in case only, and neither is in lower case, as Qlib reads them; want one")


def one_spelling(universes: Mapping[str, Universe]) -> Callable[[str], str]:
    """How to spell the instruments that universes list: as they all do, or in upper case where two differ."""
    listed = {name for universe in universes.values() for name in universe.instrument_K}
    spelling = {name.lower(): name for name in listed}
    if len(spelling) < len(listed):
        return str.upper
    return lambda name: spelling.get(name.lower(), name.upper())


def respelled(universe: Universe, spell: Callable[[str], str]) -> Universe:
    """The same spans under other spellings."""
    names = [spell(name) for name in universe.instrument_K]
    return make_universe(universe.name, names, universe.start_K, universe.end_K, where=universe.name)


def spelled_as_bars(
    universes: Mapping[str, Universe], instruments: Sequence[str]
) -> tuple[dict[str, Universe], tuple[str, ...]]:
    """Universes whose members are spelled as the bars spell them, and a note on each where that differed."""
    has = set(instruments)
    spelling = {name.lower(): name for name in instruments}
    found, notes = {}, []
    for key, universe in universes.items():
        other = {
            name: spelling[name.lower()]
            for name in universe.instruments
            if name not in has and name.lower() in spelling
        }
        found[key] = respelled(universe, partial(_or_itself, other)) if other else universe
        if other:
            first = min(other)
            notes.append(
                f"universe {key}: {numbered(len(other), 'name|names differs|differ')} from the bars in "
                f"case only and {'is' if len(other) == 1 else 'are'} taken as theirs, "
                f"such as {first} as {other[first]}"
            )
    return found, tuple(notes)


def _or_itself(other: Mapping[str, str], name: str) -> str:
    return other.get(name, name)


def differing_in_case(instruments: Iterable[str]) -> tuple[str, ...]:
    """Pairs of names of a table that differ in case only: kept apart, for some exchanges tell them apart, and said."""
    by_lower: dict[str, str] = {}
    pairs = []
    for name in sorted(instruments):
        other = by_lower.setdefault(name.lower(), name)
        if other != name:
            pairs.append(f"{other} and {name}")
    return tuple(pairs)


def spelt_alike(instruments: Iterable[str]) -> tuple[str, ...]:
    """Pairs of names of a table that differ in marks or zeros in front, and not in case only."""
    by_plain: dict[tuple[str, ...], str] = {}
    pairs = []
    for name in sorted(instruments):
        other = by_plain.setdefault(plain(name), name)
        if other.lower() != name.lower() and plain(name):
            pairs.append(f"{other} and {name}")
    return tuple(pairs)
