"""What hugbench adds to a strategy's loop: seeds, learning rate, clipping, metrics, audit, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate

from hugbench.criteria.hug import HUG
from hugbench.protocols.continual.audit import Account, Audit
from hugbench.protocols.continual.model import Source
from hugbench.seeding import generator, seed_everything
from hugbench.suite.schema import Recipe
from hugbench.training.metrics import EpochMetrics, Meter
from hugbench.training.schedule import learning_rate

if TYPE_CHECKING:
    from hugbench.models import Classifier
    from hugbench.protocols.continual.base import Strategy

LOOK_EVERY = 10
"""Steps between two looks at the losses; each look waits for the device."""


class Conductor(SupervisedPlugin):  # type: ignore[misc]
    """The first plugin of a strategy.

    Every epoch seeds all its generators from named axes, as `hugbench.training.loop` does, so that
    no generator's state outlives an epoch. What a strategy does after the last epoch of an
    experience (choosing what to remember, measuring importances) has seeds of its own as well.

    Args:
        classifier: the live one.
        source: its augmentation is seeded.
        audit: opened and closed with every epoch.
        recipe: epochs of each experience, schedule, clip_grad.
        seed: of the run.
        device: where the training is.
        finished: called with the metrics of every epoch.

    Attributes:
        experience: the current one, counted from 1.
        epoch: the next epoch of the experience, counted from 0.
    """

    def __init__(
        self,
        classifier: Classifier,
        source: Source,
        audit: Audit,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        finished: Callable[[EpochMetrics], None],
    ) -> None:
        super().__init__()
        self.classifier, self.source, self.audit, self.recipe = classifier, source, audit, recipe
        self.seed, self.device, self.finished = seed, device, finished
        self.experience, self.epoch = 0, 0
        self.strategy: Strategy | None = None

    def begin(self, strategy: Strategy, account: Account, counts: torch.Tensor) -> None:
        """Prepare an experience.

        Args:
            strategy: ours.
            account: of the experience.
            counts: images per class that the stream has brought so far, this experience's included.
        """
        self.strategy, self.account, self.counts = strategy, account, counts
        self.experience, self.epoch = account.experience, 0
        self._seed("start", 0)

    def before_training_exp(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Tell the criterion what classes there are."""
        criterion = self.classifier.criterion
        criterion.start_training(self.counts.to(self.device))
        if self.account.unseen_proxies == "take part" and isinstance(criterion, HUG):
            criterion.see(range(criterion.num_classes))
        self.audit.begin(self.account, strategy.model, strategy.optimizer)
        if self.epoch == self.recipe.epochs:
            self._seed("end", 0)

    def before_training_epoch(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Seed all that an epoch draws from."""
        assert self.strategy is not None
        self._seed("dropout", self.epoch)
        self.strategy.start_epoch(self._generator("replay order"))
        strategy.dataloader = self.strategy.batches(self._generator("data order"))
        self.classifier.criterion.start_epoch(self.epoch, self.recipe.epochs)
        self.steps = len(strategy.dataloader)
        self.step = self.epoch * self.steps
        self.meter = Meter(self.steps, self.device)
        self.meter.every = LOOK_EVERY
        self.meter.start((self.experience - 1) * self.recipe.epochs + self.epoch)
        self.audit.open()

    def before_training_iteration(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Set the learning rate, whose schedule begins anew with every experience."""
        self.rate = learning_rate(self.recipe, self.step, self.steps)
        for group in strategy.optimizer.param_groups:
            group["lr"] = self.rate

    def before_update(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Clip the gradient that the strategy has settled on."""
        if self.step == self.epoch * self.steps:
            self.audit.gradient()
        self.norm = None
        if self.recipe.clip_grad is not None:
            self.norm = torch.nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.clip_grad)

    def after_training_iteration(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Note loss and accuracy, of new and replayed images alike."""
        labels = strategy.mb_y
        correct = (strategy.mb_output.detach().argmax(1) == labels).sum()
        self.meter.add(strategy.loss.squeeze(), correct, len(labels), self.rate, self.norm)
        self.step += 1

    def after_training_epoch(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Report the epoch, and seed what may come after it."""
        self.audit.close()
        self.source.forget()
        self.epoch += 1
        self.finished(self.meter.finish())
        if self.epoch == self.recipe.epochs:
            self._seed("end", 0)

    def _seed(self, axis: str, epoch: int) -> None:
        seed_everything(self.seed, "experience", self.experience, axis, epoch)
        name = "augmentation" if axis == "dropout" else f"augmentation, {axis}"
        self.source.draw = generator(
            self.seed, "experience", self.experience, name, epoch, device=self.device
        )

    def _generator(self, axis: str) -> torch.Generator:
        return generator(self.seed, "experience", self.experience, axis, self.epoch)


class Resumption(SupervisedPlugin):  # type: ignore[misc]
    """The last plugin of a strategy: puts back, once an experience has begun, how far it was.

    Attributes:
        pending: what to do then, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: Callable[[], None] | None = None

    def before_training_exp(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Do what is pending."""
        if self.pending is not None:
            self.pending()
            self.pending = None
