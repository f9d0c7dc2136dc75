"""How a model meets its data, as a suite says it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hugbench.suite.moments import Moment
from hugbench.suite.schema import Recipe
from hugbench.types import Frozen


class Standard(Frozen):
    """All classes at once, all epochs in one go."""

    name: Literal["standard"] = Field(description="standard: all classes at once, all epochs in one go")

    @property
    def label(self) -> str:
        """What records and reports call it."""
        return self.name

    @property
    def experiences(self) -> int | None:
        """How many experiences the stream has; None outside a stream."""
        return None

    def epochs(self, recipe: Recipe) -> int:
        """How many epochs a run is trained for in all."""
        return recipe.epochs

    def moments(self, recipe: Recipe) -> tuple[Moment, ...]:
        """Every `recipe.snapshot_every` epochs, and the end."""
        every = recipe.snapshot_every or recipe.epochs
        return (*(Moment(epoch=epoch) for epoch in range(every, recipe.epochs, every)), Moment())


ProtocolSpec = Standard
