"""What a page is made of: sections of sentences, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

Cell = str | Markup


@dataclass(frozen=True)
class Table:
    """Rows under headers.

    Attributes:
        columns: the headers.
        rows: as many cells each.
        words: how many of the first columns hold words; numbers stand to the right.
        caption: what the numbers are.
        title: stands above it.
        tail: the last column holds words, too.
    """

    form: ClassVar[str] = "table"

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    caption: str = ""
    title: str = ""
    tail: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels with one legend.

    Attributes:
        title: what it shows.
        panels: (heading or nothing, drawing).
        data: the same as a table.
        legend: (drawing, name) of each series.
        caption: how to read it, n and seeds.
        warnings: what must not be overlooked.
        size: of a panel: wide, medium or small.
    """

    form: ClassVar[str] = "figure"

    title: str
    panels: Sequence[tuple[str, Markup]]
    data: Table
    legend: Sequence[tuple[Markup, str]] = ()
    caption: str = ""
    warnings: Sequence[str] = ()
    size: str = "wide"


@dataclass(frozen=True)
class Prose:
    """A paragraph, or a list of sentences."""

    form: ClassVar[str] = "prose"

    sentences: Sequence[Cell]
    listed: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Source:
    """Text that is shown as it is, behind a summary."""

    form: ClassVar[str] = "source"

    summary: str
    text: str


@dataclass(frozen=True)
class Picture:
    """An image that the page holds itself: its data as a `data:` address."""

    form: ClassVar[str] = "picture"

    title: str
    address: str
    caption: str = ""


Item = Table | Figure | Prose | Source | Picture


@dataclass(frozen=True)
class Section:
    """A titled part of the page with an address of its own."""

    title: str
    items: Sequence[Item] = ()
    parts: Sequence[Section] = ()
    anchor: str = field(default="")

    def placed(self, taken: set[str]) -> Section:
        """The section with an anchor that no other has, down to its last part."""
        stem = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "part"
        anchor, number = stem, 2
        while anchor in taken:
            anchor, number = f"{stem}-{number}", number + 1
        taken.add(anchor)
        return Section(self.title, self.items, tuple(part.placed(taken) for part in self.parts), anchor)
