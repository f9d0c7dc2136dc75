"""When a run is evaluated: at its end, and where a suite asks for it at moments before."""

from __future__ import annotations

from dataclasses import dataclass

SEEN = "seen"
"""The subset of the classes of all experiences so far."""

EXPERIENCE = "experience:"
"""In front of a number: the subset of the classes of one experience."""


@dataclass(frozen=True)
class Moment:
    """A point of a training at which the classifier is kept, to be evaluated.

    Attributes:
        experience: the experience of a class-incremental stream that was last trained on, from 1; 0
            before any; None outside a stream.
        epoch: how many epochs are finished; None at the end of the training or of an experience.
    """

    experience: int | None = None
    epoch: int | None = None

    @property
    def name(self) -> str:
        """`end`, `epoch-10` or `experience-3`: part of the names of its files."""
        known = {"experience": self.experience, "epoch": self.epoch}
        return "-".join(f"{key}-{value}" for key, value in known.items() if value is not None) or "end"
