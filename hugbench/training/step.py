"""The loss of a batch, by one process or by several that share its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hugbench.criteria.sphere import widen
from hugbench.models.classifier import evaluating
from hugbench.seeding import seed_torch
from hugbench.training.ranks import Ranks, gather

if TYPE_CHECKING:
    from hugbench.models import Classifier


def judged(classifier: Classifier, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and how many images have their largest logit at the largest target."""
    loss = classifier.loss_of(features, targets)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        predicted = classifier.criterion.logits(widen(features.detach())).argmax(1)
        labels = targets.argmax(1) if targets.is_floating_point() else targets
        return loss, (predicted == labels).sum()


Loss = Callable[["Classifier", Tensor, Tensor], tuple[Tensor, Tensor]]


class Step:
    """The loss of a batch that this process has all of.

    Args:
        classifier: on its device.
        loss: from the classifier, images and targets to what `judged` gives.
    """

    def __init__(self, classifier: Classifier, loss: Loss) -> None:
        self._classifier, self._loss = classifier, loss

    def seed(self, seed: int, *axis: str | int) -> None:
        """Nothing draws here but from the global generators, which are seeded already."""

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and number of right ones; images (B, C, H, W) in [0, 1]."""
        return self._loss(self._classifier, inputs, targets)


class SharedStep(Step):
    """The loss of a batch whose images are spread over the ranks, and a gradient that all have in common.

    Every rank computes the features of its own images, and the criterion of the features of all: terms
    over the batch (HUG's intra, contrasts, class means) see the batch of the recipe, and terms over the
    proxies count once. What the network draws (dropout, stochastic depth) differs from rank to rank; what
    the criterion draws does not, and is what it would draw in one process whose network draws nothing.

    Args:
        classifier: on the device; its batch norms go over the ranks.
        ranks: with their group and device.
        compiled: whether torch.compile makes both halves.
    """

    def __init__(self, classifier: Classifier, ranks: Ranks, compiled: bool) -> None:
        self._half = _Half(classifier, ranks, compiled)
        self._all: nn.parallel.DistributedDataParallel | None = None

    def seed(self, seed: int, *axis: str | int) -> None:
        """Seed what this rank's network draws."""
        self._half.own.seed(seed, *axis, "rank", self._half.ranks.rank)

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and number of right ones of the batch; the images are this rank's, the targets all."""
        if self._all is None:
            self._all = nn.parallel.DistributedDataParallel(
                self._half,
                process_group=self._half.ranks.group,
                find_unused_parameters=self._half.leaves_out(inputs, targets),
            )
        loss, correct = self._all(inputs, targets)
        return loss, correct


class _Half(nn.Module):
    """What a rank does of a step, as the module that DistributedDataParallel wants."""

    def __init__(self, classifier: Classifier, ranks: Ranks, compiled: bool) -> None:
        super().__init__()
        assert ranks.device is not None
        self.classifier, self.ranks, self.own = classifier, ranks, OwnDraws(ranks.device)
        self._features = torch.compile(classifier.features) if compiled else classifier.features
        self._judged = torch.compile(judged) if compiled else judged

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with self.own.drawing():
            features = self._features(inputs)
        return self._judged(self.classifier, gather(widen(features), len(targets), self.ranks), targets)

    def leaves_out(self, inputs: Tensor, targets: Tensor) -> bool:
        """Whether the loss does without some of the parameters, which then have no gradient; tried out."""
        parameters = [value for value in self.classifier.parameters() if value.requires_grad]
        own = targets[self.ranks.part(len(targets))]
        with OwnDraws(self.own.device).drawing(), evaluating(self.classifier), torch.enable_grad():
            loss = self.classifier.loss_of(self.classifier.features(inputs), own)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return any(gradient is None for gradient in gradients)


class OwnDraws:
    """Torch's global generators, in a state of their own beside the one that all ranks have.

    Args:
        device: whose generator it is, beside that of the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._own = self._now()

    def seed(self, seed: int, *axis: str | int) -> None:
        """Begin anew, for a named axis."""
        with self.drawing():
            seed_torch(seed, *axis)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """The generators as they were left inside; afterwards again as they were outside."""
        common = self._now()
        self._set(self._own)
        try:
            yield
        finally:
            self._own = self._now()
            self._set(common)

    def _now(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type != "cpu":
            states.append(torch.get_device_module(self.device).get_rng_state(self.device))
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(states[1], self.device)
