"""From a YAML file to a checked, typed suite."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hugbench.backbones import check_backbone
from hugbench.errors import UserError, nearest, standing
from hugbench.suite import overrides
from hugbench.suite.arms import (
    ADDED,
    LABEL,
    Arm,
    RecipeChoice,
    arms_of,
    baseline_of,
    check_weights,
    recipes_of,
    refuse_axes,
)
from hugbench.suite.continual import ContinualSpec, check_criterion, check_recipe
from hugbench.suite.nodes import Node, read
from hugbench.suite.plugins import EvaluationSpec
from hugbench.suite.protocols import ProtocolSpec, protocols
from hugbench.suite.questions import evaluations_of, refuse_missing_split
from hugbench.suite.schema import DatasetSpec, ModelSpec
from hugbench.suite.sections import Variant, shown, variants

REQUIRED = ("criteria", "baseline", "dataset", "model", "recipe", "seeds")
OPTIONAL = ("name", "description", "protocol", "evaluations")


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
    arms = arms_of(entries["criteria"], file.parent)
    models = variants(entries["model"], ModelSpec, "model", "backbone")
    for model in models:
        check_backbone(model.spec.backbone, where=model.node.at(("backbone",)).mark)
    recipes = recipes_of(entries["recipe"], arms)
    check_weights(arms, recipes)
    baseline = baseline_of(entries["baseline"], arms)
    refuse_axes(baseline, arms, recipes)
    datasets = tuple(variants(entries["dataset"], DatasetSpec, "dataset", "name"))
    evaluations = evaluations_of(entries.get("evaluations"), root)
    refuse_missing_split(evaluations, datasets)
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
        raise UserError("not a suite", where=root.mark, found=shown(root), expected="a mapping of keys")
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


def _seeds(node: Node) -> tuple[int, ...]:
    plain = node.plain()
    expected = "a list of different whole numbers from 0, e.g. [0, 1, 2]"
    if not isinstance(plain, tuple) or not plain:
        raise UserError("no seeds", where=node.where, key="seeds", found=shown(node), expected=expected)
    assert isinstance(node.value, tuple)
    for index, child in enumerate(node.value):
        if not isinstance(child.value, int) or isinstance(child.value, bool) or child.value < 0:
            raise UserError(
                "not a seed", where=child.mark, key=f"seeds.{index}", found=shown(child), expected=expected
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


def _name(node: Node | None, file: Path) -> str:
    if node is None:
        return file.stem
    if not isinstance(node.value, str) or not LABEL.fullmatch(node.value):
        raise UserError(
            "not a name",
            where=node.mark,
            key="name",
            found=shown(node),
            expected="letters, digits, and _ . + - after the first",
        )
    return node.value


def _text(node: Node | None, key: str) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str):
        raise UserError("not a text", where=node.mark, key=key, found=shown(node), expected="a text")
    return node.value.strip()
