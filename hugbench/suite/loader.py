"""From a YAML file to a checked, typed suite."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hugbench.backbones import check_backbone
from hugbench.errors import UserError, nearest, standing
from hugbench.suite import baselines, overrides, plugins
from hugbench.suite.continual import ContinualSpec, check_criterion, check_recipe
from hugbench.suite.nodes import Node, read
from hugbench.suite.plugins import CriterionSpec, EvaluationSpec
from hugbench.suite.protocols import ProtocolSpec, protocols
from hugbench.suite.schema import DatasetSpec, ModelSpec, Recipe
from hugbench.suite.sections import Variant, merged, variants

REQUIRED = ("criteria", "baseline", "dataset", "model", "recipe", "seeds")
OPTIONAL = ("name", "description", "protocol", "evaluations")
ADDED = "--criterion"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+\-]*")


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


@dataclass(frozen=True)
class Suite:
    """A suite as written, checked: what is compared, on what, how, how often, by what measure."""

    name: str
    description: str
    source: Path
    baseline: str
    arms: tuple[Arm, ...]
    datasets: tuple[Variant[DatasetSpec], ...]
    models: tuple[Variant[ModelSpec], ...]
    protocols: tuple[Variant[ProtocolSpec], ...]
    recipes: tuple[RecipeChoice, ...]
    seeds: tuple[int, ...]
    evaluations: tuple[EvaluationSpec, ...]


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path, or the bare name of a shipped one.

    Raises:
        UserError: neither; names the nearest shipped suite.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = shipped_suites()
    if str(name) in shipped:
        return shipped[str(name)]
    near = nearest(path.stem, shipped)
    raise UserError("no such suite", where=path, expected="a YAML file or a shipped suite", nearest=near)


def shipped_suites() -> dict[str, Path]:
    """Suites of the current folder's `suites/`, then those that came with hugbench, by name."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / "_shipped" / "suites", package.parent / "suites", Path("suites"))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_suite(
    path: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
) -> Suite:
    """Read and check a suite.

    Args:
        path: a YAML file, or the name of a shipped suite.
        settings: `path=value` overrides, applied in order.
        seeds: instead of the suite's.
        criteria: names or paths of criteria to add; settings reach them like those of the suite.

    Raises:
        UserError: whatever is wrong with it, the first thing, with file, line and column.
    """
    file = find_suite(path)
    root = read(file)
    whole, parts = _apart(settings)
    for setting in whole:
        root = overrides.apply(root, setting)
    root = _with_added(root, criteria)
    for setting in parts:
        root = overrides.apply(root, setting)
    entries = _top_level(root)
    if seeds is not None:
        mark = "--seeds"
        entries["seeds"] = Node(tuple(Node(seed, mark, mark) for seed in seeds), mark, mark)
    arms = _arms(entries["criteria"], file.parent)
    models = variants(entries["model"], ModelSpec, "model", "backbone")
    for model in models:
        check_backbone(model.spec.backbone, where=model.node.at(("backbone",)).mark)
    recipes = _recipes(entries["recipe"], arms)
    _check_weights(arms, recipes)
    baseline = _baseline(entries["baseline"], arms)
    _refuse_axes(baseline, arms, recipes)
    datasets = tuple(variants(entries["dataset"], DatasetSpec, "dataset", "name"))
    evaluations = _evaluations(entries.get("evaluations"), root)
    _refuse_missing_split(evaluations, datasets)
    met = protocols(entries.get("protocol", Node("standard", root.mark)))
    _refuse_misfits(met, arms, recipes)
    return Suite(
        name=_name(entries.get("name"), file),
        description=_text(entries.get("description"), "description"),
        source=file,
        baseline=baseline,
        arms=arms,
        datasets=datasets,
        models=tuple(models),
        protocols=met,
        recipes=recipes,
        seeds=_seeds(entries["seeds"]),
        evaluations=evaluations,
    )


