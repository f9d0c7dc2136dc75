"""Accuracy on clean images, by the head, by the proxies and by class means, with calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from hugbench.criteria.sphere import normalise
from hugbench.data.images import Dataset, Images
from hugbench.errors import UserError
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.evaluations.forward import Outputs, collect, each_batch
from hugbench.evaluations.probability import expected_calibration_error, negative_log_likelihood
from hugbench.evaluations.temperature import Scaling, scaling
from hugbench.models import Classifier
from hugbench.types import PositiveInt

TASK = "task_incremental_accuracy"


def accuracy(
    classifier: Classifier,
    setting: Setting,
    *,
    split: Literal["test", "validation"] = "test",
    bins: PositiveInt = 15,
) -> Findings:
    """Accuracy and calibration on clean images, overall and per class.

    accuracy: fraction of images whose largest logit is their class's; also per class, as subset
        class:i, and over all images of a group of classes, under the group's name: many, medium and
        few have more than 100, 20 to 100 and fewer than 20 training images
        (`hugbench.data.longtail.by_frequency`), and are told apart where there are at least two of
        them; in a class-incremental stream also seen (the classes of all experiences so far) and
        experience:j. top5_accuracy (more than 5 classes): among the 5 largest. balanced_accuracy: mean of the
        accuracies of the classes that have images.
    task_incremental_accuracy (in a stream): fraction of images whose class has the largest logit among
        the classes of its own experience; over all images, and of the same groups.
    nearest_proxy_accuracy: the class whose proxy has the largest cosine with the features, for
        criteria that have proxies.
    nearest_class_mean_accuracy: the class whose mean has the largest cosine with the features, the
        means being those of the length-1 features of the training images without augmentation,
        scaled to length 1; the nearest-mean rule of iCaRL (Rebuffi, Kolesnikov, Sperl, Lampert, CVPR
        2017, arXiv 1611.07725, algorithm 1) over all training images (in a stream,
        of the classes seen so far).
    negative_log_likelihood (nats) and expected_calibration_error (Guo, Pleiss, Sun, Weinberger, ICML
        2017, arXiv 1706.04599), of softmax(logits). Logits in a fixed interval, such as HUG's cosines,
        are no log-probabilities: for these criteria both are of softmax(logits / T), and are left
        out where T cannot be fitted.
    temperature: T of least negative log-likelihood on the N held-out training images
        (dataset.validation above 0), with a doubt of 1/(N + 1) in each label, in [0.001, 1000]; with
        negative_log_likelihood_calibrated and expected_calibration_error_calibrated of
        softmax(logits / T). Left out with split: validation, where T would be judged on the images it
        was fitted on.

    Predictions: index in the split, target, prediction and nearest_class_mean (labels), and, where
    probabilities are defined as above, confidence and negative_log_likelihood.

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device.
        split: judge on the test images, or on the held-out training images (to tune without
            touching the test images).
        bins: number of confidence bins of equal width of the expected calibration error.

    Raises:
        UserError: the data set has no such split.
    """
    dataset = setting.dataset
    outputs = collect(classifier, _images(dataset, split), setting)
    scale = _scaling(classifier, setting, split)
    means, known = class_means(classifier, setting)
    nearest_mean = _nearest(outputs.features, means, known)
    prediction = outputs.logits.argmax(dim=1)
    hits = prediction == outputs.targets

    found = [_mean("accuracy", hits)]
    if outputs.logits.shape[1] > 5:
        top5 = outputs.logits.topk(5, dim=1).indices
        found.append(_mean("top5_accuracy", (top5 == outputs.targets.unsqueeze(1)).any(dim=1)))
    per_class = _per_class(hits, outputs.targets)
    balanced = sum(measurement.value for measurement in per_class) / len(per_class)
    found.append(Measurement("balanced_accuracy", balanced, len(hits)))
    proxies = classifier.criterion.proxies()
    if proxies is not None:
        nearest_proxy = _nearest(outputs.features, proxies.detach().float().cpu())
        found.append(_mean("nearest_proxy_accuracy", nearest_proxy == outputs.targets))
    if known.any():
        found.append(_mean("nearest_class_mean_accuracy", nearest_mean == outputs.targets))
    predictions = {
        "index": outputs.indices,
        "target": outputs.targets,
        "prediction": prediction,
        "nearest_class_mean": nearest_mean,
    }
    if scale.defined_at is not None:
        measured, columns = _probabilistic(outputs, scale.defined_at, bins, "")
        found += measured
        predictions |= columns
    if scale.temperature is not None:
        found.append(Measurement("temperature", scale.temperature, scale.fitted_on))
        found += _probabilistic(outputs, scale.temperature, bins, "_calibrated")[0]
    rows = {name: column.numpy() for name, column in predictions.items()}
    groups = _groups("accuracy", hits, outputs.targets, setting.groups())
    if setting.experiences:
        told = _task_incremental(outputs, setting.experiences)
        found.append(_mean(TASK, told))
        groups += _groups(TASK, told, outputs.targets, setting.groups())
    return Findings(found + groups + per_class, rows, scale.notes)


def class_means(classifier: Classifier, setting: Setting) -> tuple[Tensor, Tensor]:
    """The mean of each class's length-1 training features (no augmentation), scaled to length 1.

    Returns:
        Means (C, d), float32, and which classes have training images at all, and in a stream have been
        seen, bool (C,).
    """
    dataset = setting.dataset
    counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes))
    sums = torch.zeros(len(dataset.classes), classifier.criterion.in_features, dtype=torch.float64)

    def add(features: Tensor, targets: Tensor, _: Tensor) -> None:
        sums.index_add_(0, targets.cpu(), normalise(features).cpu().double())

    each_batch(classifier, dataset.train, setting, add)
    known = counts > 0
    if setting.seen is not None:
        known &= torch.isin(torch.arange(len(counts)), setting.seen)
    return normalise(sums).float(), known


def _scaling(classifier: Classifier, setting: Setting, split: str) -> Scaling:
    if split == "validation":
        why = "a temperature fitted on the validation images says nothing about them"
        return scaling(classifier, setting, None, otherwise=why)
    return scaling(classifier, setting, setting.dataset.validation)


def _probabilistic(
    outputs: Outputs, temperature: float, bins: int, suffix: str
) -> tuple[list[Measurement], dict[str, Tensor]]:
    """What needs probabilities, as numbers over all images and as a column of each image's."""
    logits = outputs.logits.double() / temperature
    surprise = negative_log_likelihood(logits, outputs.targets)
    probabilities = logits.softmax(dim=1)
    error = expected_calibration_error(probabilities, outputs.targets, bins)
    measured = [
        _mean(f"negative_log_likelihood{suffix}", surprise),
        Measurement(f"expected_calibration_error{suffix}", error, len(surprise)),
    ]
    return measured, {"confidence": probabilities.amax(dim=1), "negative_log_likelihood": surprise}


