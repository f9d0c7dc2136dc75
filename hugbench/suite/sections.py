"""From a section of a suite to typed specs: axes expanded, every error with its place.

A list under `dataset`, `model`, `protocol` or `recipe` is an axis, unless the field itself is a
list (then a list of lists is the axis).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hugbench.errors import UserError, nearest
from hugbench.suite.nodes import Node

Spec = TypeVar("Spec", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "finite_number": "a finite number",
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
}


@dataclass(frozen=True)
class Variant(Generic[Spec]):
    """One point on a section's axes: the values chosen (dotted path, value) and the spec."""

    axes: tuple[tuple[str, str], ...]
    node: Node
    spec: Spec


def variants(node: Node, model: type[Spec], section: str, shorthand: str = "") -> list[Variant[Spec]]:
    """Every variant of a section, in the order written.

    Args:
        node: the section.
        model: its schema.
        section: its name, the head of every path.
        shorthand: the field that a bare word sets (`dataset: digits`), if any.

    Raises:
        UserError: an empty axis, the same value twice, or whatever the schema refuses.
    """
    alternatives = _axis(node, section) if isinstance(node.value, tuple) else [node]
    names = _names(alternatives, shorthand)
    found = []
    for index, alternative in enumerate(alternatives):
        full = _spelled_out(alternative, shorthand)
        for axes, chosen in _expand(full, model, section):
            spec = validate(chosen, model, section)
            if len(alternatives) > 1:
                axes = ((section, names[index]), *axes)
            found.append(Variant(axes, chosen, spec))
    return found


def validate(node: Node, model: type[Spec], path: str) -> Spec:
    """The spec at `node`, or a `UserError` that says where it is wrong."""
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        raise explain(error, node, model, path) from None


def merged(base: Node, override: Node | None) -> Node:
    """`base` with the keys of `override` in place of its own, mappings merged key by key."""
    if override is None:
        return base
    if not (isinstance(base.value, dict) and isinstance(override.value, dict)):
        return override
    entries = dict(base.value)
    for key, child in override.value.items():
        entries[key] = merged(entries[key], child) if key in entries else child
    return base.with_value(entries)


def explain(error: ValidationError, node: Node, model: type[BaseModel], path: str) -> UserError:
    """The first thing that is wrong, unknown keys before missing ones, as one sentence."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] == "missing")
    first = details[0]
    location: tuple[str | int, ...] = tuple(first["loc"])
    target = node.at(location)
    key = ".".join([path, *(str(part) for part in location)]).strip(".")
    kind, found = first["type"], first["input"]
    if kind == "extra_forbidden":
        names = _field_names(model, location[:-1])
        listed = f"one of: {', '.join(names)}" if names else "no arguments"
        return UserError(
            "unknown key",
            where=target.where,
            key=key,
            expected=listed,
            nearest=nearest(str(location[-1]), names),
        )
    if kind == "missing":
        return UserError("missing key", where=target.where, key=key)
    if kind == "value_error":
        return UserError(str(first["ctx"]["error"]), where=target.where, key=key)
    message = first["msg"].removeprefix("Input should be ")
    expected = _EXPECTED.get(kind, message[:1].lower() + message[1:])
    if kind == "literal_error":
        expected = f"one of: {first['ctx']['expected']}"
        near = nearest(
            str(found),
            [part.strip("' ") for part in first["ctx"]["expected"].replace(" or ", ", ").split(",")],
        )
        return UserError(
            "not a valid value", where=target.mark, key=key, found=found, expected=expected, nearest=near
        )
    shown = "null" if found is None else found
    return UserError("not a valid value", where=target.mark, key=key, found=shown, expected=expected)


def _field_names(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = _model(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _expand(node: Node, model: type[BaseModel], path: str) -> list[tuple[tuple[tuple[str, str], ...], Node]]:
    """Every choice along the axes inside a mapping."""
    if not isinstance(node.value, dict):
        return [((), node)]
    choices = [_choices(key, child, model, f"{path}.{key}") for key, child in node.value.items()]
    expanded = []
    for combination in itertools.product(*choices):
        axes = tuple(itertools.chain.from_iterable(axes for axes, _ in combination))
        chosen = dict(zip(node.value, (child for _, child in combination), strict=True))
        expanded.append((axes, node.with_value(chosen)))
    return expanded


def _choices(
    key: str, node: Node, model: type[BaseModel], path: str
) -> list[tuple[tuple[tuple[str, str], ...], Node]]:
    field = model.model_fields.get(key)
    annotation = field.annotation if field else None
    if isinstance(node.value, tuple) and not _is_value(node, annotation):
        alternatives = _axis(node, path)
        return [
            (((path, _label(choice)), *axes), inner)
            for choice in alternatives
            for axes, inner in _inside(choice, annotation, path)
        ]
    return _inside(node, annotation, path)


def _inside(node: Node, annotation: Any, path: str) -> list[tuple[tuple[tuple[str, str], ...], Node]]:
    inner = _model(annotation)
    return [((), node)] if inner is None else _expand(node, inner, path)


def _axis(node: Node, path: str) -> list[Node]:
    assert isinstance(node.value, tuple)
    if not node.value:
        raise UserError("an empty list", where=node.mark, key=path, expected="at least one value")
    seen: list[Any] = []
    for child in node.value:
        plain = child.plain()
        if any(plain == other and type(plain) is type(other) for other in seen):
            raise UserError("the same value twice on an axis", where=child.mark, key=path, found=plain)
        seen.append(plain)
    return list(node.value)


def _is_value(node: Node, annotation: Any) -> bool:
    """Whether a list is the field's own value rather than an axis."""
    options = get_args(annotation) if get_origin(annotation) not in (tuple, None) else (annotation,)
    takes_list = any(get_origin(option) is tuple for option in options)
    assert isinstance(node.value, tuple)
    return takes_list and not (node.value and all(isinstance(child.value, tuple) for child in node.value))


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, also where it may be null."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return models[0] if len(models) == 1 else None


def _spelled_out(node: Node, shorthand: str) -> Node:
    """A bare word as the field it sets."""
    return node.with_value({shorthand: node}) if shorthand and isinstance(node.value, str) else node


def _names(alternatives: list[Node], shorthand: str) -> list[str]:
    """What a reader calls each alternative of a section: its name, or all of it where names recur."""
    full = [_spelled_out(alternative, shorthand) for alternative in alternatives]
    names = [node.at((shorthand,)).plain() for node in full]
    unique = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if unique else [_label(node) for node in full]


def _label(node: Node) -> str:
    """A value as a suite writes it."""
    if isinstance(node.value, dict):
        return f"{{{', '.join(f'{key}: {_label(child)}' for key, child in node.value.items())}}}"
    if node.value is None:
        return "null"
    plain = node.plain()
    if isinstance(plain, float):
        return f"{plain:g}"
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def shown(node: Node) -> Any:
    """A value as an error shows it."""
    return "null" if node.value is None else node.plain()
