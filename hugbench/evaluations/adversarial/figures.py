"""From how every image stands to numbers, rows and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hugbench.evaluations.adversarial.cascade import STANDS, Clean, Stage, Standing
from hugbench.evaluations.adversarial.catalogue import Norm
from hugbench.evaluations.adversarial.evidence import Check, judged
from hugbench.evaluations.adversarial.evidence import worst as worst_verdict
from hugbench.evaluations.base import Measurement, Reliability
from hugbench.results.cells import RELIABILITY
from hugbench.types import eps_value


@dataclass(frozen=True)
class Figures:
    """What an evaluation came to.

    Attributes:
        norm: of the ball.
        clean: the images without an attack.
        standings: by label and eps.
        cards: of the worst case, by eps, as JSON; without those that were not made.
        alone: of several attacks, how far each figure alone is above the worst case, by label and eps.
    """

    norm: Norm
    clean: Clean
    standings: Mapping[tuple[str, str], Standing]
    cards: Mapping[str, Mapping[str, Any]]
    alone: Mapping[tuple[str, str], Check]

    def measurements(self, subsets: Mapping[str, Tensor]) -> list[Measurement]:
        """The accuracies over all images, and over those of groups of classes (labels int64, by name)."""
        clean, targets = self.clean, self.clean.targets
        everyone = torch.ones_like(targets, dtype=torch.bool)
        groups = {"all": everyone} | {
            name: torch.isin(targets, labels.to(targets)) for name, labels in subsets.items()
        }
        found = []
        figures = [
            ("robust_accuracy", self._condition(*place), standing.robust, self._verdict(place))
            for place, standing in self.standings.items()
        ]
        for metric, condition, hits, verdict in (*figures, ("accuracy", "clean", clean.hits, None)):
            for name, inside in groups.items():
                if count := int(inside.sum()):
                    value = float(hits[inside].double().mean())
                    found.append(Measurement(metric, value, count, condition, None, name, verdict))
        return found

    def predictions(self, stages: Sequence[Stage]) -> dict[str, np.ndarray]:
        """One row per label, eps and image."""
        clean, standings = self.clean, self.standings
        names = np.array(["", "clean", *(stage.name for stage in stages)])
        count = len(clean.indices)
        by = torch.cat([standing.by for standing in standings.values()])
        return {
            "condition": np.repeat([self._condition(*place) for place in standings], count),
            "eps": np.repeat([eps_value(eps) for _, eps in standings], count),
            "index": clean.indices.repeat(len(standings)).numpy(),
            "target": clean.targets.repeat(len(standings)).numpy(),
            "prediction": clean.predictions.repeat(len(standings)).numpy(),
            "fooled": (by != STANDS).numpy(),
            "fooled_by": names[by.numpy() + 1],
            "margin": torch.cat([standing.margins for standing in standings.values()]).numpy(),
        }

    def complaints(self) -> list[str]:
        """A sentence on all checks of the cards that did not pass, and one on figures that are too high."""
        cards = [f"{eps} {text}" for eps, card in self.cards.items() if (text := _complaints(card))]
        alone = [
            f"{self._condition(*place)} {check.verdict}: {check.value:.3g} of the images {check.told}"
            for place, check in self.alone.items()
            if check.verdict != RELIABILITY[0]
        ]
        label = next(iter(self.standings))[0]
        found = [f"robust_accuracy ({label} {self.norm}), its cards: {'; '.join(cards)}"] if cards else []
        return [*found, f"robust_accuracy of single attacks: {'; '.join(alone)}"] if alone else found

    def _condition(self, label: str, eps: str) -> str:
        return f"{label} {self.norm} {eps}"

    def _verdict(self, place: tuple[str, str]) -> Reliability | None:
        """Of the card of the worst case, and of what the figure alone is above it."""
        if place[1] not in self.cards:
            return None
        found: Reliability = self.cards[place[1]]["verdict"]
        return worst_verdict([found, self.alone[place].verdict]) if place in self.alone else found


def worst(standings: list[Standing]) -> Standing:
    """The least robust outcome of every image; of attacks that fooled it, the first."""
    first, *others = standings
    by, margins = first.by.clone(), first.margins.clone()
    for other in others:
        by = torch.where(by == STANDS, other.by, by)
        margins = torch.fmin(margins, other.margins)
    return Standing(by, margins)


def above(standing: Standing, least: Standing) -> Check:
    """Images that one attack leaves robust and another of the list fools: so far the figure is too high.

    Of those in play, at least one.
    """
    count = int((standing.robust & ~least.robust).sum())
    in_play = int((~least.margins.isnan()).sum())
    return judged("alone", count, in_play, "robust to this attack alone, fooled by another one")


def _complaints(card: Mapping[str, Any]) -> str:
    """`FAIL: losses 0.12 (threshold 0.005)`: the checks that did not pass, with number and threshold."""
    if card["verdict"] == RELIABILITY[0]:
        return ""
    told = []
    for check in card["checks"]:
        if check["verdict"] in RELIABILITY[1:]:
            value = "" if check["value"] is None else f" {check['value']:.3g}"
            limit = "" if check["threshold"] is None else f" (threshold {check['threshold']:.3g})"
            told.append(f"{check['name']}{value}{limit}")
    return f"{card['verdict']}: {', '.join(told) or 'a check was skipped'}"
