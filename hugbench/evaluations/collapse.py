"""Neural collapse and its generalisation to the sphere, on training and test features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hugbench.criteria.sphere import TINY_NORM
from hugbench.errors import UserError
from hugbench.evaluations import geometry
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.evaluations.forward import each_batch
from hugbench.evaluations.gathering import Gathering
from hugbench.evaluations.geometry import Features
from hugbench.evaluations.optima import least_energy
from hugbench.models import Classifier

PLANE = 2
"""The feature dimension whose coordinates are kept, for the picture."""


def collapse(
    classifier: Classifier,
    setting: Setting,
    *,
    splits: Literal["train", "test", "both"] = "both",
) -> Findings:
    """Neural collapse (NC1 to NC4) and generalised neural collapse of the features.

    Subset train (training images without augmentation), test, or proxies (no image: n is 0); in a
    class-incremental stream of the classes seen so far, and before the first experience of all. Every
    class with images weighs the same. Neither more nor less of these is better as such.

    Of the features as they are, and, with the suffix _on_sphere, scaled to length 1:
    within_class_variability: NC1, tr(Σ_W Σ_B⁺)/K over the K classes with images.
    class_distance_normalised_variance: NC1, mean over the pairs of classes of
        (v_c + v_c') / (2 ‖μ_c − μ_c'‖²), v_c the mean squared distance to the class mean μ_c.
    simplex_etf_error: NC2, ‖M Mᵀ/‖M Mᵀ‖_F − (I − 11ᵀ/K)/√(K − 1)‖_F, M the centred class means;
        with subset proxies of the proxies, not centred. 0 takes as many dimensions as K − 1.
    equinorm_variation, equiangularity_error: NC2, standard deviation over mean of the lengths of the
        centred class means; mean over their pairs of |cos + 1/(K − 1)|.
    self_duality_error: NC3, ‖M/‖M‖_F − W/‖W‖_F‖_F, W the proxies; left out where there are none or
        they are not as wide as the features.
    nearest_class_centre_agreement: NC4, fraction of the images that the classifier gives the label
        of the nearest mean of the training features.

    On the sphere, for any number of classes:
    inter_energy: mean over the pairs of classes of ‖m̂_c − m̂_c'‖^−2 (the hyperspherical energy, s = 2),
        m̂_c the direction of the mean of the class's length-1 features; of the proxies' directions with
        subset proxies. inter_energy_centred: the same with the mean of the m_c taken from each m_c.
    inter_energy_ratio, inter_energy_centred_ratio: these over the least energy that as many points
        can have in this dimension, where it is known (1: perfectly uniform);
        inter_energy_bound_ratio, inter_energy_centred_bound_ratio: elsewhere, over a lower bound.
    intra_chord, intra_squared_chord: mean over the classes of the class's mean chord ‖x̂_i − m̂_c‖, and
        of its square. intra_proxy_chord: the chord to the class's proxy, the intra term of HUG's
        released code.

    A measure without a value (all class means coincide, say) is null, with a note. Predictions: kind
    (image), split, index, target, prediction and nearest_class_centre (labels), norm (‖x_i‖), and
    chord_to_mean (‖x̂_i − m̂_c‖). With 2-dimensional features also their coordinates x0 and x1 and the
    class_name, and rows of kind mean (by split) and proxy, with index, prediction and
    nearest_class_centre −1.

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device.
        splits: whose features to measure. The training images are seen in any case, for NC4.

    Raises:
        UserError: the data set has no test images.
        ValueError: features that are not finite.

    Source:
        Papyan, Han, Donoho, PNAS 2020, arXiv 2008.08186 (NC1 to NC4); Galanti, György, Hutter, ICLR
        2022, arXiv 2112.15121; Zhu et al., NeurIPS 2021, arXiv 2105.02375; Liu, Yu, Weller, Schölkopf,
        ICLR 2023, arXiv 2303.06484 (generalised). Exact formulas: `hugbench.evaluations.geometry`.
    """
    found = _Found(setting.dataset.classes)
    proxies = _proxies(classifier, found)
    train = _see(classifier, setting, "train")
    centres = train.raw.means, train.sphere.means, train.raw.present
    if splits != "test":
        _measure(found, "train", train, proxies, centres)
    if splits != "train":
        del train
        _measure(found, "test", _see(classifier, setting, "test"), proxies, centres)
    if proxies is not None:
        labels = setting.in_play
        found.add("simplex_etf_error", geometry.simplex_etf_error(proxies[labels]), 0, "proxies")
        _energies(found, "inter_energy", proxies[labels], 0, "proxies")
        if proxies.shape[1] == PLANE:
            found.vectors("proxy", "", proxies[labels], labels)
    return found.findings()


@dataclass
class _Found:
    """What has been found so far, and the names of the classes."""

    classes: tuple[str, ...]
    measurements: list[Measurement] = field(default_factory=list)
    tables: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, metric: str, value: float, n: int, subset: str) -> None:
        """Take a number; that it is none becomes a note."""
        self.measurements.append(Measurement(metric, value, n, subset=subset))
        if not math.isfinite(value):
            self.note(f"{metric} of {subset} has no finite value: there are not two classes that differ")

    def note(self, text: str) -> None:
        """Say something, once."""
        self.notes[text] = None

    def images(self, split: str, seen: _Seen, nearest: Tensor, to_mean: Tensor) -> None:
        """One row per image."""
        values, targets = seen.raw.values, seen.raw.targets
        norms = torch.linalg.vector_norm(values, dim=1)
        columns = {
            "index": seen.indices,
            "target": targets,
            "prediction": seen.predictions,
            "nearest_class_centre": nearest,
            "norm": norms,
            "chord_to_mean": to_mean.float(),
        }
        self._table("image", split, columns, values)

    def vectors(self, kind: str, split: str, vectors: Tensor, labels: Tensor) -> None:
        """One row per class."""
        none, number = torch.full_like(labels, -1), torch.full(labels.shape, math.nan)
        columns = {
            "index": none,
            "target": labels,
            "prediction": none,
            "nearest_class_centre": none,
            "norm": torch.linalg.vector_norm(vectors, dim=1).float(),
            "chord_to_mean": number,
        }
        self._table(kind, split, columns, vectors.float())

    def findings(self) -> Findings:
        """All of it."""
        columns = {name: np.concatenate([table[name] for table in self.tables]) for name in self.tables[0]}
        return Findings(self.measurements, columns, list(self.notes))

    def _table(self, kind: str, split: str, columns: Mapping[str, Tensor], vectors: Tensor) -> None:
        count = len(vectors)
        table = {"kind": np.full(count, kind), "split": np.full(count, split)}
        table |= {name: column.numpy() for name, column in columns.items()}
        if vectors.shape[1] == PLANE:
            table |= {"x0": vectors[:, 0].numpy(), "x1": vectors[:, 1].numpy()}
            table["class_name"] = np.array(self.classes)[columns["target"].numpy()]
        self.tables.append(table)


@dataclass(frozen=True)
class _Seen:
    """What a classifier makes of a split's images of some classes, int64, in the order of the split.

    Features as they are and of length 1, predicted labels, and places in the split, both int64 (N,).
    """

    classes: Tensor
    raw: Features
    sphere: Features
    predictions: Tensor
    indices: Tensor


def _see(classifier: Classifier, setting: Setting, split: Literal["train", "test"]) -> _Seen:
    """Features and predicted labels of every image to measure; the logits are not kept.

    Features that take much of the memory lie in a file meanwhile.
    """
    dataset = setting.dataset
    images = dataset.train if split == "train" else dataset.test
    classes = setting.in_play
    kept = torch.isin(images.targets, classes).nonzero().flatten()
    if len(kept) < len(images):
        images = images.subset(kept)
    if not len(images):
        raise UserError(
            f"{dataset.name} has no {split} images",
            key="evaluations.collapse.splits",
            found=split,
            expected="a data set with such images",
        )
    gathered = Gathering(len(images), setting.scratch)
    batches: list[tuple[Tensor, ...]] = []

    def keep(features: Tensor, targets: Tensor, indices: Tensor) -> None:
        prediction = classifier.criterion.logits(features).argmax(dim=1)
        values = features.float().cpu()
        if not torch.isfinite(values).all():
            raise ValueError(
                f"features of the {split} images: expected finite numbers, found NaN or infinity"
            )
        gathered.add(values)
        batches.append((prediction.cpu(), targets.cpu(), indices))

    each_batch(classifier, images, setting, keep)
    predictions, targets, indices = (torch.cat(parts) for parts in zip(*batches, strict=True))
    raw = Features(gathered.tensor(), targets, len(dataset.classes))
    return _Seen(classes, raw, replace(raw, on_sphere=True), predictions, kept[indices])


def _proxies(classifier: Classifier, found: _Found) -> Tensor | None:
    """The proxies in float64 on the CPU; None, and a note, where there are none of the features' width."""
    proxies, width = classifier.criterion.proxies(), classifier.criterion.in_features
    if proxies is None:
        found.note("no self_duality_error: the criterion has no proxies")
        return None
    if proxies.shape[1] != width:
        found.note(
            f"no self_duality_error: the proxies have {proxies.shape[1]} dimensions and the features {width}"
        )
        return None
    return proxies.detach().float().cpu().double()


