"""Slow, obvious arithmetic on python floats, against which the criteria are checked."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hugbench.criteria.base import Criterion

WIDTH, CLASSES, BATCH = 6, 5, 12
COUNTS = [500, 120, 30, 7, 1]


def batch(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Features (12, 6) in float64, labels with every class present, and soft targets."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 0, 0])
    soft = torch.rand(BATCH, CLASSES, generator=generator, dtype=torch.float64)
    soft[0] = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    soft = soft / soft.sum(1, keepdim=True)
    return features.to(device), labels.to(device), soft.to(device)


def rows(tensor: Tensor) -> list[list[float]]:
    return tensor.detach().cpu().double().tolist()


def one_hot_rows(targets: Tensor) -> list[list[float]]:
    """Targets as rows of weights: labels become one-hot."""
    if targets.is_floating_point():
        return rows(targets)
    return [[1.0 if c == label else 0.0 for c in range(CLASSES)] for label in targets.tolist()]


def dot(u: list[float], v: list[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True))


def cosine(u: list[float], v: list[float]) -> float:
    return dot(u, v) / math.sqrt(dot(u, u)) / math.sqrt(dot(v, v))


def linear(criterion: Criterion, features: Tensor) -> list[list[float]]:
    """W x + b of a criterion with `weight` and `bias`."""
    weight, bias = rows(criterion.weight), criterion.bias.tolist()
    return [[dot(w, x) + b for w, b in zip(weight, bias, strict=True)] for x in rows(features)]


def probabilities(logits: list[float]) -> list[float]:
    exponentials = [math.exp(z) for z in logits]
    return [e / sum(exponentials) for e in exponentials]


def softmax_loss(logits: list[float], target: list[float]) -> float:
    """−Σ_c t_c log softmax(z)_c."""
    return -sum(t * math.log(p) for t, p in zip(target, probabilities(logits), strict=True))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def close(found: Tensor, expected: float) -> None:
    """Equal to 1e-9 relative, in float64."""
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
