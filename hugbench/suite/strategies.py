"""What each class-incremental strategy does with a criterion: promised here, audited at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hugbench.suite.plugins import CriterionSpec

OVER_THE_BATCH = frozenset({"ntce", "nonl", "supcon"})
"""Criteria that compare the images of a batch, so that a single image has no loss."""

NOT_BY_CLASS = frozenset({"max_class_separation", "supcon"})
"""Criteria that cannot be restricted to some of their classes."""


@dataclass(frozen=True)
class Facts:
    """One row of the matrix.

    Attributes:
        new: whether the criterion is the loss of the images of the current experience.
        replayed: the same for images of earlier experiences; `none` where there are none.
        beside: what else the loss holds, or what takes the criterion's place.
        data: what an epoch goes through.
        memory: how a memory is divided, if there is one.
        instead: the variant of the strategy that serves every criterion.
    """

    new: Literal["criterion", "first experience", "never"]
    replayed: Literal["criterion", "never", "none"]
    beside: str = ""
    data: Literal["experience", "so far", "all", "memory"] = "experience"
    memory: Literal["none", "by class", "by experience", "by chance"] = "none"
    instead: str | None = None


STRATEGIES: dict[str, Facts] = {
    "naive": Facts("criterion", "none"),
    "cumulative": Facts("criterion", "criterion", data="so far"),
    "joint": Facts("criterion", "none", data="all"),
    "replay": Facts("criterion", "criterion", memory="by class"),
    "replay_reservoir": Facts("criterion", "criterion", memory="by chance"),
    "er_ace": Facts(
        "first experience",
        "never",
        "from the second experience on cross-entropy: of new images among the classes of their batch",
        memory="by class",
        instead="er_ace_criterion",
    ),
    "er_ace_criterion": Facts(
        "criterion", "criterion", "of new images among the classes of their batch", memory="by class"
    ),
    "der": Facts(
        "first experience",
        "never",
        "from the second experience on cross-entropy; squared error to the memory's logits",
        memory="by class",
        instead="der_criterion",
    ),
    "der_criterion": Facts("criterion", "never", "squared error to the memory's logits", memory="by class"),
    "der_pp": Facts(
        "first experience",
        "never",
        "from the second experience on cross-entropy; squared error to the memory's logits",
        memory="by class",
        instead="der_pp_criterion",
    ),
    "der_pp_criterion": Facts(
        "criterion", "criterion", "squared error to the memory's logits", memory="by class"
    ),
    "ewc": Facts("criterion", "none", "penalty on weights, by squared gradients of the criterion"),
    "si": Facts("criterion", "none", "penalty on weights, by their part in the loss's descent"),
    "mas": Facts("criterion", "none", "penalty on weights, by gradients of the logits' length"),
    "lwf": Facts("criterion", "none", "divergence from the old model's softmax of logits"),
    "lwf_criterion": Facts("criterion", "none", "the criterion again, with the old model's soft targets"),
    "agem": Facts("criterion", "criterion", "as a constraint on the gradient", memory="by experience"),
    "gem": Facts("criterion", "criterion", "as a constraint on the gradient", memory="by experience"),
    "mir": Facts("criterion", "criterion", "chosen by the criterion of single images", memory="by class"),
    "gdumb": Facts("criterion", "criterion", data="memory", memory="by class"),
    "icarl": Facts(
        "never",
        "never",
        "binary cross-entropy and distillation; predicts the nearest mean of exemplars",
        memory="by class",
    ),
}


@dataclass(frozen=True)
class Refusal:
    """Why a strategy cannot serve a criterion, and what would do."""

    why: str
    expected: str


def refusal(strategy: str, criterion: CriterionSpec) -> Refusal | None:
    """Why `strategy` cannot serve `criterion`, or None where it can, as far as names tell.

    What a criterion of one's own can do shows when the training starts.
    """
    facts = STRATEGIES[strategy]
    plain = criterion.name == "cross_entropy" and criterion.changed == "{}"
    if facts.new == "first experience" and not plain:
        return Refusal(
            f"it calls the criterion in the first experience only, {facts.beside}",
            f"{facts.instead}, or plain cross_entropy",
        )
    if facts.new == "never" and not plain:
        return Refusal(
            f"it never calls the criterion, its loss is its own: {facts.beside}", "plain cross_entropy"
        )
    if strategy == "mir" and criterion.name in OVER_THE_BATCH:
        return Refusal(
            "it compares the losses of single images, and this criterion compares the images of a batch",
            "another strategy, e.g. replay",
        )
    if strategy == "er_ace_criterion" and criterion.name in NOT_BY_CLASS:
        return Refusal(
            "it restricts the criterion to the classes of a batch, and this one cannot be restricted",
            "another strategy, e.g. replay",
        )
    return None


def matrix() -> list[dict[str, str]]:
    """The table as rows of words: strategy, new images, replayed images, beside the criterion, memory."""
    words = {"criterion": "criterion", "first experience": "first experience only", "never": "never"}
    return [
        {
            "strategy": name,
            "new images": words[facts.new],
            "replayed images": "-" if facts.replayed == "none" else words[facts.replayed],
            "beside the criterion": facts.beside or "-",
            "memory": "-" if facts.memory == "none" else facts.memory,
        }
        for name, facts in STRATEGIES.items()
    ]
