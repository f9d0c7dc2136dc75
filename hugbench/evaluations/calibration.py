"""How far the probabilities can be trusted, on clean and on corrupted images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hugbench.data.images import Dataset
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.evaluations.corruption.arguments import described
from hugbench.evaluations.corruption.origin import FromFolder, Own, source_of
from hugbench.evaluations.corruption.passing import Condition, each_condition
from hugbench.evaluations.probability import brier_score, equal_mass, equal_width, negative_log_likelihood
from hugbench.evaluations.temperature import Scaling, scaling
from hugbench.models import Classifier
from hugbench.results.corruption import CLEAN, CORRUPTED
from hugbench.types import Corruption, NonNegativeInt, PositiveInt, Severity

CALIBRATED = "_calibrated"
_ERROR = "expected_calibration_error"


def calibration(
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
    severities: tuple[Severity, ...] = (1, 3, 5),
    bins: PositiveInt = 15,
    seed: NonNegativeInt = 0,
    source: Literal["auto", "folder", "own"] = "auto",
    folder: str | None = None,
    frost_dir: str | None = None,
) -> Findings:
    """Proper scores and calibration errors of the probabilities, on clean and on corrupted test images.

    negative_log_likelihood (nats), brier_score (summed over the classes, in [0, 2]),
    expected_calibration_error (bins of equal width) and expected_calibration_error_equal_mass (bins of as
        many images each; ties are shared out, see `hugbench.evaluations.probability`), of
        softmax(logits). Logits in a fixed interval, such as HUG's cosines, are no log-probabilities:
        for these criteria it is softmax(logits / T), and all four are left out where T cannot be fitted.
    The same with the suffix _calibrated: of softmax(logits / T), for every criterion.
    temperature: T, fitted once on clean held-out training images (dataset.validation above 0; in a
        class-incremental stream those of the classes seen so far) as accuracy fits it, and used
        under every condition: whether it still holds when the images shift is the question.
    accuracy: what the confidences should match; of all images.

    Condition is clean or the kind of corruption, at a severity; without one: the mean over the severities
    asked for. Condition corrupted: the mean over the kinds, at each severity and over all. Every mean is of
    the values under each corruption: images are never pooled. Clean and corrupted are also told of every
    group of classes that accuracy is told of. The corrupted images are those of the evaluation corruption.

    Predictions: index in the split, condition, severity (0: clean), target, prediction, and, where they are
    defined, confidence and negative_log_likelihood, also with the suffix _calibrated. Details: reliability
    diagrams, for each condition the images, mean confidence and accuracy of every bin, by both binnings.

    Args:
        classifier: a trained one, on the setting's device; it is left as it was.
        setting: the data and the device.
        kinds: which corruptions.
        severities: which of 1 to 5.
        bins: number of bins of both kinds.
        seed: of the corruptions that are made here.
        source: whether corrupted images are read from a folder or made here, see the evaluation corruption.
        folder: of corrupted images, relative to the data folder, see there.
        frost_dir: photographs of frost, relative to the data folder, see there.

    Raises:
        UserError: there are no test images, or a folder does not fit them.

    Source:
        Guo, Pleiss, Sun, Weinberger, ICML 2017, arXiv 1706.04599 (temperature, equal width); Nixon et al.,
        CVPR workshops 2019, arXiv 1904.01685 (equal mass); Ovadia et al., Can You Trust Your Model's
        Uncertainty?, NeurIPS 2019, arXiv 1906.02530 (under shift).
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
    scale = _scaling(classifier, setting)
    conditions = list(product(kinds, severities))
    seen = _see(classifier, setting, origin, conditions, scale)
    notes = [*scale.notes, f"corrupted is over {described(kinds, severities)}", origin.told()]
    return Findings(
        list(_measurements(seen, kinds, severities, setting, scale, bins)),
        _columns(seen, conditions),
        notes,
        {
            "temperature": scale.temperature,
            "temperature_fitted_on": scale.fitted_on,
            "diagrams": _diagrams(seen, conditions, bins),
            **origin.details(),
        },
    )


def preflight(dataset: Dataset, data: Path, *, bins: int, **arguments: Any) -> None:
    """See that there are images to evaluate on, before anything is trained.

    Raises:
        UserError: no test images; a folder does not fit them, or is missing.
    """
    source_of(dataset, data, **arguments)


@dataclass(frozen=True)
class _Seen:
    """What the classifier says of N test images under each condition, clean first.

    Attributes:
        targets: int64 (N,).
        hits: whether the largest logit is the target's, bool (1 + K, N).
        predicted: labels, int64 (1 + K, N).
        judged: by suffix (none, _calibrated) the confidence, negative log-likelihood and Brier score, each
            float64 (1 + K, N).
    """

    targets: Tensor
    predicted: Tensor
    judged: Mapping[str, Mapping[str, Tensor]]

    @property
    def hits(self) -> Tensor:
        return self.predicted == self.targets


def _scaling(classifier: Classifier, setting: Setting) -> Scaling:
    """The temperature of all logits, from held-out images of the classes in play."""
    held_out = setting.dataset.validation
    if held_out is not None:
        held_out = held_out.subset(torch.isin(held_out.targets, setting.in_play).nonzero().flatten())
    return scaling(classifier, setting, held_out)