def _nearest(features: Tensor, directions: Tensor, among: Tensor | None = None) -> Tensor:
    """The class whose direction has the largest cosine with each feature, int64 (N,).

    Args:
        features: (N, d).
        directions: (C, d).
        among: bool (C,), which classes are in the running; None for all.
    """
    cosines = normalise(features) @ normalise(directions).T
    if among is not None:
        cosines[:, ~among] = -torch.inf
    return cosines.argmax(dim=1)


def _per_class(hits: Tensor, targets: Tensor) -> list[Measurement]:
    labels = torch.bincount(targets).nonzero().flatten().tolist()
    return [_mean("accuracy", hits[targets == label], f"class:{label}") for label in labels]


def _task_incremental(outputs: Outputs, experiences: Sequence[Tensor]) -> Tensor:
    """Whether the largest logit among the classes of an image's own experience is its class's, bool (N,)."""
    hits = torch.zeros(len(outputs.targets), dtype=torch.bool)
    for labels in experiences:
        inside = torch.isin(outputs.targets, labels)
        predicted = labels[outputs.logits[inside][:, labels].argmax(1)]
        hits[inside] = predicted == outputs.targets[inside]
    return hits


def _groups(metric: str, hits: Tensor, targets: Tensor, subsets: Mapping[str, Tensor]) -> list[Measurement]:
    """The fraction of hits among the images of each group of classes that has images."""
    members = {name: torch.isin(targets, labels.to(targets)) for name, labels in subsets.items()}
    return [_mean(metric, hits[inside], name) for name, inside in members.items() if inside.any()]


def _mean(metric: str, values: Tensor, subset: str = "all") -> Measurement:
    return Measurement(metric, float(values.double().mean()), len(values), subset=subset)


def _images(dataset: Dataset, split: Literal["test", "validation"]) -> Images:
    images = dataset.test if split == "test" else dataset.validation
    if images is None or not len(images):
        raise UserError(
            f"{dataset.name} has no {split} images",
            key="evaluations.accuracy.split",
            found=split,
            expected="dataset.validation above 0" if split == "validation" else "a data set with test images",
        )
    return images
