"""The evaluations that a suite asks for, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hugbench.errors import UserError, nearest
from hugbench.suite import plugins
from hugbench.suite.nodes import Node
from hugbench.suite.plugins import EvaluationSpec
from hugbench.suite.schema import DatasetSpec
from hugbench.suite.sections import Variant, shown


def evaluations_of(node: Node | None, root: Node) -> tuple[EvaluationSpec, ...]:
    """Every entry of `evaluations`; accuracy where there is no such key."""
    given = node if node is not None else Node((Node("accuracy", root.mark),), root.mark)
    if not isinstance(given.value, tuple) or not given.value:
        raise UserError(
            "not a list of evaluations",
            where=given.where,
            key="evaluations",
            found=shown(given),
            expected="at least one, e.g. [accuracy]",
        )
    found: dict[str, EvaluationSpec] = {}
    for entry in given.value:
        name, arguments, after = _evaluation_entry(entry)
        spec = replace(plugins.evaluation(name, arguments, entry.mark), after=after)
        if spec.key in found:
            raise UserError("the same evaluation twice", where=entry.mark, key="evaluations", found=name)
        found[spec.key] = spec
    return tuple(
        _labelled(spec, [other for other in found.values() if other.name == spec.name])
        for spec in found.values()
    )


def _labelled(spec: EvaluationSpec, namesakes: list[EvaluationSpec]) -> EvaluationSpec:
    """With the arguments in its label that tell it from others of its name: `accuracy(split=validation)`.

    That the images are held-out training images is always said.
    """
    values = spec.values()
    telling = [
        key
        for key in values
        if any(other.values()[key] != values[key] for other in namesakes)
        or (key, values[key]) == ("split", "validation")
    ]
    shown = ", ".join(f"{key}={values[key]}" for key in telling)
    return replace(spec, label=f"{spec.name}({shown})" if shown else spec.name)


def refuse_missing_split(
    evaluations: tuple[EvaluationSpec, ...], datasets: tuple[Variant[DatasetSpec], ...]
) -> None:
    """An evaluation of the validation images needs a data set that holds some out."""
    for evaluation in evaluations:
        for dataset in datasets:
            if evaluation.values().get("split") == "validation" and not dataset.spec.validation:
                raise UserError(
                    "there are no validation images to evaluate on",
                    where=dataset.node.at(("validation",)).where,
                    key="dataset.validation",
                    found=dataset.spec.validation,
                    expected=f"more than 0, for evaluation {evaluation.label}",
                )


def _evaluation_entry(entry: Node) -> tuple[str, Node, Literal["last", "each"]]:
    """`accuracy`, or `{accuracy: {bins: 20}}`, with `evaluate_after:` beside it if wanted."""
    if isinstance(entry.value, str):
        return entry.value, entry.with_value(None), "last"
    given = dict(entry.value) if isinstance(entry.value, dict) else {}
    after = given.pop("evaluate_after", None)
    if len(given) != 1:
        raise UserError(
            "not an evaluation",
            where=entry.mark,
            key="evaluations",
            found=shown(entry),
            expected="a name, or {name_of_evaluation: {arguments}}, beside it only evaluate_after",
        )
    name, arguments = next(iter(given.items()))
    if after is None or after.value == "last":
        return name, arguments, "last"
    if after.value == "each":
        return name, arguments, "each"
    raise UserError(
        "not a valid value",
        where=after.mark,
        key=f"evaluations.{name}.evaluate_after",
        found=shown(after),
        expected="last (the end of a run), or each (every experience of a stream, every snapshot)",
        nearest=nearest(str(after.value), ("last", "each")),
    )
