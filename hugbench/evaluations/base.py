"""What an evaluation is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hugbench.data.images import Dataset
from hugbench.models import Classifier
from hugbench.suite.moments import EXPERIENCE, SEEN

Reliability = Literal["PASS", "WARN", "FAIL"]
"""What the checks of a figure came to: it can be believed, with care, or not at all."""


@dataclass(frozen=True)
class Measurement:
    """One number and what it is of. Fractions stay fractions; n is the number of images behind it.

    `reliability` is the verdict on figures that bring their own evidence; None on those that need none.
    """

    metric: str
    value: float
    n: int
    condition: str = "clean"
    severity: int | None = None
    subset: str = "all"
    reliability: Reliability | None = None


@dataclass(frozen=True)
class Setting:
    """Where an evaluation happens.

    Attributes:
        dataset: the run's data.
        device: where the classifier is.
        seed: the run's seed, for evaluations that draw (through `hugbench.seeding`).
        batch_size: how many images at a time.
        subsets: groups of classes that accuracy is reported for by name, each as labels int64.
        experiences: the classes of each experience of a stream, in order; empty outside a stream.
        experience: the experience that was last trained on, from 1; 0 before any, None outside a stream.
        data: the data folder, for evaluations that look at further files; nothing is downloaded there.
        scratch: a folder of the run at this moment for what an evaluation keeps between attempts, so
            that a kill costs little; None where there is none. It may not exist yet, and what lies in
            it may be of other weights: whoever reads it checks.
        reference: gives the paired baseline's classifier at this moment (same data, protocol and seed),
            in evaluation mode on the device; None for the baseline itself or where there is none.
        tell: is called with a sentence of progress.
        pause: is called where `scratch` holds all that is needed to go on; may raise, to stop there.
    """

    dataset: Dataset
    device: torch.device
    seed: int
    batch_size: int = 500
    subsets: Mapping[str, Tensor] = field(default_factory=dict)
    experiences: tuple[Tensor, ...] = ()
    experience: int | None = None
    data: Path = Path("data")
    scratch: Path | None = None
    reference: Callable[[], Classifier | None] = lambda: None
    tell: Callable[[str], None] = lambda sentence: None
    pause: Callable[[], None] = lambda: None

    @property
    def seen(self) -> Tensor | None:
        """The classes of the experiences so far, int64; None outside a stream."""
        if self.experience is None:
            return None
        return torch.cat([torch.empty(0, dtype=torch.int64), *self.experiences[: self.experience]])

    @property
    def in_play(self) -> Tensor:
        """The classes to measure, int64, ascending: in a stream those seen so far, if any were; else all."""
        if self.seen is None or not len(self.seen):
            return torch.arange(len(self.dataset.classes))
        return self.seen.sort().values

    def groups(self) -> dict[str, Tensor]:
        """Every group of classes by name: the subsets, and in a stream seen and experience:1, ...."""
        by_number = {f"{EXPERIENCE}{number}": labels for number, labels in enumerate(self.experiences, 1)}
        seen = {} if self.seen is None else {SEEN: self.seen}
        return {**self.subsets, **seen, **by_number}


@dataclass(frozen=True)
class Findings:
    """What an evaluation returns.

    Attributes:
        measurements: the numbers.
        predictions: columns of equal length, one row per image (and condition).
        notes: sentences that must travel with the numbers (a temperature and what it was fitted on).
        details: plain data (JSON without NaN) beside the numbers, such as the checks that a figure
            passed or the bins of a diagram; None for none. It lies in `details/KEY.json`.
    """

    measurements: list[Measurement]
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] | None = None
