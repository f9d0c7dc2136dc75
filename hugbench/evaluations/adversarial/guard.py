"""The guard around torchattacks: nothing else imports it, and nothing it does is seen afterwards.

Its attacks are entered behind their own front door (`__call__`, `perturb`), which switches modes, reseeds
the global generators, keeps flags and throws away what it does not count as a success. What is used are
the single runs of APGD, FAB and Square, whose steps are those of the authors' code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import torch
import torchattacks
from torch import Tensor, nn

from hugbench.evaluations.adversarial.catalogue import Norm
from hugbench.evaluations.adversarial.losses import Loss, dlr, targeted_dlr
from hugbench.evaluations.adversarial.state import rng_state, set_rng_state
from hugbench.models import evaluating
from hugbench.seeding import seed_everything

Run = Callable[[Tensor, Tensor], Tensor]
"""One try at images (B, C, H, W) with targets (B,), all classified correctly: images of the same shape."""


@contextmanager
def undisturbed(victim: nn.Module, seed: int) -> Iterator[None]:
    """Gradients for images alone, evaluation mode, seeded generators, cuDNN's deterministic kernels.

    Afterwards all is as it was, also if something raises: the mode of every part, `requires_grad` and
    `.grad` of every parameter, the generators of Python, NumPy and torch (of every device), cuDNN's
    flags and the gradient mode.

    Args:
        victim: what is attacked.
        seed: of whatever the attack draws.
    """
    parameters = [(p, p.requires_grad, p.grad) for p in victim.parameters()]
    python, arrays = random.getstate(), numpy.random.get_state()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    elsewhere = [(device, rng_state(device)) for device in _accelerators()]
    with torch.random.fork_rng(devices=[]), evaluating(victim):
        try:
            seed_everything(seed, "attack")
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
            for parameter, _, _ in parameters:
                parameter.requires_grad_(False)
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for parameter, trained, gradient in parameters:
                parameter.requires_grad_(trained)
                parameter.grad = gradient
            for device, state in elsewhere:
                set_rng_state(device, state)
            random.setstate(python)
            numpy.random.set_state(arrays)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


def _accelerators() -> list[torch.device]:
    """All that are there: of CUDA each, or Apple's."""
    if not torch.accelerator.is_available():
        return []
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    return [torch.device(kind.type, number) for number in range(torch.accelerator.device_count())]


class Served(nn.Module):
    """A victim as attacks want it: contiguous images in, contiguous gradients out, always some gradient.

    A victim whose logits do not depend on its images differentiably (it rounds them to integers, say)
    gives gradients of 0, instead of an error in the middle of an attack.
    """

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        served: Tensor = _Contiguous.apply(images.contiguous())
        logits: Tensor = self.victim(served)
        if served.requires_grad and not logits.requires_grad:
            return logits + 0 * served.flatten(1).sum(dim=1, keepdim=True)
        return logits


class _Contiguous(torch.autograd.Function):
    """The identity, whose gradient is contiguous (a channels_last model's is not)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


class _APGD(torchattacks.APGD):  # type: ignore[misc]
    """APGD on any loss. (torchattacks' targeted one takes the first image's step size for all in L2.)"""

    def __init__(
        self, victim: Served, norm: Norm, eps: float, given: Mapping[str, Any], loss: Loss | None
    ) -> None:
        super().__init__(
            victim,
            norm=norm,
            eps=eps,
            steps=given["steps"],
            eot_iter=given["eot"],
            rho=given["rho"],
            loss="ce" if loss is None else "dlr",
        )
        self.any_loss = loss

    def dlr_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What it maximises instead of dlr."""
        assert self.any_loss is not None
        return self.any_loss(logits, targets)

    def once(self, images: Tensor, targets: Tensor) -> Tensor:
        """The misclassified images on the way, and where there are none, those of largest loss."""
        self.set_device(images.device)
        largest: Tensor
        largest, right, _, misclassified = self.attack_single_run(images, targets)
        return torch.where(right.bool().view(-1, 1, 1, 1), largest, misclassified)


def apgd(victim: Served, norm: Norm, eps: float, given: Mapping[str, Any], loss: str) -> list[Run]:
    """APGD-CE or APGD-DLR, a run for every restart."""
    attack = _APGD(victim, norm, eps, given, None if loss == "ce" else dlr)
    return [attack.once] * given["restarts"]


def apgd_t(victim: Served, norm: Norm, eps: float, given: Mapping[str, Any], classes: int) -> list[Run]:
    """Targeted APGD, a run for every aim and restart."""

    def towards(rank: int) -> Run:
        def run(images: Tensor, targets: Tensor) -> Tensor:
            aims = likeliest_wrong(victim, images, targets, rank)
            tried: Tensor = _APGD(victim, norm, eps, given, targeted_dlr(aims)).once(images, targets)
            return tried

        return run

    return [towards(rank) for rank in ranks(given, classes) for _ in range(given["restarts"])]


def ranks(given: Mapping[str, Any], classes: int) -> range:
    """Which of the wrong classes are aimed at: 1 is the likeliest."""
    return range(given["first"], min(given["first"] + given["targets"], classes))


def likeliest_wrong(victim: nn.Module, images: Tensor, targets: Tensor, rank: int) -> Tensor:
    """The class of each image with the rank-th largest logit but for the target's, int64 (B,)."""
    with torch.no_grad():
        others: Tensor = victim(images).scatter(1, targets.unsqueeze(1), -torch.inf)
    return others.argsort(dim=1, descending=True)[:, rank - 1]


def fab(victim: Served, norm: Norm, eps: float, given: Mapping[str, Any]) -> list[Run]:
    """FAB over all classes, a run for every restart; its images may lie beyond the ball."""
    return [_fab(victim, norm, eps, given, None, restart > 0) for restart in range(given["restarts"])]


def fab_t(victim: Served, norm: Norm, eps: float, given: Mapping[str, Any], classes: int) -> list[Run]:
    """Targeted FAB, a run for every aim and restart; its images may lie beyond the ball."""
    return [
        _fab(victim, norm, eps, given, rank, restart > 0)
        for rank in ranks(given, classes)
        for restart in range(given["restarts"])
    ]


def _fab(
    victim: Served, norm: Norm, eps: float, given: Mapping[str, Any], rank: int | None, at_random: bool
) -> Run:
    attack = torchattacks.FAB(
        victim,
        norm=norm,
        eps=eps,
        steps=given["steps"],
        alpha_max=given["alpha_max"],
        eta=given["eta"],
        beta=given["beta"],
        multi_targeted=True,
    )

    def run(images: Tensor, targets: Tensor) -> Tensor:
        attack.set_device(images.device)
        attack.target_class = (rank or 0) + 1  # it counts the target itself, which is the likeliest here
        single = attack.attack_single_run if rank is None else attack.attack_single_run_targeted
        with torch.no_grad():
            tried: Tensor = single(images, targets, use_rand_start=at_random)
        return tried

    return run


def square(victim: Served, norm: Norm, eps: float, given: Mapping[str, Any]) -> list[Run]:
    """Square, a run for every restart."""
    attack = torchattacks.Square(
        victim,
        norm=norm,
        eps=eps,
        n_queries=given["queries"],
        p_init=given["p_init"],
        resc_schedule=given["rescale_schedule"],
    )

    def run(images: Tensor, targets: Tensor) -> Tensor:
        attack.set_device(images.device)
        attack.init_hyperparam(images)
        tried: Tensor = attack.attack_single_run(images, targets)[1]
        return tried

    return [run] * given["restarts"]
