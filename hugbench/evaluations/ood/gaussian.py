"""Class-conditional Gaussians with one covariance, and the distance to the nearest of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 8192
"""How many features at a time."""


@dataclass(frozen=True)
class Gaussians:
    """K Gaussians N(μ_c, Σ), ready to be asked for distances.

    Attributes:
        centre: the mean of the μ_c, (d,).
        whitening: A with A Aᵀ = Σ⁻¹, (d, d).
        means: (μ_c − centre) A, (K, d).
        shrinkage: λ of the covariance, in [0, 1].
    """

    centre: Tensor
    whitening: Tensor
    means: Tensor
    shrinkage: float

    def scores(self, features: Tensor) -> Tensor:
        """−min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c) of features (B, d), float32 (B,), at most 0."""
        white = (features.float() - self.centre) @ self.whitening
        # by differences: the form by products loses small distances between means that are far apart
        chords = torch.cdist(white, self.means, compute_mode="donot_use_mm_for_euclid_dist")
        return -chords.amin(dim=1).square()


def fit_gaussians(features: Tensor, places: Tensor, classes: int) -> Gaussians | None:
    """Means of the classes, and one covariance of what is left around them.

    Σ = (1 − λ) S + λ tr(S)/d I, with S = 1/N Σ_i (x_i − μ_{y_i})(x_i − μ_{y_i})ᵀ and λ as Ledoit and Wolf
    estimate it: the error of S over its distance from the second term, at most 1. Features that collapse
    leave S singular; Σ is not.

    Args:
        features: float32 (N, d), finite, on any device, where the result is, too.
        places: class of each, int64 (N,), on the CPU.
        classes: how many classes; those without a feature are left out.

    Returns:
        None where all features of every class are the same, which leaves no covariance.

    Source:
        Lee, Lee, Lee, Shin, A Simple Unified Framework for Detecting Out-of-Distribution Samples and
        Adversarial Attacks, NeurIPS 2018, arXiv 1807.03888, section 2.1 (the score, without input
        preprocessing, of one layer); Ledoit, Wolf, A Well-Conditioned Estimator for Large-Dimensional
        Covariance Matrices, Journal of Multivariate Analysis 88, 2004, lemma 3.2 and 3.4 (λ).
    """
    sums = class_sums(features, places, classes)
    counts = torch.bincount(places, minlength=classes)
    means = sums / counts.clamp(min=1).unsqueeze(1)
    width = features.shape[1]
    scatter, fourth = torch.zeros(width, width, dtype=torch.float64), 0.0
    for rows in torch.split(torch.arange(len(features)), BLOCK):
        rest = features[rows.to(features.device)].cpu().double() - means[places[rows]]
        scatter += rest.T @ rest
        fourth += float(rest.square().sum(dim=1).square().sum())
    covariance = scatter / len(features)
    level = float(covariance.trace()) / width
    if level <= torch.finfo(torch.float32).eps ** 2 * float(means.square().mean()):
        return None
    shrinkage = _shrinkage(covariance, level, fourth, len(features))
    covariance = (1 - shrinkage) * covariance + shrinkage * level * torch.eye(width, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    whitening = vectors * values.clamp(min=torch.finfo(torch.float32).eps * float(values[-1])).rsqrt()
    known = means[counts > 0]
    centre = known.mean(dim=0)
    found = (centre, whitening, (known - centre) @ whitening)
    centre, whitening, means = (tensor.float().to(features.device) for tensor in found)
    return Gaussians(centre, whitening, means, shrinkage)


def class_sums(vectors: Tensor, places: Tensor, classes: int) -> Tensor:
    """The sum of the vectors (N, d) of each class, float64 (classes, d), on the CPU."""
    sums = torch.zeros(classes, vectors.shape[1], dtype=torch.float64)
    for rows in torch.split(torch.arange(len(vectors)), BLOCK):
        sums.index_add_(0, places[rows], vectors[rows.to(vectors.device)].cpu().double())
    return sums


def _shrinkage(covariance: Tensor, level: float, fourth: float, count: int) -> float:
    """λ: 1/N² Σ_i ‖r_i r_iᵀ − S‖² over ‖S − level I‖² (Frobenius), at most 1; r_i are the residuals."""
    squared = float(covariance.square().sum())
    apart = squared - len(covariance) * level**2
    error = (fourth / count - squared) / count
    return min(1.0, error / apart) if apart > 0 else 1.0
