"""From a model as a suite describes it to a live classifier."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hugbench.backbones import check_backbone
from hugbench.criteria.base import Criterion
from hugbench.errors import UserError
from hugbench.models.classifier import Classifier, evaluating
from hugbench.models.stem import shrink_stem
from hugbench.seeding import seed_everything
from hugbench.suite.schema import ModelSpec


def build(
    spec: ModelSpec,
    make_criterion: Callable[[int], Criterion],
    *,
    channels: int,
    image_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
) -> Classifier:
    """The classifier before training, on the CPU.

    The backbone and the embedding draw from one named seed and the criterion from another, so the
    former are the same whatever the criterion. The global generators are left as they were.

    Args:
        spec: the model of the suite.
        make_criterion: from the width of the features to the criterion.
        channels: of the images.
        image_size: (height, width) in pixels.
        mean: per channel in [0, 1]; not used where the spec does not normalise.
        std: per channel, positive; likewise.
        seed: of the run.

    Raises:
        UserError: timm has no such backbone, or it does not take the stem, the stochastic depth, the
            pretrained weights or the images asked for.
    """
    check_backbone(spec.backbone)
    with _drawing(seed, "initialisation", "backbone"):
        backbone = _create(spec, channels, image_size)
        if spec.stem == "cifar":
            shrink_stem(backbone, spec.backbone)
        width = _pooled_width(backbone, spec.backbone, (channels, *image_size))
        embedding = None if spec.embedding_dim is None else nn.Linear(width, spec.embedding_dim)
    with _drawing(seed, "initialisation", "criterion"):
        criterion = make_criterion(spec.embedding_dim or width)
    if not spec.normalise:
        mean, std = [0.0] * channels, [1.0] * channels
    return Classifier(backbone, criterion, mean=mean, std=std, embedding=embedding, drop_rate=spec.drop_rate)


def _create(spec: ModelSpec, channels: int, image_size: tuple[int, int]) -> nn.Module:
    """timm's model without its classifier; told the image size where it wants to know.

    timm's own dropout is off: the classifier has one, which is the same for every family.
    """
    import timm

    import hugbench.models.mlp  # noqa: F401  registers its backbones with timm

    options: dict[str, Any] = {"img_size": image_size}
    if spec.drop_path_rate is not None:
        options["drop_path_rate"] = spec.drop_path_rate
    while True:
        try:
            backbone: nn.Module = timm.create_model(
                spec.backbone,
                pretrained=spec.pretrained,
                num_classes=0,
                in_chans=channels,
                drop_rate=0.0,
                **options,
            )
            return backbone
        except Exception as error:
            refused = {option for option in options if _refuses(error, option)}
            if refused == {"img_size"}:
                del options["img_size"]
                continue
            if refused:
                raise UserError(
                    f"the backbone {spec.backbone} has no stochastic depth",
                    key="model.drop_path_rate",
                    found=spec.drop_path_rate,
                    expected="null",
                ) from error
            raise _failure(spec, channels, image_size, error) from error


def _refuses(error: Exception, option: str) -> bool:
    return isinstance(error, TypeError) and "unexpected keyword" in str(error) and f"'{option}'" in str(error)


def _failure(spec: ModelSpec, channels: int, image_size: tuple[int, int], error: Exception) -> UserError:
    told = f"({type(error).__name__}: {error})"
    if spec.pretrained:
        return UserError(
            f"the weights of {spec.backbone} cannot be loaded {told}",
            key="model.pretrained",
            found=True,
            expected="weights that timm offers, in its cache on disk or within reach of the network",
        )
    shape = _shape((channels, *image_size))
    return UserError(f"{spec.backbone} cannot be built for images of {shape} {told}", key="model.backbone")


def _pooled_width(backbone: nn.Module, name: str, shape: tuple[int, int, int]) -> int:
    """The width of the pooled features, found by trying two images."""
    try:
        with evaluating(backbone), torch.no_grad():
            pooled = backbone(torch.zeros(2, *shape))
    except Exception as error:
        raise UserError(
            f"{name} does not take images of {_shape(shape)} ({type(error).__name__}: {error})",
            key="model.backbone",
            expected="a backbone for images of this size, or a larger dataset.image_size",
        ) from error
    if not isinstance(pooled, Tensor) or pooled.ndim != 2:
        found = tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__
        raise UserError(
            f"{name} gives no pooled features",
            key="model.backbone",
            found=found,
            expected="one vector per image",
        )
    return pooled.shape[1]


def _shape(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width} pixels with {channels} channel{'s' if channels > 1 else ''}"


@contextmanager
def _drawing(seed: int, *axis: str) -> Iterator[None]:
    """All global generators seeded for a named axis, and put back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        seed_everything(seed, *axis)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