def _see(
    classifier: Classifier,
    setting: Setting,
    origin: Own | FromFolder,
    conditions: Sequence[Condition],
    scale: Scaling,
) -> _Seen:
    """One pass over the test images; a few numbers of each are kept, however many classes there are."""
    targets = setting.dataset.test.targets
    shape = 1 + len(conditions), len(targets)
    known = {"": scale.defined_at, CALIBRATED: scale.temperature}
    temperatures = {suffix: value for suffix, value in known.items() if value is not None}
    names = ("confidence", "negative_log_likelihood", "brier_score")
    judged = {
        suffix: {name: torch.empty(shape, dtype=torch.float64) for name in names} for suffix in temperatures
    }
    predicted = torch.empty(shape, dtype=torch.int64)

    def keep(number: int, logits: Tensor, indices: Tensor) -> None:
        wide, own = logits.cpu().double(), targets[indices]
        predicted[number, indices] = wide.argmax(dim=1)
        for suffix, columns in judged.items():
            scaled = wide / temperatures[suffix]
            probabilities = scaled.softmax(dim=1)
            columns["confidence"][number, indices] = probabilities.amax(dim=1)
            columns["negative_log_likelihood"][number, indices] = negative_log_likelihood(scaled, own)
            columns["brier_score"][number, indices] = brier_score(probabilities, own)

    each_condition(classifier, setting, origin, conditions, keep)
    return _Seen(targets, predicted, judged)


def _measurements(
    seen: _Seen,
    kinds: Sequence[str],
    severities: Sequence[int],
    setting: Setting,
    scale: Scaling,
    bins: int,
) -> Iterator[Measurement]:
    """Every number; those of all clean images first."""
    targets = seen.targets
    everyone = torch.ones(len(targets), dtype=torch.bool)
    groups = {name: torch.isin(targets, labels.to(targets)) for name, labels in setting.groups().items()}
    for subset, inside in {"all": everyone, **groups}.items():
        if not inside.any():
            continue
        n = int(inside.sum())
        for metric, values in _values(seen, inside, bins, with_accuracy=subset == "all").items():
            table = values[1:].view(len(kinds), len(severities))
            yield Measurement(metric, float(values[0]), n, CLEAN, subset=subset)
            yield Measurement(metric, float(table.mean()), n, CORRUPTED, subset=subset)
            for severity, column in zip(severities, table.T, strict=True):
                yield Measurement(metric, float(column.mean()), n, CORRUPTED, severity, subset)
            for kind, row in zip(kinds, table, strict=True):
                if subset == "all":
                    yield Measurement(metric, float(row.mean()), n, kind)
                    for severity, value in zip(severities, row.tolist(), strict=True):
                        yield Measurement(metric, value, n, kind, severity)
    if scale.temperature is not None:
        yield Measurement("temperature", scale.temperature, scale.fitted_on)


def _values(seen: _Seen, inside: Tensor, bins: int, *, with_accuracy: bool) -> dict[str, Tensor]:
    """Every metric of some of the images under each condition, float64 (1 + K,)."""
    hits = seen.hits[:, inside]
    found: dict[str, Tensor] = {}
    for suffix, columns in seen.judged.items():
        confidences = columns["confidence"][:, inside]
        pairs = list(zip(confidences, hits, strict=True))
        for metric, binned in ((_ERROR, equal_width), (f"{_ERROR}_equal_mass", equal_mass)):
            errors = [binned(confidence, hit, bins).error for confidence, hit in pairs]
            found[f"{metric}{suffix}"] = torch.tensor(errors, dtype=torch.float64)
        for metric in ("negative_log_likelihood", "brier_score"):
            found[f"{metric}{suffix}"] = columns[metric][:, inside].mean(dim=1)
    return {**found, "accuracy": hits.double().mean(dim=1)} if with_accuracy else found


def _diagrams(seen: _Seen, conditions: Sequence[Condition], bins: int) -> list[dict[str, Any]]:
    """Both binnings of every condition and temperature, as plain data."""
    return [
        {
            "condition": condition,
            "severity": severity,
            "calibrated": suffix == CALIBRATED,
            "equal_width": equal_width(columns["confidence"][number], seen.hits[number], bins).to_json(),
            "equal_mass": equal_mass(columns["confidence"][number], seen.hits[number], bins).to_json(),
        }
        for number, (condition, severity) in enumerate([(CLEAN, None), *conditions])
        for suffix, columns in seen.judged.items()
    ]


def _columns(seen: _Seen, conditions: Sequence[Condition]) -> dict[str, np.ndarray]:
    """One row per condition and image, conditions outermost."""
    count = len(seen.targets)
    names = np.array([CLEAN, *(kind for kind, _ in conditions)], dtype=object)
    levels = np.array([0, *(severity for _, severity in conditions)], dtype=np.int8)
    columns = {
        "index": np.tile(np.arange(count, dtype=np.int32), len(names)),
        "condition": names.repeat(count),
        "severity": levels.repeat(count),
        "target": np.tile(seen.targets.numpy().astype(np.int32), len(names)),
        "prediction": seen.predicted.flatten().numpy().astype(np.int32),
    }
    for suffix, judged in seen.judged.items():
        for name in ("confidence", "negative_log_likelihood"):
            columns[f"{name}{suffix}"] = judged[name].flatten().numpy()
    return columns
