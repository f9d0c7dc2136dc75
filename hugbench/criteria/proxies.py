"""One direction per class: learnt, fixed, or a fixed frame that is turned as a whole."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from hugbench.criteria.sphere import full_precision, normalise
from hugbench.criteria.uniformity import hyperspherical_energy

RELAXATION_STEPS = 100
RELAXATION_SAMPLE = 1024


def make_proxies(
    kind: Literal["learnable", "static", "orthogonal"],
    start: Literal["uniform", "random"],
    num_classes: int,
    width: int,
) -> nn.Module:
    """A module that returns the proxies, (num_classes, width), drawn from torch's global generator."""
    if start == "random":
        directions = torch.randn(num_classes, width) / math.sqrt(width)
    else:
        directions = uniform_frame(num_classes, width)
    kinds = {"learnable": LearnableProxies, "static": StaticProxies, "orthogonal": OrthogonalProxies}
    return kinds[kind](directions)


class LearnableProxies(nn.Module):
    """Free vectors, one per class."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(start)

    def forward(self) -> Tensor:
        """(num_classes, width), of any length."""
        return self.weight


class StaticProxies(nn.Module):
    """Fixed vectors, one per class."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self) -> Tensor:
        """(num_classes, width), as given."""
        return self.weight


class OrthogonalProxies(nn.Module):
    """A fixed frame, turned by a learnt rotation Q = (I + S)⁻¹(I − S), S = A − Aᵀ (Cayley)."""

    frame: Tensor

    def __init__(self, frame: Tensor) -> None:
        super().__init__()
        self.register_buffer("frame", frame)
        self.turn = nn.Parameter(torch.zeros(frame.shape[1], frame.shape[1]))

    def forward(self) -> Tensor:
        """(num_classes, width), of length 1."""
        with full_precision(self.turn):
            skew = self.turn - self.turn.T
            identity = torch.eye(len(skew), dtype=skew.dtype, device=skew.device)
            rotation: Tensor = torch.linalg.solve(identity + skew, identity - skew)
            return self.frame @ rotation


def uniform_frame(num_classes: int, width: int) -> Tensor:
    """Directions that are as uniform as can be, randomly turned (by torch's global generator).

    A regular simplex for C ≤ width + 1; above, random directions relaxed by descent on their
    energy (s = 2), a near-optimum.

    Returns:
        (num_classes, width), unit vectors.
    """
    if num_classes <= width + 1:
        basis: Tensor = torch.linalg.qr(torch.randn(width, num_classes - 1, dtype=torch.float64))[0]
        return (simplex(num_classes) @ basis.T).float()
    return _relaxed(normalise(torch.randn(num_classes, width)))


def simplex(num_classes: int) -> Tensor:
    """The vertices of a regular simplex, (C, C − 1) in float64: unit vectors, cosines −1/(C − 1).

    The rows of the Householder reflection that takes e₁ to 1/√C, without their first entry, span
    the complement of the all-ones vector; scaled to length 1 they are the vertices.
    """
    mirror = torch.full((num_classes,), num_classes**-0.5, dtype=torch.float64)
    mirror[0] -= 1
    reflection = torch.eye(num_classes, dtype=torch.float64)
    reflection -= 2 * torch.outer(mirror, mirror) / mirror.dot(mirror)
    return reflection[:, 1:] * math.sqrt(num_classes / (num_classes - 1))


@torch.enable_grad()
def _relaxed(points: Tensor) -> Tensor:
    """Steps against the energy's gradient whose longest move shrinks from the mean spacing to 0."""
    spacing = len(points) ** (-1 / max(1, points.shape[1] - 1))
    for step in range(RELAXATION_STEPS):
        points.requires_grad_()
        energy = hyperspherical_energy(points, sampled=min(len(points), RELAXATION_SAMPLE))
        (gradient,) = torch.autograd.grad(energy, points)
        longest = torch.linalg.vector_norm(gradient, dim=1).max().clamp_min(1e-30)
        reach = spacing * (1 - step / RELAXATION_STEPS)
        points = normalise(points.detach() - gradient * (reach / longest))
    return points
