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
    brier_score,
    equal_mass,
    equal_width,
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


def slow_equal_mass(confidences, hits, bins):
    """(count, mean confidence, accuracy) of each bin: one rank after the other, ties by their mean hit."""
    ordered = sorted(confidences)
    used = min(bins, len(ordered))
    found = []
    for m in range(1, used + 1):
        first, last = (m - 1) * len(ordered) // used, m * len(ordered) // used
        members = ordered[first:last]
        rights = []
        for confidence in members:
            alike = [hit for c, hit in zip(confidences, hits, strict=True) if c == confidence]
            rights.append(sum(alike) / len(alike))
        found.append((len(members), sum(members) / len(members), sum(rights) / len(members)))
    return found


@st.composite
def judged(draw):
    """Confidences, many of them tied, and whether each is a hit."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60))
    return [step / 8 for step, _ in pairs], [hit for _, hit in pairs]


def tensors(case):
    return torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])


class TestEqualMass:
    @settings(deadline=None, max_examples=100)
    @given(judged(), st.integers(1, 20))
    def test_equals_the_loop(self, case, bins):
        found = equal_mass(*tensors(case), bins)
        expected = slow_equal_mass(*case, bins)
        assert found.counts.tolist() == [count for count, _, _ in expected]
        assert found.confidences.tolist() == pytest.approx([c for _, c, _ in expected], abs=1e-12)
        assert found.accuracies.tolist() == pytest.approx([a for _, _, a in expected], abs=1e-12)
        gaps = sum(count * abs(a - c) for count, c, a in expected) / len(case[0])
        assert found.error == pytest.approx(gaps, abs=1e-12)

    @settings(deadline=None, max_examples=50)
    @given(judged(), st.integers(1, 20), st.randoms(use_true_random=False))
    def test_the_order_of_the_images_does_not_matter(self, case, bins, random):
        pairs = list(zip(*case, strict=True))
        random.shuffle(pairs)
        shuffled = [c for c, _ in pairs], [hit for _, hit in pairs]
        for kind in (equal_mass, equal_width):
            one, other = kind(*tensors(case), bins), kind(*tensors(shuffled), bins)
            assert one.counts.tolist() == other.counts.tolist()
            assert one.error == pytest.approx(other.error, abs=1e-12)

    @settings(deadline=None, max_examples=50)
    @given(judged(), st.integers(1, 20))
    def test_bins_are_equally_full(self, case, bins):
        counts = equal_mass(*tensors(case), bins).counts
        assert counts.sum() == len(case[0])
        assert counts.max() - counts.min() <= 1

    def test_by_hand_with_ties_across_an_edge(self):
        # sorted .5 | 1 1 1, of which two are hits: bins (.5, 1) and (1, 1)
        found = equal_mass(*tensors(([1.0, 0.5, 1.0, 1.0], [True, False, False, True])), 2)
        assert found.counts.tolist() == [2, 2]
        assert found.confidences.tolist() == [0.75, 1.0]
        assert found.accuracies.tolist() == pytest.approx([1 / 3, 2 / 3])
        assert found.error == pytest.approx((0.75 - 1 / 3 + 1 - 2 / 3) / 2)


class TestBins:
    @pytest.mark.parametrize("kind", [equal_width, equal_mass])
    @pytest.mark.parametrize("bins", [1, 7, 15])
    def test_a_constant_predictor_is_off_by_its_distance_from_the_accuracy(self, kind, bins):
        hits = torch.arange(100) < 70
        found = kind(torch.full((100,), 0.9, dtype=torch.float64), hits, bins)
        assert found.error == pytest.approx(0.2)

    @pytest.mark.parametrize("kind", [equal_width, equal_mass])
    def test_confidences_that_are_the_chance_of_a_hit_are_calibrated(self, kind):
        generator = torch.Generator().manual_seed(0)
        confidences = torch.rand(200_000, generator=generator, dtype=torch.float64)
        hits = torch.rand(200_000, generator=generator, dtype=torch.float64) < confidences
        found = kind(confidences, hits, 15)
        assert found.error < 0.005
        assert kind(confidences, torch.ones_like(hits), 15).error == pytest.approx(0.5, abs=0.005)

    def test_the_equal_width_bins_say_where_the_images_are(self):
        found = equal_width(*tensors(([0.1, 0.25, 0.3, 1.0], [True, False, True, True])), 4)
        assert found.to_json() == {
            "counts": [2, 1, 0, 1],
            "confidences": [0.175, 0.3, 0.0, 1.0],
            "accuracies": [0.5, 1.0, 0.0, 1.0],
        }


class TestBrierScore:
    @settings(deadline=None, max_examples=50)
    @given(predictions())
    def test_equals_the_loop(self, case):
        logits, targets = case
        probabilities = logits.double().softmax(1)
        expected = [
            sum((p - (c == target)) ** 2 for c, p in enumerate(row))
            for row, target in zip(probabilities.tolist(), targets.tolist(), strict=True)
        ]
        assert brier_score(probabilities, targets).tolist() == pytest.approx(expected, abs=1e-12)

    def test_of_two_classes_is_twice_that_of_scikit_learn(self):
        from sklearn.metrics import brier_score_loss

        chance = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        targets = (torch.arange(50) % 3 == 0).long()
        found = brier_score(torch.stack([1 - chance, chance], dim=1), targets).mean()
        assert float(found) == pytest.approx(2 * brier_score_loss(targets, chance))

    def test_known_values(self):
        assert brier_score(torch.eye(4), torch.arange(4)).tolist() == [0] * 4
        assert brier_score(torch.eye(4), (torch.arange(4) + 1) % 4).tolist() == [2] * 4
        assert brier_score(torch.full((1, 4), 0.25), torch.tensor([2])).tolist() == [0.75]


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
