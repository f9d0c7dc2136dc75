"""How a model meets its data, as a suite says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from hugbench.errors import UserError, nearest
from hugbench.suite.continual import ContinualSpec, Stream, strategy
from hugbench.suite.moments import Moment
from hugbench.suite.nodes import Node
from hugbench.suite.schema import Recipe
from hugbench.suite.sections import Variant, variants
from hugbench.types import Frozen


class Standard(Frozen):
    """All classes at once, all epochs in one go."""

    name: Literal["standard"] = "standard"

    @property
    def label(self) -> str:
        """What records and reports call it."""
        return self.name

    @property
    def experiences(self) -> int | None:
        """How many experiences the stream has; None outside a stream."""
        return None

    def epochs(self, recipe: Recipe) -> int:
        """How many epochs a run is trained for in all."""
        return recipe.epochs

    def moments(self, recipe: Recipe) -> tuple[Moment, ...]:
        """Every `recipe.snapshot_every` epochs, and the end."""
        every = recipe.snapshot_every or recipe.epochs
        return (*(Moment(epoch=epoch) for epoch in range(every, recipe.epochs, every)), Moment())

    def identity(self) -> dict[str, Any]:
        """What of it changes a trained model."""
        return {"name": self.name}


ProtocolSpec = Standard | ContinualSpec

KEY = "protocol"
SPECS: dict[str, type[Frozen]] = {"standard": Standard, "continual": Stream}
"""By name, what may stand under it; beside, `continual` has its strategies."""


def protocols(node: Node) -> tuple[Variant[Any], ...]:
    """Every protocol of a suite's section: `standard`, `{continual: {...}}`, or a list of them.

    Raises:
        UserError: no such protocol or strategy, or arguments that it does not take.
    """
    alternatives = node.value if isinstance(node.value, tuple) else (node,)
    found = [variant for alternative in alternatives for variant in _protocol(alternative)]
    if not found:
        raise UserError("an empty list", where=node.mark, key=KEY, expected="at least one protocol")
    labels: dict[str, None] = {}
    for variant in found:
        shown = str(variant.spec.identity())
        if shown in labels:
            raise UserError(
                "the same protocol twice", where=variant.node.where, key=KEY, found=variant.spec.label
            )
        labels[shown] = None
    return tuple(found)


def _protocol(node: Node) -> Iterator[Variant[Any]]:
    name, arguments = _named(node)
    if name not in SPECS:
        raise UserError(
            "unknown protocol",
            where=node.where,
            key=KEY,
            found=name,
            expected=f"one of: {', '.join(SPECS)}",
            nearest=nearest(name, SPECS),
        )
    path = f"{KEY}.{name}"
    if name == "standard":
        yield from variants(arguments, Standard, path)
        return
    given = dict(arguments.value) if isinstance(arguments.value, dict) else {}
    strategies = given.pop("strategies", None)
    streams = variants(arguments.with_value(given), Stream, path)
    if strategies is None:
        raise UserError(
            "missing key", where=arguments.where, key=f"{path}.strategies", expected="e.g. [naive, replay]"
        )
    listed = strategies.value if isinstance(strategies.value, tuple) else (strategies,)
    for stream in streams:
        for entry in listed:
            chosen, of = _named(entry)
            spec = strategy(chosen, of, entry.where)
            made = ContinualSpec(**stream.spec.model_dump(), strategy=spec)
            yield Variant(stream.axes, arguments, made)


def _named(node: Node) -> tuple[str, Node]:
    """`naive`, or `{replay: {memory: 200}}`: the name, and the node of its arguments (an empty mapping)."""
    if isinstance(node.value, str):
        return node.value, node.with_value({})
    if isinstance(node.value, dict) and len(node.value) == 1:
        name, arguments = next(iter(node.value.items()))
        return name, arguments.with_value({}) if arguments.value is None else arguments
    shown = "null" if node.value is None else node.plain()
    raise UserError(
        "not a name with its arguments",
        where=node.where,
        key=KEY,
        found=shown,
        expected="a name, or {name: {arguments}}",
    )
