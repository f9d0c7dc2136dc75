"""Strict YAML: a tree in which every key and value knows the line and column it stands at.

YAML 1.2's core schema, so `1e-3` is a number and `no` is a word; no tags, anchors, aliases or
merge keys, no duplicate keys, one document, keys are words. The tree is built from the parser's
events, without recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hugbench.errors import UserError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")

Plain = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands (`file:line:column`) and, in a mapping, where its key stands."""

    value: Plain | tuple[Node, ...] | dict[str, Node]
    mark: str
    key_mark: str | None = None

    @property
    def where(self) -> str:
        """Where to send a reader: the key if there is one, else the value."""
        return self.key_mark or self.mark

    def plain(self) -> Any:
        """The value without marks: dicts, tuples and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return tuple(child.plain() for child in self.value)
        return self.value

    def at(self, path: tuple[str | int, ...]) -> Node:
        """The deepest node on `path`: the last one that exists."""
        node = self
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                node = node.value[str(part)]
            elif isinstance(node.value, tuple) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                break
        return node

    def with_value(self, value: Plain | tuple[Node, ...] | Mapping[str, Node]) -> Node:
        """The same place with another value."""
        return Node(dict(value) if isinstance(value, Mapping) else value, self.mark, self.key_mark)


def read(path: Path, what: str = "a suite") -> Node:
    """The tree of a YAML file; `what` it should be is said in errors.

    Raises:
        UserError: the file is missing, a directory, not text, too large, or not strict YAML.
    """
    if path.is_dir():
        raise UserError("is a directory", where=path, expected=f"{what}, one YAML file")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, expected=f"{what}'s file") from None
    if len(data) > MAX_BYTES:
        raise UserError("is larger than 1 MiB", where=path, expected=f"{what}, a YAML file of some lines")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"byte {error.start} is not UTF-8 text", where=f"{path}:{line}") from None
    root = parse(text, str(path))
    if root.value is None:
        raise UserError("is empty", where=path, expected=what)
    return root


def parse(text: str, source: str) -> Node:
    """The tree of a YAML text (null if it is empty); `source` names it in errors.

    Raises:
        UserError: not strict YAML.
    """
    try:
        root = _Builder(source).build(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _position(source, mark) if mark else source
        raise UserError(f"not YAML: {error.problem or error.context}", where=where) from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {' '.join(str(error).split())}", where=source) from None
    return Node(None, f"{source}:1:1") if root is None else root


def resolve(text: str) -> Plain:
    """The value of an unquoted YAML scalar (core schema; integers of up to 19 digits)."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float(special[1] + special[2])
    return text


class _Open:
    """A collection whose end has not been read yet."""

    def __init__(self, mark: str, mapping: bool) -> None:
        self.mark = mark
        self.items: list[Node] = []
        self.entries: dict[str, Node] | None = {} if mapping else None
        self.key: Node | None = None

    def add(self, node: Node) -> None:
        if self.entries is None:
            self.items.append(node)
        elif self.key is None:
            if not isinstance(node.value, str):
                raise UserError("a key must be a word", where=node.mark, found=node.plain())
            if node.value in self.entries:
                first = self.entries[node.value].key_mark
                raise UserError(
                    "duplicate key", where=node.mark, key=node.value, expected=f"it once (first: {first})"
                )
            self.key = node
        else:
            assert isinstance(self.key.value, str)
            self.entries[self.key.value] = Node(node.value, node.mark, self.key.mark)
            self.key = None

    def close(self) -> Node:
        return Node(tuple(self.items) if self.entries is None else self.entries, self.mark)


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            mark = _position(self.source, event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise UserError("a second document", where=mark, expected="one document a file")
            elif isinstance(event, yaml.AliasEvent):
                raise UserError("an alias", where=mark, found=f"*{event.anchor}", expected="the value itself")
            elif isinstance(event, yaml.NodeEvent):
                self._refuse_extras(event, mark)
                self._node(event, mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._add(self.stack.pop().close())
        return self.root

    def _node(self, event: yaml.NodeEvent, mark: str) -> None:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None
            self._add(Node(resolve(event.value) if plain else event.value, mark))
            return
        if len(self.stack) >= MAX_DEPTH:
            raise UserError("nested too deeply", where=mark, expected=f"at most {MAX_DEPTH} levels")
        self.stack.append(_Open(mark, isinstance(event, yaml.MappingStartEvent)))

    def _add(self, node: Node) -> None:
        if self.stack:
            self.stack[-1].add(node)
        else:
            self.root = node

    def _refuse_extras(self, event: yaml.NodeEvent, mark: str) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UserError("a YAML tag", where=mark, found=tag, expected="a plain value: the file is data")
        if event.anchor is not None:
            raise UserError("an anchor", where=mark, found=f"&{event.anchor}", expected="the value itself")


def _position(source: str, mark: Any) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}"
