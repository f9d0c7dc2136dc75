"""How the features of a split lie by class: the measures of neural collapse and of its generalisation.

All in float64 on the CPU, over features that stay float32 and are widened a block at a time. Every
class with images weighs the same, however many it has; classes without images take no part. K is
the number of classes with images, μ_c the mean of class c, μ the mean of the μ_c.

Means that differ by less than float32 resolves, 1.2e-7 of their size, count as coincident. Measures
that then have no value are infinite or NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hugbench.criteria.sphere import TINY_NORM, normalise
from hugbench.criteria.uniformity import hyperspherical_energy

BLOCK_NUMBERS = 1 << 22
RESOLUTION = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Features:
    """Features of N images and their labels, read in blocks.

    Attributes:
        values: (N, d), float32, on the CPU.
        targets: labels in [0, num_classes), int64 (N,), on the CPU.
        num_classes: C.
        on_sphere: read them scaled to length 1; those without a direction are read as zero vectors.
    """

    values: Tensor
    targets: Tensor
    num_classes: int
    on_sphere: bool = False

    def blocks(self, width: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, d) in float64 and labels (B,), in order; B is small enough for B · width numbers."""
        rows = max(1, BLOCK_NUMBERS // max(width, self.values.shape[1]))
        for values, targets in zip(
            torch.split(self.values, rows), torch.split(self.targets, rows), strict=True
        ):
            wide = values.double()
            yield (normalise(wide) if self.on_sphere else wide), targets

    @cached_property
    def counts(self) -> Tensor:
        """Number of images of each class, float64 (C,)."""
        return torch.bincount(self.targets, minlength=self.num_classes).double()

    @cached_property
    def present(self) -> Tensor:
        """The classes that have images, int64 (K,), ascending."""
        return self.counts.nonzero().flatten()

    @cached_property
    def means(self) -> Tensor:
        """The mean of each class, float64 (C, d); zero for a class without images."""
        sums = torch.zeros(self.num_classes, self.values.shape[1], dtype=torch.float64)
        for rows, labels in self.blocks():
            sums.index_add_(0, labels, rows)
        return sums / self.counts.clamp_min(1).unsqueeze(1)

    @cached_property
    def centred_means(self) -> Tensor:
        """μ_c − μ of the classes that have images, float64 (K, d); exactly zero where all coincide."""
        means = self.means[self.present]
        centred = means - means.mean(dim=0)
        coincide = float(centred.norm()) <= RESOLUTION * float(means.norm())
        return torch.zeros_like(centred) if coincide else centred

    def mean_over_classes(self, values: Tensor) -> float:
        """The mean over the classes of the class's mean of a number per image, float64 (N,)."""
        return float(self.mean_by_class(values)[self.present].mean())

    def mean_by_class(self, values: Tensor) -> Tensor:
        """The mean of a number per image, float64 (N,), in each class, (C,)."""
        sums = torch.zeros(self.num_classes, dtype=torch.float64).index_add_(0, self.targets, values)
        return sums / self.counts.clamp_min(1)


def within_class_variability(features: Features) -> float:
    """NC1: tr(Σ_W Σ_B⁺)/K, the spread within classes in units of the spread between them.

    Σ_W the mean over the classes of their covariances, Σ_B the covariance of the class means. Both
    are only looked at along the axes of the centred means, so no d × d matrix is made. The pseudo-
    inverse leaves out the axes along which float32 resolves no difference of the means; K − 1 are
    left at most.

    Returns:
        At least 0; infinite where all means coincide, NaN where no class has any spread either.

    Source:
        Papyan, Han, Donoho, Prevalence of Neural Collapse during the Terminal Phase of Deep
        Learning Training, PNAS 2020, arXiv 2008.08186, section "Neural collapse" (NC1) and figure 6.
    """
    means = features.centred_means
    _, lengths, axes = torch.linalg.svd(means, full_matrices=False)
    kept = lengths > RESOLUTION * float(features.means.norm())
    if not kept.any():
        spread = features.mean_over_classes(_from_means(features))
        return math.inf if spread > 0 else math.nan
    return features.mean_over_classes(_from_means(features, axes[kept].T / lengths[kept]))


def class_distance_normalised_variance(features: Features) -> float:
    """Mean over the pairs of classes of (v_c + v_c') / (2 ‖μ_c − μ_c'‖²), v_c = mean_i ‖x_i − μ_c‖².

    Returns:
        At least 0; infinite where two means coincide; NaN for fewer than two classes.

    Source:
        Galanti, György, Hutter, On the Role of Neural Collapse in Transfer Learning, ICLR 2022,
        arXiv 2112.15121, section 2.
    """
    means = features.means[features.present]
    count = len(means)
    if count < 2:
        return math.nan
    variances = features.mean_by_class(_from_means(features))[features.present]
    smallest = RESOLUTION * float(torch.linalg.vector_norm(means, dim=1).max())
    total = 0.0
    for c in range(count - 1):
        distances = torch.linalg.vector_norm(means[c + 1 :] - means[c], dim=1)
        if float(distances.min()) <= smallest:
            return math.inf
        total += float(((variances[c] + variances[c + 1 :]) / (2 * distances.square())).sum())
    return total / (count * (count - 1) / 2)


def simplex_etf_error(vectors: Tensor) -> float:
    """NC2: ‖V Vᵀ/‖V Vᵀ‖_F − (I − 11ᵀ/K)/√(K − 1)‖_F, how far K vectors are from a simplex ETF.

    Args:
        vectors: (K, d), float64: centred class means, or proxies (as in the source).

    Returns:
        In [0, √2]; NaN where all vectors are zero or K < 2.

    Source:
        Zhu, Ding, Zhou, Li, You, Sulam, Qu, A Geometric Analysis of Neural Collapse with
        Unconstrained Features, NeurIPS 2021, arXiv 2105.02375, section 5 (NC2).
    """
    count = len(vectors)
    if count < 2 or not vectors.any():
        return math.nan
    scaled = vectors / vectors.abs().max()
    gram = scaled @ scaled.T
    gram /= gram.norm()
    gram += 1 / (count * math.sqrt(count - 1))
    gram.diagonal().sub_(1 / math.sqrt(count - 1))
    return float(gram.norm())


def equinorm_variation(vectors: Tensor) -> float:
    """NC2: standard deviation over mean of the lengths of K vectors, (K, d); NaN where all are zero.

    Source:
        Papyan et al. 2020, figure 2.
    """
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    return float(lengths.std(correction=0) / lengths.mean())


def equiangularity_error(vectors: Tensor) -> float:
    """NC2: mean over the pairs of |cos(v_c, v_c') + 1/(K − 1)|; NaN for K < 2 or only zero vectors.

    Source:
        Papyan et al. 2020, figure 4.
    """
    count = len(vectors)
    if count < 2 or not vectors.any():
        return math.nan
    units = normalise(vectors)
    excess = (units @ units.T).add_(1 / (count - 1)).abs_()
    excess.diagonal().zero_()
    return float(excess.sum() / (count * (count - 1)))


def self_duality_error(means: Tensor, proxies: Tensor) -> float:
    """NC3: ‖M/‖M‖_F − W/‖W‖_F‖_F, how far K centred class means are from K proxies, up to a scale.

    Args:
        means, proxies: (K, d), float64.

    Returns:
        In [0, 2]; NaN where all means or all proxies are zero.

    Source:
        Papyan et al. 2020, figure 5.
    """
    return float((means / means.norm() - proxies / proxies.norm()).norm())


def nearest_centres(features: Features, means: Tensor, among: Tensor) -> Tensor:
    """NC4: the class whose mean is nearest to each feature, int64 (N,).

    Args:
        features: of any split.
        means: (C, d), float64, of the training features.
        among: int64, the classes in the running, at least one.
    """
    chosen = means[among]
    middle = chosen.mean(dim=0)
    chosen = chosen - middle
    offsets = chosen.square().sum(dim=1)
    blocks = features.blocks(len(chosen))
    parts = [(offsets - 2 * (rows - middle) @ chosen.T).argmin(dim=1) for rows, _ in blocks]
    return among[torch.cat(parts)]


def energy(directions: Tensor) -> tuple[float, int]:
    """Hyperspherical energy (s = 2, chord, mean over the pairs), and of how many vectors it is.

    Vectors (K, d) without a direction are left out; NaN for fewer than two others.
    """
    kept = directions[torch.linalg.vector_norm(directions, dim=1) > TINY_NORM].double()
    return (float(hyperspherical_energy(kept)) if len(kept) > 1 else math.nan), len(kept)


def chords(features: Features, directions: Tensor) -> Tensor:
    """‖x̂_i − v̂_{y_i}‖, the chord from each feature to the direction of its class, float64 (N,).

    A feature or a direction of length zero is perpendicular to everything: a chord of √2.

    Args:
        features: with `on_sphere`.
        directions: (C, d), of any length.
    """
    units = normalise(directions.double())
    parts = []
    for rows, labels in features.blocks():
        distance = torch.linalg.vector_norm(rows - units[labels], dim=1)
        undirected = ~(rows.any(dim=1) & units[labels].any(dim=1))
        parts.append(distance.masked_fill_(undirected, math.sqrt(2)))
    return torch.cat(parts)


def _from_means(features: Features, axes: Tensor | None = None) -> Tensor:
    """Squared length of (x_i − μ_{y_i}) A, float64 (N,), for A (d, r); None for the identity."""
    parts = []
    for rows, labels in features.blocks():
        rows = rows - features.means[labels]
        parts.append((rows if axes is None else rows @ axes).square().sum(dim=1))
    return torch.cat(parts)
