"""At which temperature a classifier's logits are log-probabilities, as held-out training images tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.data.images import Images
from hugbench.evaluations.base import Setting
from hugbench.evaluations.forward import collect
from hugbench.evaluations.probability import LARGEST_TEMPERATURE, SMALLEST_TEMPERATURE, fit_temperature
from hugbench.models import Classifier

NONE_HELD_OUT = "there are no held-out training images to fit a temperature on (dataset.validation is 0)"


@dataclass(frozen=True)
class Scaling:
    """What is known of a classifier's temperature.

    Attributes:
        defined_at: where softmax(logits / T) are the classifier's own probabilities: 1, or for logits in a
            fixed interval, such as cosines, the fitted temperature; None where that is not known.
        temperature: the fitted one; None without held-out images.
        fitted_on: number of held-out images.
        notes: what must travel with the numbers.
    """

    defined_at: float | None
    temperature: float | None
    fitted_on: int
    notes: list[str]


def scaling(
    classifier: Classifier,
    setting: Setting,
    held_out: Images | None,
    *,
    otherwise: str = NONE_HELD_OUT,
    classes: Tensor | None = None,
) -> Scaling:
    """Fit the temperature (`fit_temperature`) on held-out training images.

    Args:
        classifier: on the setting's device; it is left as it was.
        setting: where, and how many images at a time.
        held_out: the images; None or empty: there is no temperature.
        otherwise: why there is none, as the end of a sentence.
        classes: the classes in play, int64, ascending: logits of others are cut off and their images left
            out; None for all.
    """
    bounded = classifier.criterion.bounded_logits
    if held_out is not None and classes is not None:
        held_out = held_out.subset(torch.isin(held_out.targets, classes).nonzero().flatten())
    if held_out is None or not len(held_out):
        if bounded:
            return Scaling(
                None, None, 0, [f"no measure of probabilities: logits are bounded, and {otherwise}"]
            )
        return Scaling(1.0, None, 0, [f"not calibrated: {otherwise}"])
    outputs = collect(classifier, held_out, setting)
    logits, targets = outputs.logits, outputs.targets
    if classes is not None:
        logits, targets = logits[:, classes], torch.searchsorted(classes, targets)
    temperature = fit_temperature(logits, targets)
    note = f"temperature fitted on {len(held_out)} held-out training images"
    if temperature in (SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE):
        note += f", where the best one lies beyond this end of its range, {temperature:g}"
    return Scaling(temperature if bounded else 1.0, temperature, len(held_out), [note])
