"""Out-of-distribution detection by the scores of one trained classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hugbench.data.images import Dataset, Images
from hugbench.errors import UserError
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.evaluations.forward import each_batch
from hugbench.evaluations.ood.detection import detection
from hugbench.evaluations.ood.detectors import Detectors, fit_detectors
from hugbench.evaluations.ood.images import SYNTHETIC, Conformed, Unnatural, other, sample
from hugbench.evaluations.ood.sets import Sets, choose
from hugbench.evaluations.temperature import NONE_HELD_OUT, Scaling, scaling
from hugbench.models import Classifier
from hugbench.types import PositiveInt

INSIDE = "in"


def ood(
    classifier: Classifier,
    setting: Setting,
    *,
    near: tuple[str, ...] = (),
    far: tuple[str, ...] = (),
    synthetic: bool = True,
    k: PositiveInt = 50,
    max_images: PositiveInt = 10_000,
) -> Findings:
    """How well the test images are told from images of other data sets, by nine scores.

    Metrics are SCORE.METRIC, such as energy.auroc. METRIC is auroc, fpr_at_95_tpr, aupr_in (the test images
    are the positive ones) or aupr_out (the others are), as `hugbench.evaluations.ood.detection` defines
    them; in aupr the two sides weigh the same, however many images they have. SCORE, larger inside the
    distribution:

    msp: the largest probability of softmax(logits) (Hendrycks, Gimpel, ICLR 2017). max_logit: the largest
        logit (Hendrycks et al., ICML 2022). energy: log Σ exp(logits) (Liu et al., NeurIPS 2020).
    msp_calibrated, energy_calibrated: the same at the temperature T of least negative log-likelihood on
        held-out training images; for the energy T log Σ exp(logits / T). Cosines, such as HUG's logits, are
        flat at T = 1, so this is where criteria should be compared. Both are told for every criterion.
    mahalanobis: minus the least squared distance to a class's Gaussian, with one covariance of the training
        features, shrunk as Ledoit and Wolf estimate it (Lee et al., NeurIPS 2018;
        `hugbench.evaluations.ood.gaussian`).
    knn: minus the distance to the k-th nearest of the length-1 training features (Sun et al., ICML 2022).
    proxy_cosine: cosine with the nearest proxy, where the criterion has proxies. class_mean_cosine: with
        the nearest mean of a class's length-1 training features.

    Condition is near:NAME, far:NAME or synthetic:NAME, and near, far or synthetic for the mean over such
    sets (the details name them); n counts both sides. Only data sets in the data folder are asked about:
    nothing is downloaded. Where a suite names none, those of the tables in `hugbench.evaluations.ood.sets`
    that are there (near: the same kind of picture; far: another kind; never a set with a class in common).
    Their test images become greyscale or colour as the training images are, and then as large (Pillow: luma
    or repetition, antialiased bicubic). synthetic: uniform_noise, gaussian_noise (mean and deviation of the
    training images) and constant colours, as many as there are test images.

    In a class-incremental stream inside are the classes seen so far, by their logits alone, and near:unseen
    are the test images of the others; before the first experience inside are all.

    Predictions: set (in for the test images, else the condition), index in that set's test images, and each
    score; msp as log p/(1 − p), which has its order and is not rounded to 1.

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device.
        near: names of near sets; none: those of the table.
        far: names of far sets; none: those of the table.
        synthetic: whether to ask about images that show nothing, too.
        k: which nearest neighbour counts; with fewer training images the farthest.
        max_images: at most this many of each set, balanced over its classes and the same in every run.

    Raises:
        UserError: there is no set to ask about, a named one is not there or shares a class.
        ValueError: features that are not finite.
    """
    dataset, classes = setting.dataset, setting.in_play
    scale = scaling(classifier, setting, dataset.validation, classes=classes)
    detectors = fit_detectors(classifier, setting, classes, scale.temperature, k)
    chosen = preflight(dataset, setting.data, near=near, far=far, synthetic=synthetic)
    inside, *outside = _sources(setting, chosen, synthetic, max_images)
    found = _Found(_scored(classifier, setting, detectors, inside), inside)
    for source in outside:
        found.take(_scored(classifier, setting, detectors, source), source)
    found.average()
    details = {
        "sets": found.sets,
        "classes": dataset.classes if len(classes) == len(dataset.classes) else classes.tolist(),
        "training_images": len(detectors.neighbours.directions),
        "k": min(k, len(detectors.neighbours.directions)),
        "shrinkage": detectors.gaussians.shrinkage if detectors.gaussians else None,
        "temperature": scale.temperature,
    }
    notes = [*_notes(scale, detectors, k), *_left_out(chosen)]
    return Findings(found.measurements, found.predictions(), notes, details)


def preflight(
    dataset: Dataset, data: Path, *, near: tuple[str, ...], far: tuple[str, ...], synthetic: bool, **_: Any
) -> Sets:
    """See that the sets that are asked about are there and can be read.

    Returns:
        Which they are.

    Raises:
        UserError: there is none, a named one is not there or shares a class, or files cannot be read.
    """
    chosen = choose(dataset.name, dataset.classes, data, near, far)
    if not (chosen.near or chosen.far or synthetic):
        raise UserError(
            f"no data set in the data folder is known to be out of the distribution of {dataset.name}",
            where=data,
            key="evaluations.ood",
            expected="near or far to name one that is there, or synthetic: true",
        )
    for name in (*chosen.near, *chosen.far):
        other(name, data, lambda sentence: None)
    return chosen


@dataclass(frozen=True)
class _Source:
    """Images to score: some of a set, by their places in it, int64."""

    condition: str
    images: Images
    rows: Tensor


class _Found:
    """The numbers, set after set."""

    def __init__(self, inside: Mapping[str, Tensor], source: _Source) -> None:
        self.measurements: list[Measurement] = []
        self.sets: list[dict[str, Any]] = []
        self._inside, self._count = inside, len(source.rows)
        self._tables = [(source, inside)]

    def take(self, outside: Mapping[str, Tensor], source: _Source) -> None:
        """The numbers of one set, for every score."""
        self._tables.append((source, outside))
        count = len(source.rows)
        self.sets.append({"set": source.condition, "images": count, "against": self._count})
        for score, inside in self._inside.items():
            for metric, value in detection(inside, outside[score]).items():
                found = Measurement(f"{score}.{metric}", value, self._count + count, source.condition)
                self.measurements.append(found)

    def average(self) -> None:
        """The means over near, far and synthetic sets, before the numbers they come from."""
        groups: dict[tuple[str, str], list[Measurement]] = {}
        for found in self.measurements:
            groups.setdefault((found.condition.partition(":")[0], found.metric), []).append(found)
        self.measurements = [
            Measurement(
                metric,
                sum(found.value for found in members) / len(members),
                sum(found.n - self._count for found in members) + self._count,
                kind,
            )
            for (kind, metric), members in groups.items()
        ] + self.measurements

    def predictions(self) -> dict[str, np.ndarray]:
        """One row per image."""
        sources = [source for source, _ in self._tables]
        columns = {
            "set": np.concatenate([np.full(len(source.rows), source.condition) for source in sources]),
            "index": torch.cat([source.rows for source in sources]).numpy(),
        }
        for score in self._inside:
            columns[score] = torch.cat([scores[score] for _, scores in self._tables]).numpy()
        return columns


def _sources(setting: Setting, chosen: Sets, synthetic: bool, most: int) -> Iterator[_Source]:
    """The images inside, then every set outside."""
    dataset, test = setting.dataset, setting.dataset.test
    seen = torch.isin(test.targets, setting.in_play)
    inside = _sample(test, seen, dataset, most)
    if not len(inside):
        raise UserError(
            f"{dataset.name} has no test images of the classes in play",
            key="evaluations.ood",
            expected="a data set with test images",
        )
    yield _Source(INSIDE, test, inside)
    if not seen.all():
        yield _Source("near:unseen", test, _sample(test, ~seen, dataset, most))
    for kind, names in (("near", chosen.near), ("far", chosen.far)):
        for name in names:
            found = other(name, setting.data, setting.tell)
            everything = torch.ones(len(found.test), dtype=torch.bool)
            images = Conformed(found.test, test.shape)
            yield _Source(f"{kind}:{name}", images, _sample(found.test, everything, found, most))
    for kind in SYNTHETIC if synthetic else ():
        yield _Source(f"synthetic:{kind}", Unnatural(kind, len(inside), dataset), torch.arange(len(inside)))


def _sample(images: Images, among: Tensor, dataset: Dataset, most: int) -> Tensor:
    """Places of at most `most` of the images in `among`, bool (N,), as many of each class as can be."""
    rows = among.nonzero().flatten()
    return rows[sample(images.targets[rows], dataset.classes, most, dataset.name)]


def _scored(
    classifier: Classifier, setting: Setting, detectors: Detectors, source: _Source
) -> dict[str, Tensor]:
    """Every score of the images, float32 (N,), on the CPU; features and logits are not kept."""
    batches: list[dict[str, Tensor]] = []

    def keep(features: Tensor, _: Tensor, __: Tensor) -> None:
        batches.append({name: scores.cpu() for name, scores in detectors.scores(features).items()})

    each_batch(classifier, source.images.subset(source.rows), setting, keep)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _notes(scale: Scaling, detectors: Detectors, k: int) -> Iterator[str]:
    if scale.temperature is None:
        yield f"no msp_calibrated and energy_calibrated: {NONE_HELD_OUT}"
    else:
        yield from scale.notes
    if detectors.gaussians is None:
        yield "no mahalanobis: the training features of every class are all the same"
    if (count := len(detectors.neighbours.directions)) < k:
        yield f"knn takes the farthest of the {count} training images: there are fewer than k = {k}"


def _left_out(chosen: Sets) -> Iterator[str]:
    if chosen.absent:
        yield f"out-of-distribution sets left out, not in the data folder: {', '.join(chosen.absent)}"