def _measure(
    found: _Found,
    split: str,
    seen: _Seen,
    proxies: Tensor | None,
    centres: tuple[Tensor, Tensor, Tensor],
) -> None:
    """All that is measured of one split."""
    n, sphere, present = len(seen.indices), seen.sphere, seen.raw.present
    raw_centres, unit_centres, known = centres
    nearest = geometry.nearest_centres(seen.raw, raw_centres, known)
    _collapse(found, "", split, seen.raw, nearest == seen.predictions, proxies)
    on_sphere = geometry.nearest_centres(sphere, unit_centres, known)
    _collapse(found, "_on_sphere", split, sphere, on_sphere == seen.predictions, proxies)
    _energies(found, "inter_energy", sphere.means[present], n, split)
    _energies(found, "inter_energy_centred", sphere.centred_means, n, split)
    to_mean = geometry.chords(sphere, sphere.means)
    found.add("intra_chord", sphere.mean_over_classes(to_mean), n, split)
    found.add("intra_squared_chord", sphere.mean_over_classes(to_mean.square()), n, split)
    if proxies is not None:
        to_proxy = geometry.chords(sphere, proxies)
        found.add("intra_proxy_chord", sphere.mean_over_classes(to_proxy), n, split)
    if absent := len(seen.classes) - len(present):
        found.note(f"{absent} of {len(seen.classes)} classes have no {split} images and take no part")
    if lost := int((torch.linalg.vector_norm(seen.raw.values, dim=1) <= TINY_NORM).sum()):
        found.note(f"{lost} of {n} {split} features are zero and have no direction")
    found.images(split, seen, nearest, to_mean)
    if seen.raw.values.shape[1] == PLANE:
        found.vectors("mean", split, sphere.means[present], present)


