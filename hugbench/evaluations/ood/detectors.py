"""Every score of a classifier's features, fitted on the training images; larger inside the distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.criteria.sphere import normalise
from hugbench.evaluations.base import Setting
from hugbench.evaluations.forward import each_batch
from hugbench.evaluations.ood.gaussian import Gaussians, class_sums, fit_gaussians
from hugbench.evaluations.ood.neighbours import Neighbours
from hugbench.models import Classifier

CALIBRATED = "_calibrated"


@dataclass(frozen=True)
class Detectors:
    """What the scores of an image are made from, all on one device.

    Attributes:
        logits: from features (B, d) to the logits (B, K) of the classes in play.
        temperature: the fitted one; None where there is none.
        proxies: of the classes in play, (K, d); None where the criterion has none of that width.
        directions: means of the classes' length-1 training features, (K', d).
        gaussians: of the training features; None where they leave no covariance.
        neighbours: the training features.
    """

    logits: Callable[[Tensor], Tensor]
    temperature: float | None
    proxies: Tensor | None
    directions: Tensor
    gaussians: Gaussians | None
    neighbours: Neighbours

    def scores(self, features: Tensor) -> dict[str, Tensor]:
        """The scores of features (B, d), by name, each float32 (B,); the formulas are `ood`'s."""
        wide = features.float()
        logits = self.logits(wide).float()
        found = {"msp": maximum_probability(logits, 1.0), "max_logit": logits.amax(dim=1)}
        found["energy"] = energy(logits, 1.0)
        if self.temperature is not None:
            found[f"msp{CALIBRATED}"] = maximum_probability(logits, self.temperature)
            found[f"energy{CALIBRATED}"] = energy(logits, self.temperature)
        if self.gaussians is not None:
            found["mahalanobis"] = self.gaussians.scores(wide)
        found["knn"] = self.neighbours.scores(wide)
        if self.proxies is not None:
            found["proxy_cosine"] = nearest_cosine(wide, self.proxies)
        found["class_mean_cosine"] = nearest_cosine(wide, self.directions)
        return found


def maximum_probability(logits: Tensor, temperature: float) -> Tensor:
    """log p/(1 − p) of the largest softmax probability p at temperature T, (B,); 0 where there is one class.

    It orders images as p does; but p itself is rounded to 1 for many of them, which would make them equal.

    Source:
        Hendrycks, Gimpel, ICLR 2017, arXiv 1610.02136, section 2.
    """
    if logits.shape[1] == 1:
        return torch.zeros_like(logits[:, 0])
    top, place = (logits / temperature).max(dim=1, keepdim=True)
    others = (logits / temperature).scatter(1, place, -torch.inf)
    return top.squeeze(1) - others.logsumexp(dim=1)


def energy(logits: Tensor, temperature: float) -> Tensor:
    """T log Σ_c exp(z_c / T), (B,): minus the free energy.

    Source:
        Liu, Wang, Owens, Li, Energy-based Out-of-distribution Detection, NeurIPS 2020, arXiv 2010.03759,
        equation 4.
    """
    return temperature * torch.logsumexp(logits / temperature, dim=1)


def nearest_cosine(features: Tensor, directions: Tensor) -> Tensor:
    """max_c cos(x, d_c) of features (B, d) and directions (C, d), (B,)."""
    return (normalise(features) @ normalise(directions).T).amax(dim=1)


def fit_detectors(
    classifier: Classifier, setting: Setting, classes: Tensor, temperature: float | None, k: int
) -> Detectors:
    """All detectors, from one pass over the training images of the classes in play.

    It holds their features, N × d float32, on the device.

    Args:
        classifier: on the setting's device; it is left as it was.
        setting: the data and the device.
        classes: in play, int64 (K,), ascending.
        temperature: of the logits; None for none.
        k: which neighbour counts.

    Raises:
        ValueError: features that are not finite.
    """
    train = setting.dataset.train
    train = train.subset(torch.isin(train.targets, classes).nonzero().flatten())
    features = torch.empty(len(train), classifier.criterion.in_features, device=setting.device)

    def keep(found: Tensor, _: Tensor, indices: Tensor) -> None:
        features[indices.to(features.device)] = found.float()

    each_batch(classifier, train, setting, keep)
    if not torch.isfinite(features).all():
        raise ValueError("features of the training images: expected finite numbers, found NaN or infinity")
    places = torch.searchsorted(classes, train.targets)
    gaussians = fit_gaussians(features, places, len(classes))
    directions = normalise(features)
    known = torch.bincount(places, minlength=len(classes)) > 0
    means = normalise(class_sums(directions, places, len(classes)))[known]
    chosen, proxies = classes.to(setting.device), classifier.criterion.proxies()
    if proxies is not None:
        proxies = proxies.detach()[chosen] if proxies.shape[1] == features.shape[1] else None
    return Detectors(
        lambda inputs: classifier.criterion.logits(inputs).index_select(1, chosen),
        temperature,
        proxies,
        means.float().to(setting.device),
        gaussians,
        Neighbours(directions, k),
    )
