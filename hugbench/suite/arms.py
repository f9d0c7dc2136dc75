"""The arms of a comparison: its criteria, each with its label and what it makes of the recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hugbench.errors import UserError, nearest
from hugbench.suite import baselines, plugins
from hugbench.suite.nodes import Node
from hugbench.suite.plugins import CriterionSpec
from hugbench.suite.schema import Recipe
from hugbench.suite.sections import Variant, merged, shown, variants

ADDED = "--criterion"
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+\-]*")


@dataclass(frozen=True)
class Arm:
    """One criterion of a comparison: its label in the suite, and its changes to the recipe."""

    label: str
    criterion: CriterionSpec
    override: Node | None


@dataclass(frozen=True)
class RecipeChoice:
    """One point on the recipe's axes, and what each arm (in order) makes of it.

    An arm whose own recipe has an axis has several variants there.
    """

    axes: tuple[tuple[str, str], ...]
    arms: tuple[tuple[Variant[Recipe], ...], ...]


def arms_of(node: Node, folder: Path) -> tuple[Arm, ...]:
    """Every entry of `criteria`; files are looked up from the suite's folder."""
    if not isinstance(node.value, tuple) or not node.value:
        raise UserError(
            "not a list of criteria",
            where=node.mark,
            key="criteria",
            found=shown(node),
            expected="at least one criterion, e.g. [cross_entropy, hug]",
        )
    arms: dict[str, Arm] = {}
    for entry in node.value:
        arm = _arm(entry, Path() if entry.mark == ADDED else folder)
        _new_label(arm.label, arms, entry)
        arms[arm.label] = arm
    return tuple(arms.values())


def recipes_of(node: Node, arms: tuple[Arm, ...]) -> tuple[RecipeChoice, ...]:
    """Every point on the axes of `recipe`."""
    return tuple(
        RecipeChoice(variant.axes, tuple(_own_recipes(variant, arm) for arm in arms))
        for variant in variants(node, Recipe, "recipe")
    )


def baseline_of(node: Node, arms: tuple[Arm, ...]) -> str:
    """The label that every other arm is compared with."""
    labels = [arm.label for arm in arms]
    if node.value not in labels:
        raise UserError(
            "the baseline is not among the criteria",
            where=node.mark,
            key="baseline",
            found=shown(node),
            expected=f"one of: {', '.join(labels)}",
            nearest=nearest(str(node.value), labels),
        )
    return str(node.value)


def refuse_axes(baseline: str, arms: tuple[Arm, ...], recipes: tuple[RecipeChoice, ...]) -> None:
    """The baseline is one model per comparison: its own recipe has no axis."""
    index = [arm.label for arm in arms].index(baseline)
    override = arms[index].override
    if override is not None and any(len(choice.arms[index]) > 1 for choice in recipes):
        raise UserError(
            "the baseline's own recipe has an axis",
            where=override.where,
            key=f"criteria.{baseline}.recipe",
            found=override.plain(),
            expected="one value for each key: the others are compared with it",
        )


def check_weights(arms: tuple[Arm, ...], recipes: tuple[RecipeChoice, ...]) -> None:
    """Class weights go to criteria that can weigh classes and do not do so already."""
    for choice in recipes:
        for arm, owns in zip(arms, choice.arms, strict=True):
            for own in owns:
                if own.spec.class_weights is not None:
                    where = own.node.at(("class_weights",)).where
                    plugins.check_weights(arm.criterion, arm.label, where)


def _own_recipes(variant: Variant[Recipe], arm: Arm) -> tuple[Variant[Recipe], ...]:
    if arm.override is None:
        return (Variant((), variant.node, variant.spec),)
    return tuple(variants(merged(variant.node, arm.override), Recipe, "recipe"))


def _arm(entry: Node, folder: Path) -> Arm:
    """`cross_entropy`, or `{hug: {alpha: 0.15}}`, with `name:` and `recipe:` beside it if wanted.

    The path of a baseline's file stands for the criterion and the recipe in it.
    """
    entry, folder = baselines.opened(entry, folder)
    if isinstance(entry.value, str):
        spec = plugins.criterion(entry.value, entry.with_value(None), entry.mark, folder)
        return Arm(_label(spec.name, entry), spec, None)
    if not isinstance(entry.value, dict):
        raise UserError(
            "not a criterion",
            where=entry.mark,
            key="criteria",
            found=shown(entry),
            expected="a name, or {name_of_criterion: {arguments}}",
        )
    names = [key for key in entry.value if key not in {"name", "recipe"}]
    if len(names) != 1:
        raise UserError(
            "not one criterion",
            where=entry.mark,
            key="criteria",
            found=", ".join(names) or "none",
            expected="one criterion an entry, beside it only name and recipe",
        )
    arguments, override = entry.value[names[0]], entry.value.get("recipe")
    if override is not None and not isinstance(override.value, dict):
        raise UserError(
            "not a recipe",
            where=override.where,
            key="criteria.recipe",
            found=shown(override),
            expected="a mapping of keys",
        )
    spec = plugins.criterion(names[0], arguments, arguments.where, folder)
    label = entry.value["name"].value if "name" in entry.value else spec.name
    return Arm(_label(label, entry.value.get("name", entry)), spec, override)


def _new_label(label: str, arms: dict[str, Arm], entry: Node) -> None:
    if label in arms:
        raise UserError(
            "two criteria of one name",
            where=entry.mark,
            key="criteria",
            found=label,
            expected="a name of its own for each, e.g. {name: other, hug: {...}}",
        )


def _label(label: object, node: Node) -> str:
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise UserError(
            "not a name",
            where=node.mark,
            key="criteria.name",
            found=label,
            expected="letters, digits, and _ . + - after the first",
        )
    return label
