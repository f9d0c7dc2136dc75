"""Small streams to learn: nine classes of noisy 4x4 images, a classifier with batch norm and dropout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import Dataset, ResidentImages
from hugbench.models import Classifier
from hugbench.protocols.continual.protocol import continual
from hugbench.suite.continual import ContinualSpec, strategy
from hugbench.suite.moments import Moment
from hugbench.suite.nodes import Node, parse
from hugbench.suite.plan import Run
from hugbench.suite.plugins import CriterionSpec
from hugbench.suite.schema import DatasetSpec, ModelSpec, Recipe

CLASSES, WIDTH = 6, 8
MAKE: dict[str, Callable[[], Criterion]] = {
    "cross_entropy": lambda: CrossEntropy(WIDTH, CLASSES),
    "hug": lambda: HUG(WIDTH, CLASSES, start="random"),
    "hug_seen": lambda: HUG(WIDTH, CLASSES, start="random", classes="seen"),
}

STRATEGIES = [
    "naive",
    "cumulative",
    "joint",
    "replay: {memory: 21}",
    "replay_reservoir: {memory: 20}",
    "er_ace: {memory: 20, memory_batch: 5}",
    "er_ace_criterion: {memory: 20, memory_batch: 5}",
    "der: {memory: 20, memory_batch: 5}",
    "der_criterion: {memory: 20, memory_batch: 5}",
    "der_pp: {memory: 20, memory_batch: 5}",
    "der_pp_criterion: {memory: 20, memory_batch: 5}",
    "ewc: {strength: 1.0}",
    "ewc: {strength: 1.0, mode: online, decay: 0.5}",
    "si",
    "mas: {strength: 0.01}",
    "lwf",
    "lwf_criterion",
    "agem: {memory: 21}",
    "gem: {memory: 21}",
    "mir: {memory: 20, memory_batch: 5, candidates: 12}",
    "gdumb: {memory: 20}",
    "icarl: {memory: 20}",
]
"""Every strategy once, as a suite writes it."""


SHORT = Recipe(epochs=2, batch_size=8, lr=0.05)


class Killed(BaseException):
    """Stands for a process that ends."""


def data(counts: tuple[int, ...] = (24,) * CLASSES) -> Dataset:
    """Images whose bright pixel tells their class, `counts` of each, shuffled."""
    draw = torch.Generator().manual_seed(1)
    targets = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    targets = targets[torch.randperm(len(targets), generator=draw)]
    pixels = torch.randint(0, 120, (len(targets), 1, 4, 4), generator=draw)
    pixels.view(len(targets), -1)[torch.arange(len(targets)), 2 * targets] += 130
    images = ResidentImages(pixels.to(torch.uint8), targets)
    names = tuple(f"class {label}" for label in range(len(counts)))
    return Dataset("tiny", names, images, None, images, (0.3,), (0.2,), "")


def classifier(
    criterion: str | Callable[[], Criterion] = "cross_entropy", *, drop: float = 0.0
) -> Classifier:
    """The same classifier at every call."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, WIDTH)
    )
    made = MAKE[criterion] if isinstance(criterion, str) else criterion
    return Classifier(backbone, made(), mean=(0.3,), std=(0.2,), drop_rate=drop)


def spec(text: str, **changed: Any) -> ContinualSpec:
    """A stream of three experiences by a strategy as a suite writes it, e.g. `replay: {memory: 20}`."""
    node = parse(text, "test")
    name, arguments = node.value, node.with_value(None)
    if isinstance(node.value, dict):
        ((name, arguments),) = node.value.items()
    assert isinstance(name, str)
    assert isinstance(arguments, Node)
    return ContinualSpec(**{"experiences": 3, "strategy": strategy(name, arguments, "test"), **changed})


def recipe(**changed: Any) -> Recipe:
    """A short recipe with `changed` fields."""
    return Recipe.model_validate({**SHORT.model_dump(), **changed})


def run(stream: ContinualSpec, how: Recipe, seed: int = 0) -> Run:
    """A run of a stream, whatever its criterion."""
    criterion = CriterionSpec("any", "registered", "", "{}", "{}")
    return Run("id", criterion, DatasetSpec(name="tiny"), ModelSpec(backbone="tiny"), stream, how, seed)


def learn(
    made: Classifier,
    stream: ContinualSpec,
    *,
    dataset: Dataset | None = None,
    recipe: Recipe = SHORT,
    seed: int = 0,
    keep: Callable[[int, Classifier], None] = lambda experience, now: None,
    **options: Any,
) -> tuple[list[int], list[dict[str, Any]]]:
    """Run a stream to its end: the experiences that were kept, and the last accounts."""
    accounts: list[list[dict[str, Any]]] = [[]]
    kept: list[int] = []

    def keep_moment(moment: Moment, now: Classifier) -> None:
        assert moment.experience is not None
        kept.append(moment.experience)
        keep(moment.experience, now)

    quiet = {"device": torch.device("cpu"), "checkpoint": None, "log": None, "on_epoch": lambda row: None}
    continual(
        made,
        dataset or data(),
        run(stream, recipe, seed),
        keep=keep_moment,
        note=lambda name, told: accounts.append(told),
        **{**quiet, **options},
    )
    return kept, accounts[-1]


def weights(made: nn.Module) -> dict[str, Tensor]:
    """A copy of parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in made.state_dict().items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models are equal bit for bit."""
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def files(folder: Path) -> dict[str, Path]:
    """Where a stream stores itself."""
    return {"checkpoint": folder / "resume.pt", "log": folder / "train.jsonl"}
