"""From a suite to its runs. A run's id says all that changes the trained model, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from hugbench.data.longtail import fitting
from hugbench.errors import UserError
from hugbench.suite.continual import ContinualSpec
from hugbench.suite.loader import Suite
from hugbench.suite.moments import Moment
from hugbench.suite.plugins import CriterionSpec, EvaluationSpec, canonical
from hugbench.suite.protocols import ProtocolSpec
from hugbench.suite.schema import DatasetSpec, ModelSpec, Recipe

SPEC_VERSION = 2
"""Raised when the same spec would train another model: a default or a meaning has changed."""

UNTRAINED = {"resident", "snapshot_every"}
"""Fields of the data set and the recipe that leave the trained model as it is."""


@dataclass(frozen=True)
class Run:
    """One trained model: everything that makes it what it is, in one picklable value."""

    run_id: str
    criterion: CriterionSpec
    dataset: DatasetSpec
    model: ModelSpec
    protocol: ProtocolSpec
    recipe: Recipe
    seed: int

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Where the run can be evaluated, in order; the last is its end."""
        return self.protocol.moments(self.recipe)

    @property
    def epochs(self) -> int:
        """How many epochs it is trained for in all."""
        return self.protocol.epochs(self.recipe)

    def resolved(self) -> dict[str, Any]:
        """The whole specification, defaults included, for `run.yaml`."""
        return {
            "run_id": self.run_id,
            "spec_version": SPEC_VERSION,
            "criterion": {
                "name": self.criterion.name,
                "target": self.criterion.target,
                "arguments": self.criterion.values(),
                "source_sha256": self.criterion.source_sha256,
            },
            "dataset": self.dataset.model_dump(),
            "model": self.model.model_dump(),
            "protocol": self.protocol.model_dump(),
            "recipe": self.recipe.model_dump(),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class PlannedRun:
    """A run and what the suite calls it: its criterion's label, and its place on the suite's axes.

    `reference` is the paired run of the suite's baseline; None for the baseline itself.
    """

    run: Run
    label: str
    variant: str
    reference: Run | None = None


@dataclass(frozen=True)
class Asked:
    """An evaluation at a moment of a run; `last` at the run's end. `reference`: id of the paired baseline."""

    spec: EvaluationSpec
    moment: Moment
    last: bool
    reference: str | None = None

    @property
    def key(self) -> str:
        """Names its files in the run's folder; before the end, with the moment's name."""
        key = self.spec.keyed(self.reference)
        return key if self.last else f"{key}.{self.moment.name}"


def asked(planned: PlannedRun, evaluations: Iterable[EvaluationSpec]) -> tuple[Asked, ...]:
    """All that is asked of a run: every evaluation at the end, then those asked `each` at every moment."""
    specs = tuple(evaluations)
    repeated = [spec for spec in specs if spec.after == "each"]
    *before, end = planned.run.moments
    reference = None if planned.reference is None else planned.reference.run_id
    return (
        *(Asked(spec, end, True, reference) for spec in specs),
        *(Asked(spec, moment, False, reference) for moment in before for spec in repeated),
    )


@dataclass(frozen=True)
class Plan:
    """All that a suite asks for. `runs` may name a run twice; it is trained once."""

    suite: str
    baseline: str
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    evaluations: tuple[EvaluationSpec, ...]

    def distinct(self) -> list[PlannedRun]:
        """Each run once, in order."""
        return list({planned.run.run_id: planned for planned in reversed(self.runs)}.values())[::-1]

    def keys(self, planned: PlannedRun) -> list[str]:
        """Keys of all that is asked of a run."""
        return [question.key for question in asked(planned, self.evaluations)]


def make_plan(suite: Suite) -> Plan:
    """The product of the suite's axes, criteria and seeds: seeds outermost within a comparison.

    The baseline comes first, so that its model is there when others are compared with it.

    Raises:
        UserError: two arms of a comparison that would be one model.
    """
    runs = tuple(_runs(suite))
    labels = tuple(dict.fromkeys(planned.label for planned in runs))
    return Plan(suite.name, suite.baseline, labels, suite.seeds, runs, suite.evaluations)


def smoke(plan: Plan, classes: dict[str, int]) -> Plan:
    """The same plan with a sliver of data, one epoch and one seed: does it work end to end?

    A long tail keeps its profile; its imbalance factor is lowered so far that the sliver leaves no
    class empty. What a recipe defers starts at once.

    Args:
        plan: the plan.
        classes: number of classes of each data set, by name.
    """
    seed = plan.seeds[0]

    def sliver(run: Run) -> Run:
        return _sliver(run, classes[run.dataset.name])

    runs = tuple(
        replace(p, run=sliver(p.run), reference=None if p.reference is None else sliver(p.reference))
        for p in plan.runs
        if p.run.seed == seed
    )
    return replace(plan, suite=f"{plan.suite}-smoke", seeds=(seed,), runs=runs)


def _sliver(run: Run, classes: int) -> Run:
    max_train = min(run.dataset.max_train or 1 << 62, max(256, 2 * classes))
    tail, weights = run.dataset.long_tail, run.recipe.class_weights
    dataset = run.dataset.model_copy(
        update={
            "max_train": max_train,
            "max_test": min(run.dataset.max_test or 1 << 62, max(128, classes)),
            "long_tail": tail and fitting(tail, classes, max_train),
        }
    )
    recipe = run.recipe.model_copy(
        update={
            "epochs": 1,
            "batch_size": min(run.recipe.batch_size, 64),
            "warmup_epochs": min(run.recipe.warmup_epochs, 1.0),
            "sampling_after": 0.0,
            "class_weights": weights and weights.model_copy(update={"after": 0.0}),
        }
    )
    protocol = run.protocol
    if isinstance(protocol, ContinualSpec):
        protocol = protocol.sliver(dataset.max_train or 0)
        recipe = recipe.model_copy(update={"batch_size": min(recipe.batch_size, 16)})
    parts = _parts(run.criterion, dataset, run.model, protocol, recipe)
    run_id = _run_id(run.criterion.name, parts, run.seed)
    return replace(run, run_id=run_id, dataset=dataset, protocol=protocol, recipe=recipe)


def _runs(suite: Suite) -> Iterator[PlannedRun]:
    for dataset in suite.datasets:
        for model in suite.models:
            for protocol in suite.protocols:
                for choice in suite.recipes:
                    axes = (*dataset.axes, *model.axes, *protocol.axes, *choice.axes)
                    variant = ", ".join(f"{path}={value}" for path, value in axes)
                    cells = [
                        (arm, own, _parts(arm.criterion, dataset.spec, model.spec, protocol.spec, own.spec))
                        for arm, recipes in zip(suite.arms, choice.arms, strict=True)
                        for own in recipes
                    ]
                    _refuse_twins([(arm.label, parts) for arm, _, parts in cells])
                    cells.sort(key=lambda cell: cell[0].label != suite.baseline)
                    for seed in suite.seeds:
                        reference: Run | None = None
                        for arm, own, parts in cells:
                            run = Run(
                                _run_id(arm.criterion.name, parts, seed),
                                arm.criterion,
                                dataset.spec,
                                model.spec,
                                protocol.spec,
                                own.spec,
                                seed,
                            )
                            yield PlannedRun(run, _label(arm.label, own.axes), variant, reference)
                            if arm.label == suite.baseline and reference is None:
                                reference = run


def _label(label: str, axes: tuple[tuple[str, str], ...]) -> str:
    """An arm with axes of its own is several rows of the comparison."""
    return label + (f"[{', '.join(f'{path}={value}' for path, value in axes)}]" if axes else "")


def _refuse_twins(cells: list[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for label, parts in cells:
        if parts in seen:
            raise UserError(
                "two criteria of the comparison are the same model",
                key="criteria",
                found=f"{seen[parts]}, {label}",
                expected="criteria that differ",
            )
        seen[parts] = label


def _parts(
    criterion: CriterionSpec, dataset: DatasetSpec, model: ModelSpec, protocol: ProtocolSpec, recipe: Recipe
) -> str:
    """Canonical JSON of all but the seed: fields that differ from their defaults, keys sorted."""
    sections = {
        "criterion": canonical(criterion.identity()),
        "dataset": _changed(dataset),
        "model": _changed(model),
        "protocol": canonical(protocol.identity()),
        "recipe": _changed(recipe),
    }
    return ",".join(f'"{name}":{text}' for name, text in sections.items())


def _changed(spec: BaseModel) -> str:
    return canonical(spec.model_dump(exclude_defaults=True, exclude=UNTRAINED))


def _run_id(name: str, parts: str, seed: int) -> str:
    text = f'{{{parts},"seed":{seed},"spec_version":{SPEC_VERSION}}}'
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
