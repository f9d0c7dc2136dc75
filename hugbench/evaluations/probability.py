"""How far a classifier's probabilities can be trusted. All computed in float64 on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_TEMPERATURE = 1e-3
LARGEST_TEMPERATURE = 1e3


@dataclass(frozen=True)
class Bins:
    """N images sorted into M bins by their confidence, the largest probability: a reliability diagram.

    Attributes:
        counts: images in each bin, int64 (M,).
        confidences: mean confidence in each bin, float64 (M,); 0 where it is empty.
        accuracies: fraction of hits in each bin, float64 (M,); 0 where it is empty.
    """

    counts: Tensor
    confidences: Tensor
    accuracies: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error, Σ_m |B_m|/N · |accuracy(B_m) − confidence(B_m)|, in [0, 1].

        Source:
            Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
            arXiv 1706.04599, equations 2 to 5.
        """
        gaps = self.counts * (self.accuracies - self.confidences).abs()
        return float(gaps.sum() / self.counts.sum())

    def to_json(self) -> dict[str, list[float]]:
        """Plain data; what an empty bin has in place of means is 0."""
        return {name: column.tolist() for name, column in vars(self).items()}


def equal_width(confidences: Tensor, hits: Tensor, bins: int = 15) -> Bins:
    """Bins of equal width: bin m holds the confidences in ((m − 1)/bins, m/bins].

    Args:
        confidences: in [0, 1], float64 (N,).
        hits: whether each image is classified rightly, (N,).
        bins: how many, M.

    Source:
        Guo et al., ICML 2017, arXiv 1706.04599, equations 2 and 3.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    return _sorted_into(torch.bucketize(confidences, edges[1:-1]), confidences, hits.double(), bins)


def equal_mass(confidences: Tensor, hits: Tensor, bins: int = 15) -> Bins:
    """Bins of equal mass: of the images in order of confidence, bin m holds ranks ⌊(m − 1)N/M⌋ to ⌊mN/M⌋.

    Images of one confidence have no order among them. Where an edge falls among them (softmax rounds many
    confidences to exactly 1), each side gets its number of them, with the fraction of hits of all of them: so
    the bins stay equally full and do not depend on the order of the images.

    Args:
        confidences: in [0, 1], float64 (N,).
        hits: whether each image is classified rightly, (N,).
        bins: how many; with fewer images than that, M = N.

    Source:
        Nguyen, O'Connor, EMNLP 2015, arXiv 1508.05154, section 3; Nixon et al., Measuring Calibration in
        Deep Learning, CVPR workshops 2019, arXiv 1904.01685, section 3.3.
    """
    levels, place, ties = torch.unique(confidences, return_inverse=True, return_counts=True)
    shared = torch.zeros_like(levels).index_add_(0, place, hits.double()) / ties
    used = min(bins, len(confidences))
    edges = torch.arange(1, used) * len(confidences) // used
    which = torch.bucketize(torch.arange(len(confidences)), edges, right=True)
    order = place.sort().values
    return _sorted_into(which, levels[order], shared[order], used)


def _sorted_into(which: Tensor, confidences: Tensor, hits: Tensor, bins: int) -> Bins:
    """Bins of images whose bins are known, int64 (N,)."""
    counts = torch.bincount(which, minlength=bins)
    sums = [torch.zeros(bins, dtype=torch.float64).index_add_(0, which, x) for x in (confidences, hits)]
    return Bins(counts, *(total / counts.clamp(min=1) for total in sums))


def expected_calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The expected calibration error over bins of equal width, in [0, 1]; see `equal_width`.

    Args:
        probabilities: (N, C), rows that sum to 1.
        targets: int64 (N,).
        bins: number of bins.
    """
    confidences, predictions = probabilities.cpu().double().max(dim=1)
    return equal_width(confidences, predictions == targets.cpu(), bins).error


def brier_score(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Σ_c (p_c − [c is the target])² of every image, the sum over all classes.

    Args:
        probabilities: (N, C), rows that sum to 1.
        targets: int64 (N,).

    Returns:
        float64 (N,), in [0, 2].

    Source:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78(1),
        1950, equation 2.
    """
    truth = torch.nn.functional.one_hot(targets.cpu(), probabilities.shape[1])
    return (probabilities.cpu().double() - truth).square().sum(dim=1)


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
