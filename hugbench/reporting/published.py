"""Numbers from papers as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hugbench.reporting.tables import simple_table

CAPTION = (
    "Published numbers, in per cent, from papers: other code, other recipes, other seeds. They stand beside, "
    "and take part in no mean and no test."
)
_SETTING = ("imbalance_factor", "experiences", "strategy", "memory", "epochs")

Number = Mapping[str, Any]
"""As `hugbench.published` gives them."""


def published_tables(found: Sequence[Number]) -> RenderableType:
    """A table for each setting of each source, and below them what they are worth and where they stand."""
    sources = list(dict.fromkeys(str(each["source"]) for each in found))
    parts: list[RenderableType] = []
    for title, numbers in groupby(found, lambda each: _title(each, sources)):
        rows = [(each["criterion"], each["method"], _what(each), _per_cent(each)) for each in numbers]
        parts += [simple_table(title, ["criterion", "method", "number", "published"], rows), Text()]
    listed = [Text(f"[{place}] {source}", style="dim") for place, source in enumerate(sources, start=1)]
    return Group(*parts, Text(CAPTION, style="dim"), *listed)


def _title(each: Number, sources: Sequence[str]) -> str:
    setting = [f"{name} {each[name]}" for name in _SETTING if each[name]]
    parts = [each["dataset"], each["backbone"], ", ".join([each["protocol"], *setting])]
    return f"{' · '.join(filter(None, parts))} · published [{sources.index(each['source']) + 1}]"


def _what(each: Number) -> str:
    return str(each["metric"]) if each["condition"] == "clean" else f"{each['metric']}, {each['condition']}"


def _per_cent(each: Number) -> str:
    deviation = "" if each["deviation"] is None else f" ± {100 * each['deviation']:.2f}"
    return f"{100 * each['value']:.2f}{deviation}"
