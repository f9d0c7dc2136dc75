"""How long an epoch or an evaluation will take, learnt from those that are finished.

The median of the like ones. What is asked about is looked up on a ladder, from the same criterion, data,
model, protocol and batch down to any run of the model, whose seconds for each image are taken; first among
what ran on the same hardware, then among all. Nothing is guessed below that.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence

from hugbench.results.traits import Traits

Rung = tuple[Hashable, float]
"""What must be the same, and the unit that seconds are counted in: 1, or a number of images."""


class Estimator:
    """What is known of the time that runs take.

    Attributes:
        hardware: what the runs in question will be on; None where that is not known.
    """

    def __init__(self, hardware: str | None = None) -> None:
        self.hardware = hardware
        self._known: dict[Hashable, list[float]] = defaultdict(list)
        self._answers: dict[tuple[Traits, str | None], float | None] = {}

    def teach_epoch(self, of: Traits, hardware: str | None, seconds: float) -> None:
        """An epoch of such a run took so long, in the mean over the run."""
        self._teach(_epoch_ladder(of), hardware, seconds)

    def teach_evaluation(self, of: Traits, key: str, hardware: str | None, seconds: float) -> None:
        """An evaluation of such a run took so long; `key` is its `NAME-HASH`."""
        self._teach(_evaluation_ladder(of, key), hardware, seconds)

    def epoch(self, of: Traits) -> float | None:
        """Seconds of an epoch; None while no run like it has finished one."""
        if (of, None) not in self._answers:
            self._answers[of, None] = self._looked_up(_epoch_ladder(of))
        return self._answers[of, None]

    def evaluation(self, of: Traits, key: str) -> float | None:
        """Seconds of an evaluation, by its `NAME-HASH`; None while no run like it has had one like it."""
        if (of, key) not in self._answers:
            self._answers[of, key] = self._looked_up(_evaluation_ladder(of, key))
        return self._answers[of, key]

    def _teach(self, ladder: Sequence[Rung], hardware: str | None, seconds: float) -> None:
        self._answers.clear()
        for what, unit in ladder:
            for place in {hardware, None}:
                self._known[place, what].append(seconds / unit)

    def _looked_up(self, ladder: Sequence[Rung]) -> float | None:
        for place in dict.fromkeys((self.hardware, None)):
            for what, unit in ladder:
                if found := self._known.get((place, what)):
                    return statistics.median(found) * unit
        return None


def _epoch_ladder(of: Traits) -> list[Rung]:
    ladder: list[Rung] = [
        (("epoch", of.dataset, of.model, of.protocol, of.step, of.criterion), 1.0),
        (("epoch", of.dataset, of.model, of.protocol, of.step), 1.0),
        (("epoch", of.dataset, of.model, of.protocol), 1.0),
    ]
    if of.train:
        ladder.append((("image", of.model, of.step), float(of.train)))
        ladder.append((("image", of.model), float(of.train)))
    return ladder


def _evaluation_ladder(of: Traits, key: str) -> list[Rung]:
    name = key.rpartition("-")[0]
    ladder: list[Rung] = [
        (("evaluation", key, of.dataset, of.model, of.criterion), 1.0),
        (("evaluation", key, of.dataset, of.model), 1.0),
        (("evaluation", name, of.dataset, of.model), 1.0),
    ]
    if of.test:
        ladder.append((("test image", key, of.model), float(of.test)))
        ladder.append((("test image", name, of.model), float(of.test)))
    return ladder
