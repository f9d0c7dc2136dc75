"""The tables of out-of-distribution detection: means over sets, the fitted temperature first."""

from __future__ import annotations

from hugbench.reporting.terminal import comparison_table
from hugbench.results.comparison import compare_records, direction
from tests.unit.reporting.test_terminal import printed, records

SCORES = {
    "msp": 0.6,
    "msp_calibrated": 0.7,
    "max_logit": 0.99,
    "energy": 0.75,
    "mahalanobis": 0.8,
    "knn": 0.85,
    "class_mean_cosine": 0.9,
}


def rows(conditions=("near", "far", "far:svhn"), seeds=(0, 1), **changes):
    found = []
    for number, condition in enumerate(conditions):
        for score, value in SCORES.items():
            for metric, shown in (("auroc", value - 0.1 * number), ("fpr_at_95_tpr", 1 - value)):
                values = {
                    name: {seed: shown - gap + 0.001 * seed for seed in seeds}
                    for name, gap in (("cross_entropy", 0.0), ("hug", 0.05))
                }
                place = {"evaluation": "ood", "condition": condition, **changes}
                found += records(values, f"{score}.{metric}", **place)
    return found


def table(found, width: int = 100) -> list[str]:
    """Its lines, blanks within them squeezed."""
    text = printed(comparison_table(compare_records(found, "cross_entropy")), width)
    assert max(map(len, text.splitlines())) <= width
    return [" ".join(line.split()) for line in text.splitlines()]


def test_one_row_per_criterion_and_kind_of_sets():
    lines = table(rows(seeds=(0,)))
    start = lines.index("ood · AUROC %")
    assert lines[start + 1] == "criterion MSP energy Mahalanobis k-NN class mean"
    assert lines[start + 3 : start + 7] == [
        "cross_entropy near 70.0 75.0 80.0 85.0 90.0",
        "hug near 65.0 70.0 75.0 80.0 85.0",
        "cross_entropy far 60.0 65.0 70.0 75.0 80.0",
        "hug far 55.0 60.0 65.0 70.0 75.0",
    ]
    assert not lines[start + 7]
    start = lines.index("ood · false positives % at 95 % true positives")
    assert lines[start + 3] == "cross_entropy near 30.0 25.0 20.0 15.0 10.0"


def test_intervals_fit_the_width():
    lines = table(rows(("near", "far", "synthetic"), seeds=(0, 1, 2)))
    assert lines[lines.index("ood · AUROC %") + 3].startswith("cross_entropy near 70.1 ± 0.2 75.1 ± 0.2")


def test_more_is_better_of_areas_and_less_of_false_alarms():
    for score in SCORES:
        assert direction(f"{score}.auroc") == direction(f"{score}.aupr_in") == "higher"
        assert direction(f"{score}.fpr_at_95_tpr") == "lower"
    for metric in ("brier_score", "negative_log_likelihood", "expected_calibration_error_equal_mass"):
        assert direction(metric) == direction(f"{metric}_calibrated") == "lower"
