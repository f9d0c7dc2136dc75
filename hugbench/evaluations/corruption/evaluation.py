"""Accuracy on corrupted images, by kind and severity, and its mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.evaluations.corruption.arguments import described
from hugbench.evaluations.corruption.kept import Kept
from hugbench.evaluations.corruption.origin import FromFolder, Own, source_of
from hugbench.evaluations.corruption.passing import Condition, each_condition
from hugbench.evaluations.identity import split_sha256, weights_sha256
from hugbench.models import Classifier
from hugbench.results.corruption import CLEAN, CORRUPTED
from hugbench.types import Corruption, NonNegativeInt, Severity


def corruption(
    classifier: Classifier,
    setting: Setting,
    *,
    kinds: tuple[Corruption, ...] = (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "elastic_transform",
        "pixelate",
        "jpeg_compression",
    ),
    severities: tuple[Severity, ...] = (1, 2, 3, 4, 5),
    seed: NonNegativeInt = 0,
    source: Literal["auto", "folder", "own"] = "auto",
    folder: str | None = None,
    frost_dir: str | None = None,
) -> Findings:
    """Accuracy on corrupted test images by kind and severity, and mean corruption error.

    mean_corruption_error (condition corrupted): mean over kinds and severities of 1 − accuracy, not
        normalised; over which, a note says. accuracy with condition corrupted: 1 minus that.
    accuracy: condition is the kind. With a severity: at that one. Without: the mean over the severities
        asked for. Condition clean: of the images as they are.
    All of it is also told of every group of classes that accuracy is told of (many, medium, few; in a
    stream seen and experience:j); at single severities not of the groups of a stream.
    mCE, relative_mCE: with the baseline's errors as the reference, see `hugbench.results.corruption`.

    Every criterion and every run's seed is asked about the same corrupted images: their randomness
    is keyed by `seed`, kind, severity and the place of an image in the whole test split.

    Predictions: index in the split, condition, severity (0: clean), target and prediction (labels).

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device.
        kinds: which corruptions: the 15 of CIFAR-C, or some, or also speckle_noise, gaussian_blur,
            spatter, saturate.
        severities: which of 1 to 5.
        seed: of the corruptions that are made here.
        source: own: the images are corrupted here; folder: they are read from a folder; auto: from a
            folder if `folder` names one, or the published CIFAR-10-C or CIFAR-100-C lies in the data folder.
        folder: corrupted images in the layout of CIFAR-10-C, relative to the data folder; null: the
            published ones.
        frost_dir: the photographs of frost of the authors' repository, relative to the data folder;
            null: hugbench's own textures.

    Raises:
        UserError: there are no test images, or a folder does not fit them.

    Source:
        Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations, ICLR 2019, arXiv 1903.12261. CIFAR-C is reported unnormalised.
    """
    origin = source_of(
        setting.dataset,
        setting.data,
        kinds=kinds,
        severities=severities,
        seed=seed,
        source=source,
        folder=folder,
        frost_dir=frost_dir,
    )
    conditions = list(product(kinds, severities))
    predicted = _predictions(classifier, setting, origin, conditions)
    targets = setting.dataset.test.targets
    hits = predicted == targets.to(predicted)
    return Findings(
        list(_measurements(hits, targets, kinds, severities, setting)),
        _columns(predicted, targets, conditions),
        [f"mean_corruption_error is over {described(kinds, severities)}", origin.told()],
        {"kinds": list(kinds), "severities": list(severities), **origin.details()},
    )


def _predictions(
    classifier: Classifier, setting: Setting, origin: Own | FromFolder, conditions: Sequence[Condition]
) -> Tensor:
    """The label given to every image (N of them), clean, then under every condition: int32 (1 + K, N).

    Every batch is a checkpoint.
    """
    shape = 1 + len(conditions), len(setting.dataset.test)
    predicted = torch.empty(shape, dtype=torch.int32, device=setting.device)
    kept = _kept(classifier, setting, origin, conditions)
    before = kept.load(*shape)
    predicted[:, : before.shape[1]] = before.to(predicted.device)

    def keep(number: int, logits: Tensor, indices: Tensor) -> None:
        predicted[number, indices.to(predicted.device)] = logits.argmax(dim=1).to(torch.int32)

    def after(images: int) -> None:
        kept.store(predicted[:, :images].cpu())
        setting.pause()

    each_condition(classifier, setting, origin, conditions, keep, first=before.shape[1], after=after)
    kept.drop()
    return predicted.cpu()


def _kept(
    classifier: Classifier, setting: Setting, origin: Own | FromFolder, conditions: Sequence[Condition]
) -> Kept:
    """What an earlier attempt at the same left, by the same weights in the same batches."""
    if setting.scratch is None:
        return Kept(None, {})
    head = {
        "weights": weights_sha256(classifier),
        "images": [setting.dataset.checksum, split_sha256(setting.dataset.test)],
        "batch_size": setting.batch_size,
        "origin": origin.details(),
        "conditions": conditions,
    }
    return Kept(setting.scratch / "corruption", head)


def _measurements(
    hits: Tensor, targets: Tensor, kinds: Sequence[str], severities: Sequence[int], setting: Setting
) -> Iterator[Measurement]:
    """Every number, mean corruption error over all images first; `hits` is bool (1 + K, N)."""
    everyone = torch.ones(len(targets), dtype=torch.bool)
    groups = {name: torch.isin(targets, labels.to(targets)) for name, labels in setting.groups().items()}
    for subset, inside in {"all": everyone, **groups}.items():
        if not inside.any():
            continue
        accuracies = hits[:, inside].double().mean(dim=1)
        table = accuracies[1:].view(len(kinds), len(severities))
        n, mean = int(inside.sum()), float(table.mean())
        yield Measurement("mean_corruption_error", 1 - mean, n, CORRUPTED, subset=subset)
        yield Measurement("accuracy", mean, n, CORRUPTED, subset=subset)
        yield Measurement("accuracy", float(accuracies[0]), n, CLEAN, subset=subset)
        for kind, row in zip(kinds, table, strict=True):
            yield Measurement("accuracy", float(row.mean()), n, kind, subset=subset)
            if subset == "all" or subset in setting.subsets:
                for severity, value in zip(severities, row.tolist(), strict=True):
                    yield Measurement("accuracy", value, n, kind, severity, subset)


def _columns(predicted: Tensor, targets: Tensor, conditions: Sequence[Condition]) -> dict[str, np.ndarray]:
    """One row per condition and image, conditions outermost."""
    count = len(targets)
    names = np.array([CLEAN, *(kind for kind, _ in conditions)], dtype=object)
    levels = np.array([0, *(severity for _, severity in conditions)], dtype=np.int8)
    return {
        "index": np.tile(np.arange(count, dtype=np.int32), len(names)),
        "condition": names.repeat(count),
        "severity": levels.repeat(count),
        "target": np.tile(targets.numpy().astype(np.int32), len(names)),
        "prediction": predicted.flatten().numpy(),
    }
