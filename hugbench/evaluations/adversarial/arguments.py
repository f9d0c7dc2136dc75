"""What each attack takes, as frozen models. The radius, the seed and the logits' scale are none of it."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le
from pydantic import Field, model_validator

from hugbench.types import Frozen, NonNegative, OpenFraction, Positive, PositiveInt

Covered = Annotated[float, Gt(0), Le(0.8)]
Share = Annotated[float, Gt(0), Le(1)]


class Fgsm(Frozen):
    """One step of length eps along the gradient of the cross-entropy (its sign for Linf).

    Goodfellow, Shlens, Szegedy, ICLR 2015, arXiv 1412.6572.
    """


class Steps(Frozen):
    """What all iterated gradient steps take."""

    steps: PositiveInt = 10
    step: Positive | None = Field(None, description="length as a fraction of eps; null: 2.5 / steps")
    eot: PositiveInt = Field(1, description="gradients that are averaged, where the victim is noisy")

    @property
    def length(self) -> float:
        """Length of a step as a fraction of eps."""
        return 2.5 / self.steps if self.step is None else self.step


class Restarts(Steps):
    """Steps from a random place in the ball, several times."""

    random_start: bool = True
    restarts: PositiveInt = 1

    @model_validator(mode="after")
    def _different(self) -> Restarts:
        if self.restarts > 1 and not self.random_start:
            raise ValueError("restarts above 1 without random_start are the same attack again")
        return self


class Pgd(Restarts):
    """Projected gradient ascent of the cross-entropy; Madry et al., ICLR 2018, arXiv 1706.06083."""


class Momentum(Steps):
    """PGD with momentum, or Nesterov's, without a random start.

    mifgsm: Dong et al., CVPR 2018, arXiv 1710.06081. nifgsm: Lin et al., ICLR 2020, arXiv 1908.06281.
    """

    decay: NonNegative = Field(1.0, description="how much of the last direction is kept")


class Upgd(Restarts):
    """PGD with momentum on the margin, or on the difference of logits ratio (dlr)."""

    random_start: bool = False
    decay: NonNegative = Field(1.0, description="how much of the last direction is kept")


class Apgd(Frozen):
    """PGD with steps that halve where the loss stalls; Croce, Hein, ICML 2020, arXiv 2003.01690."""

    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    eot: PositiveInt = Field(1, description="gradients that are averaged, where the victim is noisy")
    rho: OpenFraction = Field(0.75, description="share of improving steps below which the step is halved")


class ApgdT(Apgd):
    """APGD towards each of the likeliest wrong classes in turn, by the targeted dlr loss."""

    targets: PositiveInt = Field(9, description="how many wrong classes, at most those in play")
    first: PositiveInt = Field(1, description="the first of them: 1 is the likeliest wrong class")


class Fab(Frozen):
    """The nearest image beyond a linearised decision boundary; Croce, Hein, ICML 2020, arXiv 1907.02044."""

    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    alpha_max: Share = Field(0.1, description="largest pull towards the clean image")
    eta: Positive = Field(1.05, description="overshoot")
    beta: Share = Field(0.9, description="backward step once the image is misclassified")


class FabT(Fab):
    """FAB towards each of the likeliest wrong classes in turn: a cost that does not grow with the classes."""

    targets: PositiveInt = Field(9, description="how many wrong classes, at most those in play")
    first: PositiveInt = Field(1, description="the first of them: 1 is the likeliest wrong class")


class Square(Frozen):
    """Random search with squares, no gradient; Andriushchenko et al., ECCV 2020, arXiv 1912.00049."""

    queries: PositiveInt = 5000
    restarts: PositiveInt = 1
    p_init: Covered = Field(0.8, description="share of the pixels that the first squares cover")
    rescale_schedule: bool = Field(
        False,
        description="shrink the squares as if there were 10,000 queries in all; AutoAttack does not",
    )


class Cw(Frozen):
    """The nearest image whose margin is below 0, by Adam; Carlini, Wagner, S&P 2017, arXiv 1608.04644."""

    steps: PositiveInt = 100
    searches: PositiveInt = Field(5, description="values of the constant that weighs margin against distance")
    constant: Positive = Field(10.0, description="the first of them, in units of eps squared")
    lr: Positive = Field(0.1, description="length of the first step as a fraction of eps")


class DeepFool(Frozen):
    """Steps to the nearest linearised boundary; Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599."""

    steps: PositiveInt = 50
    overshoot: NonNegative = 0.02
    candidates: PositiveInt = Field(10, description="how many of the likeliest wrong classes are looked at")
