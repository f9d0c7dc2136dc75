"""Batch normalisation over the images of all ranks, for the length of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d, FrozenBatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hugbench.criteria.sphere import widen
from hugbench.errors import UserError
from hugbench.training.ranks import Ranks

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)


@contextmanager
def synchronised(module: nn.Module, spare: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Inside, the batch norms of `module` in training mode take their statistics over all ranks.

    The modules stay what they are, with their weights, buffers and names; only what their `forward` does
    changes. Torch's own synchronised one is for accelerators only; on a CPU there is one of ours.

    Args:
        module: a classifier, on its device.
        spare: a part of it that is left alone: the criterion, which sees all images on every rank.
        ranks: with their group.

    Raises:
        UserError: the backbone has another kind of normalisation over the batch.
    """
    if ranks.alone:
        yield
        return
    left = set(spare.modules())
    norms = [part for part in module.modules() if part not in left and _normalises(part)]
    try:
        for norm in norms:
            norm.forward = _over_ranks(norm, ranks)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


def _normalises(part: nn.Module) -> bool:
    """Whether a module normalises over the batch."""
    if type(part) in KNOWN:
        return True
    tracked = isinstance(getattr(part, "running_var", None), Tensor)
    if isinstance(part, _BatchNorm) or (tracked and not isinstance(part, FrozenBatchNormAct2d)):
        raise UserError(
            "the backbone has a normalisation over the batch that is not known to go over several processes",
            key="model.backbone",
            found=type(part).__name__,
            expected="one with torch's batch norm, or without any; or one process",
        )
    return False


def _over_ranks(norm: nn.Module, ranks: Ranks) -> Callable[[Tensor], Tensor]:
    """The `forward` of a batch norm that goes over the ranks while it trains."""
    assert isinstance(norm, _BatchNorm)
    assert ranks.device is not None
    alone = norm.forward
    if ranks.device.type == "cpu":

        def train(images: Tensor) -> Tensor:
            return _after(norm, _normalised(norm, images, ranks))
    else:
        converted: nn.Module = convert_sync_batchnorm(norm, ranks.group)  # type: ignore[no-untyped-call]
        train = converted.train().forward  # shares weights and buffers

    return lambda images: train(images) if norm.training else alone(images)


def _after(norm: nn.Module, normalised: Tensor) -> Tensor:
    """What timm's batch norm does after it has normalised."""
    if isinstance(norm, BatchNormAct2d):
        normalised = norm.act(norm.drop(normalised))
    return normalised


def _normalised(norm: _BatchNorm, images: Tensor, ranks: Ranks) -> Tensor:
    """Images (B, C, ...) by the mean and deviation of each channel over the images of all ranks."""
    x = widen(images)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    sums = _Sum.apply(torch.cat([x.sum(axes), x.new_tensor([x.numel() / x.shape[1]])]), ranks.group)
    count, mean = sums[-1].detach(), sums[:-1] / sums[-1]
    centred = x - mean.view(shape)
    var = _Sum.apply(centred.square().sum(axes), ranks.group) / count
    if norm.track_running_stats:
        _follow(norm, mean.detach(), var.detach() * (count / (count - 1)))
    found = centred * (var + norm.eps).rsqrt().view(shape)
    if norm.affine:
        found = found * norm.weight.view(shape) + norm.bias.view(shape)
    normalised: Tensor = found.to(images.dtype)
    return normalised


def _follow(norm: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics: mean and unbiased variance, each (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.lerp_(var.to(norm.running_var), share)


class _Sum(torch.autograd.Function):
    """The sum over the ranks; so is its gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, own: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group  # type: ignore[attr-defined]
        total = own.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)  # type: ignore[attr-defined]
        return total, None
