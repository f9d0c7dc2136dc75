"""Gradient episodic memories: steps that do not undo what a memory says."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.training import supervised
from avalanche.training.plugins import AGEMPlugin, GEMPlugin
from avalanche.training.templates import SupervisedTemplate
from scipy.optimize import nnls
from torch import Tensor

from hugbench.protocols.continual.base import Strategy
from hugbench.types import NonNegative, PositiveInt


class AGEM(Strategy):
    """Averaged gradient episodic memory: no step against the gradient of images from a memory.

    Where the gradient of a batch points against that of a batch from memory, its part along that one
    is taken away. The memory holds as many images of each experience, the same for all.

    Args:
        memory: images in memory, divided evenly among all experiences of the stream.
        memory_batch: images from memory with every batch, as many of each earlier experience; null:
            as many as new ones.

    Source:
        Chaudhry, Ranzato, Rohrbach, Elhoseiny, Efficient Lifelong Learning with A-GEM, ICLR 2019,
        arXiv 1812.00420; Avalanche's AGEMPlugin.
    """

    views_gradients: ClassVar[bool] = True

    def __init__(self, *, memory: PositiveInt = 200, memory_batch: PositiveInt | None = None) -> None:
        self.size, self.batch = memory, memory_batch

    def build(self) -> SupervisedTemplate:
        share = self.size // len(self.parts.experiences)
        self.plugin = AGEMPlugin(share, self.memory_batch(self.batch))
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        return {"rows": [buffer.rows() for buffer in self.plugin.buffers]}

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.plugin.buffers = []
        for rows in state["rows"]:
            self.plugin.update_memory(self.parts.data.subset(rows))

    def start_epoch(self, draw: torch.Generator) -> None:
        if self.plugin.buffers:
            self.plugin.buffer_dataloader.loader_kwargs["generator"] = draw
            self.plugin.buffer_dliter = iter(self.plugin.buffer_dataloader)


class GEM(Strategy):
    """Gradient episodic memory: no step against the gradient of any earlier experience's images.

    The gradient of a batch is replaced by the nearest one that does not point against the gradients
    of the images in memory, one for each earlier experience, all of them at every step.

    Args:
        memory: images in memory, divided evenly among all experiences of the stream.
        strength: γ, the smallest weight that each of these gradients gets in the new one: a bias
            towards what improves earlier experiences.

    Source:
        Lopez-Paz, Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017,
        arXiv 1706.08840, equations 11 to 13; Avalanche's GEMPlugin. Its quadratic program is solved by
        non-negative least squares, without a further package.
    """

    def __init__(self, *, memory: PositiveInt = 200, strength: NonNegative = 0.5) -> None:
        self.size, self.strength = memory, strength

    def build(self) -> SupervisedTemplate:
        self.plugin = _GEM(self.size // len(self.parts.experiences), self.strength)
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        return {"rows": {number: rows.clone() for number, rows in self.plugin.memory_x.items()}}

    def restore(self, state: dict[str, Any], done: int) -> None:
        labels = torch.tensor(list(self.parts.data.targets))
        self.plugin.memory_x = dict(state["rows"])
        self.plugin.memory_y = {number: labels[rows] for number, rows in state["rows"].items()}
        self.plugin.memory_tid = {number: torch.zeros_like(rows) for number, rows in state["rows"].items()}


class _GEM(GEMPlugin):  # type: ignore[misc]
    """Avalanche's, with a solver."""

    def solve_quadprog(self, gradient: Tensor) -> Tensor:
        """The gradient, (P,), moved as little as the memory's gradients `self.G`, (K, P), ask for."""
        memories = self.G.cpu().double().numpy()
        products = memories @ memories.T + 1e-3 * np.eye(len(memories))
        weights = least_weights(products, memories @ gradient.cpu().double().numpy(), self.memory_strength)
        return gradient + torch.from_numpy(weights @ memories).to(gradient)


Vector = np.ndarray[Any, np.dtype[np.float64]]


def least_weights(products: Vector, against: Vector, least: float) -> Vector:
    """The v ≥ `least` that minimises ½ vᵀ P v + qᵀ v, (K,).

    With P = L Lᵀ and v = u + least it is the u ≥ 0 that minimises ‖Lᵀ u + L⁻¹ (q + least P 1)‖.

    Args:
        products: P, positive definite (K, K).
        against: q, (K,).
        least: at least 0.
    """
    factor = np.linalg.cholesky(products)
    shifted = against + products @ np.full(len(against), least)
    solution: Vector = nnls(factor.T, -np.linalg.solve(factor, shifted))[0] + least
    return solution
