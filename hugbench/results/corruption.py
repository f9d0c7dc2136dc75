"""Corruption errors normalised by the baseline's: mCE and relative mCE.

With E[c] the error under corruption c, averaged over the severities, and E[clean] the error on clean
images, f the criterion and ref the suite's baseline at the same data, protocol, variant and seed:

mCE: mean over c of E_f[c] / E_ref[c].
relative_mCE: mean over c of (E_f[c] − E_f[clean]) / (E_ref[c] − E_ref[clean]).

Averages over the same severities have the same ratios as the sums in the source: D. Hendrycks,
T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019, arXiv 1903.12261, section 4. There the reference is AlexNet; here each record names its own in
`reference`, and the baseline has 1. Where a reference's error is 0, or does not grow under a
corruption, the ratio says nothing: the value is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

EVALUATION = "corruption"
CLEAN = "clean"
CORRUPTED = "corrupted"
"""The condition of a mean over all corruptions that were asked for."""

SMALLEST_ERROR = 1e-9
"""Below it an error, or what an error grew by, is 0 but for rounding."""

Row = dict[str, Any]

_PLACE = (
    "dataset",
    "backbone",
    "protocol",
    "variant",
    "seed",
    "evaluation",
    "experience",
    "epoch",
    "subset",
)


def is_corruption(evaluation: str) -> bool:
    """Whether a label is of this evaluation."""
    return evaluation.partition("(")[0] == EVALUATION


def corruption_rows(rows: Sequence[Row], baseline: str) -> Iterator[Row]:
    """mCE and relative mCE of every criterion, moment and subset that both it and the baseline have.

    Args:
        rows: flat records of a suite, under its labels.
        baseline: the label of the reference.
    """
    found: dict[tuple[Any, ...], dict[str, dict[str, Row]]] = {}
    for row in rows:
        if (
            is_corruption(row["evaluation"])
            and row["metric"] == "accuracy"
            and row["severity"] is None
            and row["value"] is not None
        ):
            place = tuple(row[name] for name in _PLACE)
            found.setdefault(place, {}).setdefault(row["criterion"], {})[row["condition"]] = row
    for arms in found.values():
        reference = arms.get(baseline)
        for arm in arms.values():
            if reference is not None and arm.keys() == reference.keys() and CLEAN in arm:
                yield from _rows(arm, _errors(arm), _errors(reference), baseline)


def mce(errors: Mapping[str, float], reference: Mapping[str, float]) -> float | None:
    """The mean over corruptions of the error over the reference's; None if one is 0, or none is there.

    Args:
        errors: mean error under every corruption, in [0, 1].
        reference: the same of the reference.
    """
    if not reference or not all(error > SMALLEST_ERROR for error in reference.values()):
        return None
    return sum(errors[kind] / reference[kind] for kind in reference) / len(reference)


def _rows(
    arm: Mapping[str, Row], errors: Mapping[str, float], reference: Mapping[str, float], baseline: str
) -> Iterator[Row]:
    kinds = [condition for condition in errors if condition not in (CLEAN, CORRUPTED)]
    own, other = ({kind: table[kind] for kind in kinds} for table in (errors, reference))
    lost, lost_by_other = (
        {kind: table[kind] - table[CLEAN] for kind in kinds} for table in (errors, reference)
    )
    common = {**arm[CLEAN], "condition": CORRUPTED, "reference": baseline}
    yield {**common, "metric": "mCE", "value": mce(own, other)}
    yield {**common, "metric": "relative_mCE", "value": mce(lost, lost_by_other)}


def _errors(arm: Mapping[str, Row]) -> dict[str, float]:
    return {condition: 1 - row["value"] for condition, row in arm.items()}
