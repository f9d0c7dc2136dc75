"""The calibration evaluation: every number by a slow loop, one temperature for all, what is left out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hugbench.criteria.hug import HUG
from hugbench.errors import UserError
from hugbench.evaluations.accuracy import accuracy
from hugbench.evaluations.base import Setting
from hugbench.evaluations.calibration import calibration, preflight
from hugbench.evaluations.corruption.arguments import check
from hugbench.evaluations.corruption.kinds import corrupt
from hugbench.models import Classifier
from tests.unit.evaluations.corruption.make import CPU, classifier, dataset, images

ASKED = {"kinds": ("fog", "contrast"), "severities": (1, 5), "bins": 4}
OTHERS = {"seed": 0, "source": "auto", "folder": None, "frost_dir": None}
METRICS = (
    "expected_calibration_error",
    "expected_calibration_error_equal_mass",
    "negative_log_likelihood",
    "brier_score",
)


@pytest.fixture
def data():
    return replace(dataset(), validation=images(seed=9))


@pytest.fixture
def where(data, device):
    return Setting(data, device, seed=0, batch_size=5)


def cosines() -> Classifier:
    """A classifier of bounded logits."""
    torch.manual_seed(0)
    return Classifier(nn.Flatten(), HUG(192, 4), mean=(0.5,) * 3, std=(0.3,) * 3)


def values(findings) -> dict[tuple, float]:
    return {(m.metric, m.condition, m.severity, m.subset): m.value for m in findings.measurements}


def slow_numbers(model, split, kind, severity, temperature, bins=4) -> dict[str, float]:
    """All metrics of one condition, image after image, with Python's own sums."""
    judged = []
    for pixels, target, index in split.batches(1, CPU):
        if kind is not None:
            pixels = corrupt(pixels, kind, severity, seed=0, indices=index)
        with torch.no_grad():
            row = [value / temperature for value in model.eval()(pixels.float() / 255)[0].double().tolist()]
        weights = [math.exp(value - max(row)) for value in row]
        chances = [weight / sum(weights) for weight in weights]
        label = int(target)
        brier = sum((p - (c == label)) ** 2 for c, p in enumerate(chances))
        judged.append((max(chances), chances.index(max(chances)) == label, -math.log(chances[label]), brier))
    count = len(judged)
    width = 0.0
    for m in range(bins):
        inside = [(c, hit) for c, hit, _, _ in judged if m / bins < c <= (m + 1) / bins]
        width += abs(sum(hit for _, hit in inside) - sum(c for c, _ in inside)) / count
    ordered, mass = sorted((c, hit) for c, hit, _, _ in judged), 0.0
    for m in range(bins):
        inside = ordered[m * count // bins : (m + 1) * count // bins]
        mass += abs(sum(hit for _, hit in inside) - sum(c for c, _ in inside)) / count
    return {
        "expected_calibration_error": width,
        "expected_calibration_error_equal_mass": mass,
        "negative_log_likelihood": sum(nll for _, _, nll, _ in judged) / count,
        "brier_score": sum(brier for *_, brier in judged) / count,
        "accuracy": sum(hit for _, hit, _, _ in judged) / count,
    }


def test_every_number_by_a_slow_loop(where, data, device):
    model = classifier()
    found = values(calibration(model.to(device), where, **ASKED))
    model.cpu()
    fitted = found.pop(("temperature", "clean", None, "all"))
    expected = {}
    for suffix, temperature in (("", 1.0), ("_calibrated", fitted)):
        tables = {}
        for kind in ("fog", "contrast"):
            for severity in (1, 5):
                tables[kind, severity] = slow_numbers(model, data.test, kind, severity, temperature)
        tables["clean", None] = slow_numbers(model, data.test, None, 0, temperature)
        for metric in tables["clean", None]:
            name = metric if metric == "accuracy" else f"{metric}{suffix}"
            for (condition, severity), numbers in tables.items():
                expected[name, condition, severity, "all"] = numbers[metric]
            at = {place: numbers[metric] for place, numbers in tables.items() if place[0] != "clean"}
            for kind in ("fog", "contrast"):
                expected[name, kind, None, "all"] = (at[kind, 1] + at[kind, 5]) / 2
            for severity in (1, 5):
                mean = (at["fog", severity] + at["contrast", severity]) / 2
                expected[name, "corrupted", severity, "all"] = mean
            expected[name, "corrupted", None, "all"] = sum(at.values()) / 4
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_clean_numbers_and_the_temperature_are_those_of_accuracy(where, device):
    model = classifier().to(device)
    found, other = values(calibration(model, where, **ASKED)), values(accuracy(model, where, bins=4))
    for name in ("negative_log_likelihood", "expected_calibration_error"):
        for suffix in ("", "_calibrated"):
            place = f"{name}{suffix}", "clean", None, "all"
            assert found[place] == pytest.approx(other[place])
    place = "temperature", "clean", None, "all"
    assert found[place] == other[place]
    assert found["accuracy", "clean", None, "all"] == other["accuracy", "clean", None, "all"]


def test_the_headline_is_the_calibration_error_of_clean_images(where, device):
    first = calibration(classifier().to(device), where, **ASKED).measurements[0]
    assert (first.metric, first.condition, first.subset) == ("expected_calibration_error", "clean", "all")


def test_details_hold_both_diagrams_of_every_condition(where, data, device):
    findings = calibration(classifier().to(device), where, **ASKED)
    found, diagrams = values(findings), findings.details["diagrams"]
    places = [(d["condition"], d["severity"]) for d in diagrams if d["calibrated"]]
    assert places == [("clean", None), ("fog", 1), ("fog", 5), ("contrast", 1), ("contrast", 5)]
    assert len(diagrams) == 10
    for diagram in diagrams:
        suffix = "_calibrated" if diagram["calibrated"] else ""
        for kind, tail in (("equal_width", ""), ("equal_mass", "_equal_mass")):
            bins = diagram[kind]
            gaps = [count * abs(right - sure) for count, sure, right in zip(*bins.values(), strict=True)]
            assert sum(bins["counts"]) == len(data.test)
            place = (
                f"expected_calibration_error{tail}{suffix}",
                diagram["condition"],
                diagram["severity"],
                "all",
            )
            assert sum(gaps) / len(data.test) == pytest.approx(found[place])
    assert findings.details["temperature_fitted_on"] == len(data.validation)
    json.dumps(findings.details, allow_nan=False)


def test_predictions_are_a_row_per_image_and_condition(where, data, device):
    findings = calibration(classifier().to(device), where, **ASKED)
    rows = findings.predictions
    assert {len(column) for column in rows.values()} == {5 * len(data.test)}
    chosen = (rows["condition"] == "contrast") & (rows["severity"] == 5)
    for suffix in ("", "_calibrated"):
        mean = rows[f"negative_log_likelihood{suffix}"][chosen].mean()
        place = f"negative_log_likelihood{suffix}", "contrast", 5, "all"
        assert mean == pytest.approx(values(findings)[place])
        assert 0 < rows[f"confidence{suffix}"].min() <= rows[f"confidence{suffix}"].max() <= 1
    hits = (rows["target"] == rows["prediction"])[chosen].mean()
    assert hits == pytest.approx(values(findings)["accuracy", "contrast", 5, "all"])


def test_groups_are_told_clean_and_corrupted(where, data, device):
    groups = {
        "many": torch.tensor([0, 1]),
        "few": torch.tensor([3]),
        "none": torch.tensor([], dtype=torch.int64),
    }
    findings = calibration(classifier().to(device), replace(where, subsets=groups), **ASKED)
    few = [m for m in findings.measurements if m.subset == "few"]
    inside = torch.isin(data.test.targets, torch.tensor([3]))
    assert {m.n for m in few} == {int(inside.sum())}
    assert {(m.condition, m.severity) for m in few} == {
        ("clean", None),
        ("corrupted", None),
        ("corrupted", 1),
        ("corrupted", 5),
    }
    assert {m.metric.removesuffix("_calibrated") for m in few} == set(METRICS)
    assert not [m for m in findings.measurements if m.subset == "none"]
    model = classifier()
    alone = data.test.subset(inside.nonzero().flatten())
    expected = slow_numbers(model, alone, None, 0, 1.0)
    for metric in METRICS:
        assert values(findings)[metric, "clean", None, "few"] == pytest.approx(expected[metric], abs=1e-6)


def test_in_a_stream_the_temperature_is_of_the_classes_seen(where, data, device):
    stream = replace(where, experiences=(torch.tensor([2, 0]), torch.tensor([1, 3])), experience=1)
    model = classifier().to(device)
    findings = calibration(model, stream, **ASKED)
    held = data.validation.subset(
        torch.isin(data.validation.targets, torch.tensor([0, 2])).nonzero().flatten()
    )
    alone = accuracy(model, replace(where, dataset=replace(data, validation=held)))
    place = "temperature", "clean", None, "all"
    assert values(findings)[place] == values(alone)[place]
    assert findings.notes[0] == f"temperature fitted on {len(held)} held-out training images"
    assert ("brier_score", "clean", None, "seen") in values(findings)


class TestWithoutHeldOutImages:
    def test_logits_are_judged_as_they_are(self, where, data, device):
        findings = calibration(
            classifier().to(device), replace(where, dataset=replace(data, validation=None)), **ASKED
        )
        assert {m.metric for m in findings.measurements} == {*METRICS, "accuracy"}
        assert findings.notes[0] == (
            "not calibrated: there are no held-out training images to fit a temperature on "
            "(dataset.validation is 0)"
        )
        assert findings.details["temperature"] is None

    def test_bounded_logits_have_no_probabilities(self, where, data, device):
        model = cosines().to(device)
        findings = calibration(model, replace(where, dataset=replace(data, validation=None)), **ASKED)
        assert {m.metric for m in findings.measurements} == {"accuracy"}
        assert findings.notes[0].startswith(
            "no measure of probabilities: logits are bounded, and there are no"
        )
        assert findings.details["diagrams"] == []
        assert "confidence" not in findings.predictions


def test_bounded_logits_are_judged_at_the_fitted_temperature(where, device):
    found = values(calibration(cosines().to(device), where, **ASKED))
    for metric in METRICS:
        for condition in ("clean", "corrupted"):
            plain, calibrated = ((name, condition, None, "all") for name in (metric, f"{metric}_calibrated"))
            assert found[plain] == found[calibrated]


def test_the_classifier_and_the_generator_stay_as_they_were(where, device):
    model = classifier().to(device).train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    calibration(model, where, **ASKED)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batches_do_not_matter(where, device):
    model = classifier().to(device)
    one, other = (calibration(model, replace(where, batch_size=size), **ASKED) for size in (4, 24))
    assert values(one) == pytest.approx(values(other), abs=1e-5)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"kinds": ("fogg",)}, "unknown corruption"),
        ({"kinds": ()}, "an empty list"),
        ({"severities": (3, 3)}, "the same value twice"),
        ({"severities": (6,)}, "no such severity"),
    ],
)
def test_bad_arguments_are_refused(bad, words):
    with pytest.raises(UserError, match=words):
        check(**{**ASKED, **OTHERS, **bad})


def test_preflight_wants_test_images_and_the_folder(data, tmp_path):
    preflight(data, tmp_path, **ASKED, **OTHERS)
    with pytest.raises(UserError):
        preflight(data, tmp_path, **ASKED, **{**OTHERS, "folder": "nowhere"})
    empty = replace(data, test=data.test.subset(torch.empty(0, dtype=torch.int64)))
    with pytest.raises(UserError, match="no test images"):
        preflight(empty, tmp_path, **ASKED, **OTHERS)
