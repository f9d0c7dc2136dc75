"""A page taken apart: anchors, addresses, tables, drawings."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        ids: of every element, in order.
        links: href of every <a>.
        resources: whatever the page would load: src, href of <link>, url() in styles.
        tags: how often each element comes.
        text: all of it, without style.
        rows: the cells of every table row.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = re.findall(r"url\(([^)]*)\)", html)
        self.tags: dict[str, int] = {}
        self.text = ""
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self._cell = False
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"
        self.drawings = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.resources += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        self.resources += [given["href"]] if tag in ("link", "use", "image") and "href" in given else []
        assert not [name for name in given if name.startswith("on")], given
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag, (tag, self._open[-3:])
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data
