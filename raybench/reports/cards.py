"""How a result shows itself: a line at a prompt, a small table in a notebook."""

from __future__ import annotations

import html
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any


class ResultCard:
    """What has a title and some facts."""

    __slots__ = ()

    @abstractmethod
    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The title, and facts by name; a fact that is None is not shown."""

    def __repr__(self) -> str:
        title, facts = self.card()
        told = ", ".join(f"{name} {_shown(value)}" for name, value in self._with_warnings(facts) if value is not None)
        return f"<{title}: {told}>"

    def _repr_html_(self) -> str:
        title, facts = self.card()
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(_shown(value))}</td></tr>'
            for name, value in self._with_warnings(facts)
            if value is not None
        )
        return f'<table><caption style="text-align:left">{html.escape(title)}</caption>{rows}</table>'

    def _with_warnings(self, facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The facts, and that there is something to read before they are trusted."""
        yield from facts.items()
        count = len(getattr(self, "warnings", ()))
        if count:
            yield "warnings", f"{count}, see .warnings"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
