"""`--set path=value`: change anything in a suite without editing it."""

from __future__ import annotations

from pathlib import Path

from hugbench.errors import UserError
from hugbench.suite.baselines import is_baseline
from hugbench.suite.nodes import Node, parse


def apply(root: Node, setting: str) -> Node:
    """The tree with `path=value` applied; the value is YAML.

    A path is keys joined by dots. In a list a part is an index from 0 or the name of an entry
    (`criteria.hug.alpha=0.3`; of a criterion by path its last part, `criteria.MyLoss.scale=2`).
    Keys that are missing are added, and refused later if unknown.

    Raises:
        UserError: no `=`, an empty path, a value that is not YAML, or no such list entry.
    """
    path, separator, text = setting.partition("=")
    where = f"--set {setting}"
    parts = path.strip().split(".")
    if not separator or not all(parts):
        raise UserError("not an override", where=where, expected="path=value, e.g. --set recipe.epochs=2")
    return _replace(root, parts, _marked(parse(text, where), where), where, [])


def _marked(node: Node, where: str) -> Node:
    """The same value, every place in it the command line."""
    if isinstance(node.value, dict):
        return Node({key: _marked(child, where) for key, child in node.value.items()}, where, where)
    if isinstance(node.value, tuple):
        return Node(tuple(_marked(child, where) for child in node.value), where, where)
    return Node(node.value, where, where)


def _replace(node: Node, parts: list[str], value: Node, where: str, done: list[str]) -> Node:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(node.value, tuple):
        return _replace_entry(node, head, rest, value, where, done)
    if isinstance(node.value, str):
        node = _opened(node, done)
    entries = dict(node.value) if isinstance(node.value, dict) else {}
    child = entries.get(head, Node(None, where, where))
    entries[head] = _replace(child, rest, value, where, [*done, head])
    return node.with_value(entries)


def _replace_entry(node: Node, head: str, rest: list[str], value: Node, where: str, done: list[str]) -> Node:
    assert isinstance(node.value, tuple)
    items = list(node.value)
    names = [_name(item) for item in items]
    if head.isdigit() and int(head) < len(items):
        index, inner = int(head), rest
    elif head in names:
        index = names.index(head)
        own = not rest or rest[0] in {"name", "recipe", head} or _labelled(items[index])
        inner = rest if own else [head, *rest]
    else:
        listed = ", ".join(name for name in names if name) or "none has a name"
        key = ".".join([*done, head])
        raise UserError(
            "no such entry", where=where, key=key, expected=f"an index below {len(items)} or one of: {listed}"
        )
    path = _criterion(items[index])
    if inner and inner[0] == _short(path):
        inner = [path, *inner[1:]]
    items[index] = _replace(items[index], inner, value, where, [*done, head])
    return node.with_value(tuple(items))


def _name(item: Node) -> str:
    """What an entry is called: its label, which for a criterion by path is the last part of the path."""
    if isinstance(item.value, dict) and _labelled(item):
        return str(item.value["name"].value)
    return _short(_criterion(item))


def _short(path: str) -> str:
    """`hug` of `baselines/hug.yaml`, `MyLoss` of `my_loss.py:MyLoss` and of `package.MyLoss`."""
    return Path(path).stem if is_baseline(path) else path.rpartition(":" if ".py:" in path else ".")[2]


def _criterion(item: Node) -> str:
    """The key of an entry that names its criterion, its evaluation or whatever it is."""
    if isinstance(item.value, str):
        return item.value
    keys = item.value if isinstance(item.value, dict) else {}
    return next((key for key in keys if key not in {"name", "recipe"}), "")


def _labelled(item: Node) -> bool:
    return isinstance(item.value, dict) and "name" in item.value


def _opened(node: Node, done: list[str]) -> Node:
    """A bare word as the mapping it stands for, so that a key can be set beside or inside it."""
    shorthand = (
        {"dataset": "name", "model": "backbone", "protocol": "name"}.get(done[0]) if len(done) == 1 else None
    )
    key = shorthand or str(node.value)
    inner = node if shorthand else Node(None, node.mark)
    return node.with_value({key: inner})
