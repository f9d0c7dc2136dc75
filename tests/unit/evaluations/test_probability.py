"""Probabilities against slow loops, hand-computed cases and known optima."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from hugbench.evaluations.probability import (
    LARGEST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


def slow_error(probabilities, targets, bins):
    """Guo et al.'s definition, bin after bin and image after image."""
    total = 0.0
    for m in range(1, bins + 1):
        members = []
        for row, target in zip(probabilities.double(), targets.tolist(), strict=True):
            confidence = float(row.max())
            above = confidence > (m - 1) / bins or (m == 1 and confidence >= 0)
            if above and confidence <= m / bins:
                members.append((confidence, int(row.argmax()) == target))
        if members:
            mean_confidence = sum(c for c, _ in members) / len(members)
            hits = sum(hit for _, hit in members) / len(members)
            total += len(members) / len(targets) * abs(hits - mean_confidence)
    return total


def slow_likelihood(logits, targets, temperature=1.0):
    """−log p of every image, with Python's own exp and log."""
    found = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        scaled = [value / temperature for value in row]
        top = max(scaled)
        found.append(top + math.log(sum(math.exp(v - top) for v in scaled)) - scaled[target])
    return found


@st.composite
def predictions(draw):
    """Logits (N, C) and targets, of every scale from flat to saturated."""
    seed = draw(st.integers(0, 2**32))
    count, classes = draw(st.integers(1, 40)), draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** draw(st.floats(-2, 2))
    logits = scale * torch.randn(count, classes, generator=generator)
    return logits, torch.randint(0, classes, (count,), generator=generator)


class TestExpectedCalibrationError:
    def test_by_hand(self):
        probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]], dtype=torch.float64)
        targets = torch.tensor([0, 1, 1, 1])
        # two bins: all confidences lie in (0.5, 1]; accuracy 3/4, mean confidence 2.95/4
        assert expected_calibration_error(probabilities, targets, 2) == pytest.approx(0.05 / 4)
        # ten bins: 0.9 and 0.7, 0.55 right, 0.8 wrong, each alone
        expected = (0.1 + 0.8 + 0.3 + 0.45) / 4
        assert expected_calibration_error(probabilities, targets, 10) == pytest.approx(expected)

    def test_a_confidence_on_an_edge_belongs_to_the_bin_below(self):
        # 0.5 with 0.25..0.5, not with 0.5..0.75: the hit of one and the miss of the other do not cancel
        probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.625, 0.375]], dtype=torch.float64)
        assert expected_calibration_error(probabilities, torch.tensor([0, 0]), 4) == pytest.approx(
            (0.5 + 0.625) / 2
        )

    def test_certain_and_right_is_perfect_and_certain_and_wrong_is_worst(self):
        certain = torch.eye(4)
        assert expected_calibration_error(certain, torch.arange(4)) == 0
        assert expected_calibration_error(certain, (torch.arange(4) + 1) % 4) == 1

    @settings(deadline=None, max_examples=50)
    @given(predictions(), st.integers(1, 30))
    def test_equals_the_loop(self, case, bins):
        logits, targets = case
        probabilities = logits.double().softmax(1)
        found = expected_calibration_error(probabilities, targets, bins)
        assert found == pytest.approx(slow_error(probabilities, targets, bins), abs=1e-12)
        assert 0 <= found <= 1


class TestNegativeLogLikelihood:
    @settings(deadline=None, max_examples=50)
    @given(predictions())
    def test_equals_the_loop(self, case):
        logits, targets = case
        found = negative_log_likelihood(logits, targets)
        assert found.tolist() == pytest.approx(slow_likelihood(logits, targets), rel=1e-9, abs=1e-12)
        assert found.dtype == torch.float64
        assert (found >= 0).all()

    def test_of_no_preference_is_log_c(self):
        found = negative_log_likelihood(torch.zeros(3, 7), torch.tensor([0, 3, 6]))
        assert found.tolist() == pytest.approx([math.log(7)] * 3)


class TestFitTemperature:
    @settings(deadline=None, max_examples=40)
    @given(predictions())
    def test_no_temperature_is_better(self, case):
        logits, targets = case
        found = fit_temperature(logits, targets)
        assert SMALLEST_TEMPERATURE <= found <= LARGEST_TEMPERATURE

        def mean(log_temperature):
            doubt, likelihoods = 1 / (len(targets) + 1), []
            for label in range(logits.shape[1]):
                everywhere = torch.full_like(targets, label)
                likelihoods.append(sum(slow_likelihood(logits, everywhere, math.exp(log_temperature))))
            sure = sum(slow_likelihood(logits, targets, math.exp(log_temperature)))
            return ((1 - doubt) * sure + doubt * sum(likelihoods) / len(likelihoods)) / len(targets)

        ends = math.log(SMALLEST_TEMPERATURE), math.log(LARGEST_TEMPERATURE)
        other = minimize_scalar(mean, bounds=ends, method="bounded", options={"xatol": 1e-9})
        best = min(other.fun, mean(ends[0]), mean(ends[1]), mean(0.0))
        assert mean(math.log(found)) <= best + 1e-7 * (1 + abs(best))

    def test_by_hand(self):
        # two classes, margin 1, three of four right, doubt 1/5: p = (3 · 0.9 + 0.1)/4 at 1/T = ln(p/(1 − p))
        logits = torch.tensor([[1.0, 0.0]] * 4)
        assert fit_temperature(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(1 / math.log(0.7 / 0.3))

    def test_targets_that_all_come_first_leave_a_doubt(self):
        # doubt 1/3 over two classes: p = 5/6 at 1/T = ln 5
        logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        assert fit_temperature(logits, torch.tensor([0, 1])) == pytest.approx(1 / math.log(5))

    @pytest.mark.parametrize("true", [0.05, 0.5, 3.0, 40.0])
    def test_recovers_the_temperature_that_the_targets_were_drawn_at(self, true):
        generator = torch.Generator().manual_seed(0)
        logits = true * torch.randn(20_000, 5, generator=generator)
        targets = torch.multinomial((logits / true).softmax(1), 1, generator=generator).squeeze(1)
        assert fit_temperature(logits, targets) == pytest.approx(true, rel=0.05)

    def test_scales_with_the_logits(self):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(100, 4, generator=generator, dtype=torch.float64)
        targets = torch.randint(0, 4, (100,), generator=generator)
        targets[:70] = logits[:70].argmax(1)
        assert fit_temperature(7 * logits, targets) == pytest.approx(7 * fit_temperature(logits, targets))

    def test_is_bounded_where_there_is_no_best_one(self):
        logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        assert fit_temperature(1e-6 * logits, torch.tensor([0, 1])) == SMALLEST_TEMPERATURE
        assert fit_temperature(logits, torch.tensor([1, 0])) == LARGEST_TEMPERATURE

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_refuses_what_is_not_finite(self, bad):
        with pytest.raises(ValueError, match="expected finite"):
            fit_temperature(torch.tensor([[0.0, bad]]), torch.tensor([0]))

    def test_refuses_no_images(self):
        with pytest.raises(ValueError, match="at least one image"):
            fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