def _apart(settings: Iterable[str]) -> tuple[list[str], list[str]]:
    """Settings of the whole list of criteria, which come before any is added to it, and the others."""
    listed = list(settings)
    whole = [setting for setting in listed if setting.partition("=")[0].strip() == "criteria"]
    return whole, [setting for setting in listed if setting not in whole]


def _with_added(root: Node, criteria: Iterable[str]) -> Node:
    """The suite with criteria of the command line at the end of its list, if it has one."""
    listed = root.at(("criteria",)).value
    added = tuple(Node(name, ADDED, ADDED) for name in criteria)
    if not added or not isinstance(root.value, dict) or not isinstance(listed, tuple):
        return root
    node = root.value["criteria"]
    return root.with_value({**root.value, "criteria": node.with_value((*listed, *added))})


def _top_level(root: Node) -> dict[str, Node]:
    if not isinstance(root.value, dict):
        raise UserError("not a suite", where=root.mark, found=_shown(root), expected="a mapping of keys")
    known = (*REQUIRED, *OPTIONAL)
    for key, child in root.value.items():
        if key not in known:
            listed = f"one of: {', '.join(known)}"
            raise UserError(
                "unknown key", where=child.where, key=key, expected=listed, nearest=nearest(key, known)
            )
    for key in REQUIRED:
        if key not in root.value:
            raise UserError(
                "missing key", where=root.mark, key=key, expected=f"all of: {', '.join(REQUIRED)}"
            )
    return dict(root.value)


def _arms(node: Node, folder: Path) -> tuple[Arm, ...]:
    if not isinstance(node.value, tuple) or not node.value:
        raise UserError(
            "not a list of criteria",
            where=node.mark,
            key="criteria",
            found=_shown(node),
            expected="at least one criterion, e.g. [cross_entropy, hug]",
        )
    arms: dict[str, Arm] = {}
    for entry in node.value:
        arm = _arm(entry, Path() if entry.mark == ADDED else folder)
        _new_label(arm.label, arms, entry)
        arms[arm.label] = arm
    return tuple(arms.values())


def _new_label(label: str, arms: dict[str, Arm], entry: Node) -> None:
    if label in arms:
        raise UserError(
            "two criteria of one name",
            where=entry.mark,
            key="criteria",
            found=label,
            expected="a name of its own for each, e.g. {name: other, hug: {...}}",
        )


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
            found=_shown(entry),
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
            found=_shown(override),
            expected="a mapping of keys",
        )
    spec = plugins.criterion(names[0], arguments, arguments.where, folder)
    label = entry.value["name"].value if "name" in entry.value else spec.name
    return Arm(_label(label, entry.value.get("name", entry)), spec, override)


def _label(label: object, node: Node) -> str:
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise UserError(
            "not a name",
            where=node.mark,
            key="criteria.name",
            found=label,
            expected="letters, digits, and _ . + - after the first",
        )
    return label


def _recipes(node: Node, arms: tuple[Arm, ...]) -> tuple[RecipeChoice, ...]:
    return tuple(
        RecipeChoice(variant.axes, tuple(_own_recipes(variant, arm) for arm in arms))
        for variant in variants(node, Recipe, "recipe")
    )


def _own_recipes(variant: Variant[Recipe], arm: Arm) -> tuple[Variant[Recipe], ...]:
    if arm.override is None:
        return (Variant((), variant.node, variant.spec),)
    return tuple(variants(merged(variant.node, arm.override), Recipe, "recipe"))


def _check_weights(arms: tuple[Arm, ...], recipes: tuple[RecipeChoice, ...]) -> None:
    """Class weights go to criteria that can weigh classes and do not do so already."""
    for choice in recipes:
        for arm, owns in zip(arms, choice.arms, strict=True):
            for own in owns:
                if own.spec.class_weights is not None:
                    where = own.node.at(("class_weights",)).where
                    plugins.check_weights(arm.criterion, arm.label, where)