def _collapse(
    found: _Found, suffix: str, split: str, features: Features, agreed: Tensor, proxies: Tensor | None
) -> None:
    """NC1 to NC4 of the features as they are, or on the sphere."""
    means = features.centred_means
    values = {
        "within_class_variability": geometry.within_class_variability(features),
        "class_distance_normalised_variance": geometry.class_distance_normalised_variance(features),
        "simplex_etf_error": geometry.simplex_etf_error(means),
        "equinorm_variation": geometry.equinorm_variation(means),
        "equiangularity_error": geometry.equiangularity_error(means),
    }
    if proxies is not None:
        values["self_duality_error"] = geometry.self_duality_error(means, proxies[features.present])
    values["nearest_class_centre_agreement"] = float(agreed.double().mean())
    for metric, value in values.items():
        found.add(f"{metric}{suffix}", value, len(agreed), split)


def _energies(found: _Found, metric: str, directions: Tensor, n: int, subset: str) -> None:
    """The energy, and what it is over the least that is possible."""
    value, count = geometry.energy(directions)
    found.add(metric, value, n, subset)
    if count < len(directions):
        found.note(f"{metric} of {subset} leaves out {len(directions) - count} vectors without a direction")
    dimension = directions.shape[1]
    least = least_energy(count, dimension)
    if least is None:
        found.note(f"no {metric}_ratio: {count} points in {dimension} dimensions have no least energy")
    elif least.known:
        found.add(f"{metric}_ratio", value / least.value, n, subset)
    else:
        found.add(f"{metric}_bound_ratio", value / least.value, n, subset)
        found.note(
            f"the least energy of {count} points in {dimension} dimensions is not known: "
            "inter_energy is over a lower bound of it (..._bound_ratio)"
        )
