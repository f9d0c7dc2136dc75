"""The strategies without a memory: one end of the scale, and the other."""

from __future__ import annotations

from typing import Any

from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.training import supervised
from avalanche.training.templates import SupervisedTemplate

from hugbench.protocols.continual.base import Strategy


class Naive(Strategy):
    """Train on each experience as it comes, and do nothing against forgetting: the lower end."""

    def __init__(self) -> None: ...

    def build(self) -> SupervisedTemplate:
        return supervised.Naive(**self.common())


class Cumulative(Strategy):
    """Train on all experiences so far at each experience, from the weights of the last."""

    def __init__(self) -> None: ...

    def build(self) -> SupervisedTemplate:
        return supervised.Cumulative(**self.common())

    def restore(self, state: dict[str, Any], done: int) -> None:
        parts = [experience.dataset for experience in self.parts.experiences[:done]]
        self.live.dataset = concat_datasets(parts) if parts else None


class Joint(Strategy):
    """Train once on all classes together, for the epochs of one experience: the upper end."""

    def __init__(self) -> None: ...

    def build(self) -> SupervisedTemplate:
        return supervised.JointTraining(**self.common())
