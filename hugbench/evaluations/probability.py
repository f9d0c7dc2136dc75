"""How far a classifier's probabilities can be trusted. All computed in float64 on the CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_TEMPERATURE = 1e-3
LARGEST_TEMPERATURE = 1e3


def expected_calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The expected calibration error, Σ_m |B_m|/N · |accuracy(B_m) − confidence(B_m)|.

    The confidence of an image is its largest probability; bin B_m holds the confidences in
    ((m − 1)/bins, m/bins].

    Args:
        probabilities: (N, C), rows that sum to 1.
        targets: int64 (N,).
        bins: number of bins of equal width.

    Returns:
        In [0, 1].

    Source:
        Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
        arXiv 1706.04599, equations 2 to 5.
    """
    confidences, predictions = probabilities.cpu().double().max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    which = torch.bucketize(confidences, edges[1:-1])
    excess = (predictions == targets.cpu()).double() - confidences
    sums = torch.zeros_like(edges[1:]).index_add_(0, which, excess)
    return float(sums.abs().sum() / len(targets))


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """−log softmax(logits)_target of every image, in nats.

    Args:
        logits: (N, C).
        targets: int64 (N,).

    Returns:
        float64 (N,), at least 0.
    """
    return torch.nn.functional.cross_entropy(logits.cpu().double(), targets.cpu(), reduction="none")


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature T at which softmax(logits / T) is most likely, with one image's worth of doubt.

    Logits that put every held-out target first have no likeliest temperature: the colder, the
    better, without end, and the first error among the test images then costs without bound. So, as
    Platt does for two classes, every target keeps 1 − ε and the classes share ε = 1/(N + 1): the
    weight of a single further image that could be anything. The doubt fades as N grows.

    In β = 1/T the mean cross-entropy is convex, so its slope has one zero, which Brent's method
    finds. Where the slope has none inside [0.001, 1000] the nearer end is returned: the upper one
    for logits no better than none.

    Args:
        logits: (N, C), finite.
        targets: int64 (N,).

    Returns:
        T in [0.001, 1000].

    Raises:
        ValueError: no images, or a logit that is not finite.

    Source:
        Guo et al., ICML 2017, arXiv 1706.04599, section 4.2 (temperature scaling); Platt,
        Probabilistic Outputs for Support Vector Machines, 1999, section 2.2 (softened targets).
    """
    from scipy.optimize import brentq

    if not len(logits):
        raise ValueError("logits: expected those of at least one image, found none")
    if not torch.isfinite(logits).all():
        raise ValueError("logits: expected finite ones, found NaN or infinity")
    wide = logits.cpu().double()
    margins = wide - wide.gather(1, targets.cpu().unsqueeze(1))
    doubt = float(margins.mean()) / (len(margins) + 1)

    def slope(log_beta: float) -> float:
        weights = torch.softmax(math.exp(log_beta) * margins, dim=1)
        return float((weights * margins).sum(dim=1).mean()) - doubt

    lowest, highest = -math.log(LARGEST_TEMPERATURE), -math.log(SMALLEST_TEMPERATURE)
    if slope(highest) <= 0:
        return SMALLEST_TEMPERATURE
    if slope(lowest) >= 0:
        return LARGEST_TEMPERATURE
    return math.exp(-brentq(slope, lowest, highest, xtol=1e-12))
