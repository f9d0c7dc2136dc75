"""The reliability cards of a suite: what its evaluations stored beside the figures that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hugbench.errors import CorruptFile
from hugbench.results.store import RunFolder
from hugbench.suite.plan import Plan, asked

CARDS = "cards"
"""The key of an evaluation's details that holds a list of cards, each with verdict and checks."""


def collect_cards(plan: Plan, root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Every card of the plan's finished evaluations, and a sentence for each file that is damaged.

    A card says whose figure it is under the suite's own labels (run_id, criterion, dataset, protocol,
    variant, seed, evaluation, experience, epoch), then what the evaluation stored: norm, eps, images,
    verdict, checks.
    """
    cards: list[dict[str, Any]] = []
    damaged: list[str] = []
    for planned in plan.runs:
        folder = RunFolder(root, planned.run.run_id)
        status = folder.status()
        for question in asked(planned, plan.evaluations):
            if question.key not in status.evaluations:
                continue
            try:
                details = folder.details(status, question.key)
            except CorruptFile as error:
                damaged.append(str(error))
                continue
            place = {
                "run_id": planned.run.run_id,
                "criterion": planned.label,
                "dataset": planned.run.dataset.name,
                "protocol": planned.run.protocol.label,
                "variant": planned.variant,
                "seed": planned.run.seed,
                "evaluation": question.spec.label,
                "experience": question.moment.experience,
                "epoch": question.moment.epoch,
            }
            cards += [{**place, **card} for card in details.get(CARDS, [])]
    return cards, damaged