def _seeds(node: Node) -> tuple[int, ...]:
    plain = node.plain()
    expected = "a list of different whole numbers from 0, e.g. [0, 1, 2]"
    if not isinstance(plain, tuple) or not plain:
        raise UserError("no seeds", where=node.where, key="seeds", found=_shown(node), expected=expected)
    assert isinstance(node.value, tuple)
    for index, child in enumerate(node.value):
        if not isinstance(child.value, int) or isinstance(child.value, bool) or child.value < 0:
            raise UserError(
                "not a seed", where=child.mark, key=f"seeds.{index}", found=_shown(child), expected=expected
            )
        if child.value in plain[:index]:
            raise UserError(
                "the same seed twice",
                where=child.mark,
                key=f"seeds.{index}",
                found=child.value,
                expected=expected,
            )
    return tuple(plain)


def _baseline(node: Node, arms: tuple[Arm, ...]) -> str:
    labels = [arm.label for arm in arms]
    if node.value not in labels:
        raise UserError(
            "the baseline is not among the criteria",
            where=node.mark,
            key="baseline",
            found=_shown(node),
            expected=f"one of: {', '.join(labels)}",
            nearest=nearest(str(node.value), labels),
        )
    return str(node.value)


def _refuse_axes(baseline: str, arms: tuple[Arm, ...], recipes: tuple[RecipeChoice, ...]) -> None:
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


def _refuse_misfits(
    met: tuple[Variant[ProtocolSpec], ...], arms: tuple[Arm, ...], recipes: tuple[RecipeChoice, ...]
) -> None:
    """A stream whose strategy cannot serve a criterion, or cannot follow a recipe."""
    for protocol in met:
        if not isinstance(protocol.spec, ContinualSpec):
            continue
        with standing(protocol.node.where):
            for arm in arms:
                check_criterion(protocol.spec, arm.criterion)
            for choice in recipes:
                for own in itertools.chain.from_iterable(choice.arms):
                    check_recipe(own.spec)


def _evaluations(node: Node | None, root: Node) -> tuple[EvaluationSpec, ...]:
    given = node if node is not None else Node((Node("accuracy", root.mark),), root.mark)
    if not isinstance(given.value, tuple) or not given.value:
        raise UserError(
            "not a list of evaluations",
            where=given.where,
            key="evaluations",
            found=_shown(given),
            expected="at least one, e.g. [accuracy]",
        )
    found: dict[str, EvaluationSpec] = {}
    for entry in given.value:
        name, arguments, after = _evaluation_entry(entry)
        spec = replace(plugins.evaluation(name, arguments, entry.mark), after=after)
        if spec.key in found:
            raise UserError("the same evaluation twice", where=entry.mark, key="evaluations", found=name)
        found[spec.key] = spec
    names = [spec.name for spec in found.values()]
    return tuple(
        spec if names.count(spec.name) == 1 else replace(spec, label=f"{spec.name}{spec.arguments}")
        for spec in found.values()
    )


def _refuse_missing_split(
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
            found=_shown(entry),
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
        found=_shown(after),
        expected="last (the end of a run), or each (every experience of a stream, every snapshot)",
        nearest=nearest(str(after.value), ("last", "each")),
    )


def _name(node: Node | None, file: Path) -> str:
    if node is None:
        return file.stem
    if not isinstance(node.value, str) or not _LABEL.fullmatch(node.value):
        raise UserError(
            "not a name",
            where=node.mark,
            key="name",
            found=_shown(node),
            expected="letters, digits, and _ . + - after the first",
        )
    return node.value


def _text(node: Node | None, key: str) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str):
        raise UserError("not a text", where=node.mark, key=key, found=_shown(node), expected="a text")
    return node.value.strip()


def _shown(node: Node) -> Any:
    return "null" if node.value is None else node.plain()
