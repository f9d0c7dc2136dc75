"""The accuracy evaluation: hand-computed cases, and a slow loop for every metric."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.errors import UserError
from hugbench.evaluations.accuracy import accuracy, class_means
from hugbench.evaluations.probability import expected_calibration_error, fit_temperature
from tests.unit.evaluations.conftest import dataset, levels, mirror


class Headless(CrossEntropy):
    """A criterion without proxies."""

    def proxies(self):
        return None


def values(findings, subset="all"):
    return {m.metric: m.value for m in findings.measurements if m.subset == subset}


def drawn(count, classes, seed):
    """Images of random levels whose label is mostly that of the brightest channel."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 256, (count, classes), generator=generator)
    noise = torch.randint(0, classes, (count,), generator=generator)
    wrong = torch.rand(count, generator=generator) < 0.4
    return levels(rows, torch.where(wrong, noise, rows.argmax(1)))


@pytest.fixture(params=[CrossEntropy, HUG], ids=["cross_entropy", "hug"])
def classifier(request, device):
    scale = 255.0 if request.param is CrossEntropy else 1.0
    return mirror(7, scale / 51, criterion=request.param).to(device)


class TestByHand:
    """Three classes; the logits are the levels of the pixels."""

    test = levels([[9, 1, 0], [2, 8, 0], [0, 6, 5], [3, 0, 1]], [0, 1, 2, 0])
    train = levels([[10, 0, 0], [0, 10, 0], [0, 9, 10], [0, 11, 10]], [0, 1, 2, 2])

    def test_every_number(self, setting, device):
        findings = accuracy(mirror(3).to(device), setting(dataset(self.train, self.test)))
        found = values(findings)
        assert found["accuracy"] == 3 / 4
        assert found["balanced_accuracy"] == pytest.approx((1 + 1 + 0) / 3)
        assert "top5_accuracy" not in found
        assert [values(findings, f"class:{i}") for i in range(3)] == [{"accuracy": v} for v in (1, 1, 0)]
        # the class mean of 2 is close to (0, 1, 1)/√2, so the third image is right
        assert found["nearest_class_mean_accuracy"] == 1
        assert found["nearest_proxy_accuracy"] == 3 / 4
        surprises = [
            math.log(1 + math.exp(-8) + math.exp(-9)),
            math.log(1 + math.exp(-6) + math.exp(-8)),
            math.log(1 + math.exp(1) + math.exp(-5)),
            math.log(1 + math.exp(-2) + math.exp(-3)),
        ]
        assert found["negative_log_likelihood"] == pytest.approx(sum(surprises) / 4, rel=1e-5)
        rows = findings.predictions
        assert rows["index"].tolist() == [0, 1, 2, 3]
        assert rows["target"].tolist() == [0, 1, 2, 0]
        assert rows["prediction"].tolist() == [0, 1, 1, 0]
        assert rows["nearest_class_mean"].tolist() == [0, 1, 2, 0]
        assert rows["negative_log_likelihood"].tolist() == pytest.approx(surprises, rel=1e-5)
        confidences = [math.exp(-s) for s in surprises]
        confidences[2] *= math.e
        assert rows["confidence"].tolist() == pytest.approx(confidences, rel=1e-5)

    def test_the_headline_is_the_accuracy_of_all_test_images(self, setting, device):
        first = accuracy(mirror(3).to(device), setting(dataset(self.train, self.test))).measurements[0]
        assert (first.metric, first.subset, first.condition, first.n) == ("accuracy", "all", "clean", 4)

    def test_n_counts_the_images_behind_a_number(self, setting, device):
        findings = accuracy(mirror(3).to(device), setting(dataset(self.train, self.test, self.train)))
        counts = {m.subset: m.n for m in findings.measurements if m.metric == "accuracy"}
        assert counts == {"all": 4, "class:0": 2, "class:1": 1, "class:2": 1}
        others = {m.n for m in findings.measurements if m.subset == "all" and m.metric != "temperature"}
        assert others == {4}
        assert next(m.n for m in findings.measurements if m.metric == "temperature") == len(self.train)

    def test_classes_without_test_images_do_not_count(self, setting, device):
        test = self.test.subset(torch.tensor([0, 1]))
        findings = accuracy(mirror(3).to(device), setting(dataset(self.train, test)))
        assert values(findings)["balanced_accuracy"] == 1
        assert values(findings, "class:2") == {}

    def test_a_class_without_training_images_is_no_nearest_mean(self, setting, device):
        classifier = mirror(3).to(device)
        classifier.mean.fill_(0.5)
        train = levels([[255, 255, 255], [255, 255, 0]], [0, 1])
        # opposite to class 0 and at 109 degrees to class 1; class 2, unknown, has a mean of zero
        test = levels([[0, 0, 0]], [1])
        findings = accuracy(classifier, setting(dataset(train, test)))
        assert findings.predictions["nearest_class_mean"].tolist() == [1]

    def test_without_proxies_there_is_no_nearest_proxy(self, setting, device):
        classifier = mirror(3, criterion=Headless).to(device)
        assert "nearest_proxy_accuracy" not in values(
            accuracy(classifier, setting(dataset(self.train, self.test)))
        )


class TestSubsets:
    """Accuracy of groups of classes, which whoever makes the setting names."""

    train, test = drawn(60, 7, 0), drawn(41, 7, 1)
    groups: ClassVar = {"many": torch.tensor([0, 3]), "few": torch.tensor([1, 2, 4, 5, 6])}

    def test_equals_the_slow_loop(self, classifier, setting):
        settled = replace(setting(dataset(self.train, self.test)), subsets=self.groups)
        findings = accuracy(classifier, settled)
        prediction = findings.predictions["prediction"].tolist()
        for name, labels in self.groups.items():
            hits = [
                target == guess
                for target, guess in zip(self.test.targets.tolist(), prediction, strict=True)
                if target in labels.tolist()
            ]
            found = [m for m in findings.measurements if m.subset == name]
            assert [(m.metric, m.n) for m in found] == [("accuracy", len(hits))]
            assert found[0].value == pytest.approx(sum(hits) / len(hits))

    def test_no_groups_no_numbers(self, classifier, setting):
        subsets = {
            m.subset for m in accuracy(classifier, setting(dataset(self.train, self.test))).measurements
        }
        assert subsets == {"all", *(f"class:{label}" for label in range(7))}

    def test_a_group_without_test_images_is_left_out(self, classifier, setting):
        test = self.test.subset(torch.nonzero(self.test.targets != 3).flatten())
        groups = {"few": torch.tensor([3]), "many": torch.tensor([0, 3])}
        findings = accuracy(classifier, replace(setting(dataset(self.train, test)), subsets=groups))
        assert values(findings, "few") == {}
        assert values(findings, "many") == values(findings, "class:0")


class TestBySlowLoops:
    train, test, validation = drawn(60, 7, 0), drawn(41, 7, 1), drawn(30, 7, 2)

    def logits(self, classifier, images):
        """Logits of one image after the other."""
        classifier = classifier.cpu()
        return torch.cat([classifier(row[None].float() / 255) for row in images.pixels]).detach().double()

    def test_counts(self, classifier, setting):
        findings = accuracy(classifier, setting(dataset(self.train, self.test)))
        found, rows = values(findings), self.logits(classifier, self.test).tolist()
        ranks, per_class = [], {}
        for row, target in zip(rows, self.test.targets.tolist(), strict=True):
            rank = sum(value > row[target] for value in row)
            ranks.append(rank)
            per_class.setdefault(target, []).append(rank == 0)
        assert found["accuracy"] == pytest.approx(sum(r == 0 for r in ranks) / len(ranks))
        assert found["top5_accuracy"] == pytest.approx(sum(r < 5 for r in ranks) / len(ranks))
        shares = {label: sum(hits) / len(hits) for label, hits in per_class.items()}
        assert found["balanced_accuracy"] == pytest.approx(sum(shares.values()) / len(shares))
        for label, share in shares.items():
            assert values(findings, f"class:{label}") == {"accuracy": pytest.approx(share)}

    def test_nearest_class_mean(self, classifier, setting):
        findings = accuracy(classifier, setting(dataset(self.train, self.test)))
        units = [p.flatten().double() / p.flatten().double().norm() for p in self.train.pixels]
        means = []
        for label in range(7):
            members = [u for u, t in zip(units, self.train.targets.tolist(), strict=True) if t == label]
            mean = sum(members) / len(members)
            means.append(mean / mean.norm())
        nearest = []
        for pixels in self.test.pixels:
            unit = pixels.flatten().double() / pixels.flatten().double().norm()
            distances = [float((unit - mean).norm()) for mean in means]
            nearest.append(distances.index(min(distances)))
        assert findings.predictions["nearest_class_mean"].tolist() == nearest
        share = sum(a == b for a, b in zip(nearest, self.test.targets.tolist(), strict=True)) / 41
        assert values(findings)["nearest_class_mean_accuracy"] == pytest.approx(share)
        found, known = class_means(classifier, setting(dataset(self.train, self.test)))
        torch.testing.assert_close(found.double(), torch.stack(means), rtol=1e-5, atol=1e-6)
        assert known.all()

    def test_calibrated(self, classifier, setting):
        findings = accuracy(classifier, setting(dataset(self.train, self.test, self.validation)), bins=9)
        found = values(findings)
        temperature = fit_temperature(self.logits(classifier, self.validation), self.validation.targets)
        assert found["temperature"] == pytest.approx(temperature, rel=1e-4)
        probabilities = (self.logits(classifier, self.test) / temperature).softmax(1)
        likelihoods = [float(p[t]) for p, t in zip(probabilities, self.test.targets, strict=True)]
        surprise = -sum(math.log(p) for p in likelihoods) / len(likelihoods)
        assert found["negative_log_likelihood_calibrated"] == pytest.approx(surprise, rel=1e-4)
        error = expected_calibration_error(probabilities, self.test.targets, 9)
        assert found["expected_calibration_error_calibrated"] == pytest.approx(error, rel=1e-4)
        assert findings.notes == ["temperature fitted on 30 held-out training images"]
        assert findings.predictions["confidence"].max() <= 1


class TestProbabilities:
    """Which logits are taken for log-probabilities."""

    train, test, validation = drawn(40, 7, 3), drawn(30, 7, 4), drawn(30, 7, 5)
    both = ("negative_log_likelihood", "expected_calibration_error")
    calibrated = tuple(f"{name}_calibrated" for name in both)

    def find(self, criterion, setting, device, validation, **arguments):
        classifier = mirror(7, 5.0, criterion=criterion).to(device)
        data = setting(dataset(self.train, self.test, self.validation if validation else None))
        return accuracy(classifier, data, **arguments)

    def test_unbounded_without_validation(self, setting, device):
        findings = self.find(CrossEntropy, setting, device, False)
        assert set(self.both) <= set(values(findings))
        assert not {"temperature", *self.calibrated} & set(values(findings))
        assert findings.notes == [
            "not calibrated: there are no held-out training images to fit a temperature on "
            "(dataset.validation is 0)"
        ]

    def test_unbounded_with_validation(self, setting, device):
        without = values(self.find(CrossEntropy, setting, device, False))
        found = values(self.find(CrossEntropy, setting, device, True))
        assert {name: found[name] for name in self.both} == {name: without[name] for name in self.both}
        assert found["negative_log_likelihood_calibrated"] != found["negative_log_likelihood"]

    def test_bounded_without_validation(self, setting, device):
        findings = self.find(HUG, setting, device, False)
        assert not {"temperature", *self.both, *self.calibrated} & set(values(findings))
        assert set(findings.predictions) == {"index", "target", "prediction", "nearest_class_mean"}
        assert len(findings.notes) == 1
        assert "logits are bounded" in findings.notes[0]
        assert "dataset.validation is 0" in findings.notes[0]

    def test_bounded_with_validation(self, setting, device):
        found = values(self.find(HUG, setting, device, True))
        for plain, calibrated in zip(self.both, self.calibrated, strict=True):
            assert found[plain] == found[calibrated]

    @pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
    def test_the_validation_split_is_not_judged_at_its_own_temperature(self, criterion, setting, device):
        findings = self.find(criterion, setting, device, True, split="validation")
        assert not {"temperature", *self.calibrated} & set(values(findings))
        assert (self.both[0] in values(findings)) == (criterion is CrossEntropy)
        assert "fitted on the validation images says nothing about them" in findings.notes[0]
        assert findings.predictions["target"].tolist() == self.validation.targets.tolist()

    def test_a_temperature_at_the_end_of_its_range_is_said(self, setting, device):
        right = levels(torch.eye(7) * 255, torch.arange(7))
        wrong = levels(torch.eye(7) * 255, (torch.arange(7) + 1) % 7)
        classifier = mirror(7, 1.0, criterion=HUG).to(device)
        findings = accuracy(classifier, setting(dataset(right, right, wrong)))
        assert values(findings)["temperature"] == 1e3
        assert findings.notes == [
            "temperature fitted on 7 held-out training images, "
            "where the best one lies beyond this end of its range, 1000"
        ]


@pytest.mark.parametrize("empty", [None, levels(torch.zeros(1, 3), [0]).subset(torch.arange(0))])
def test_a_missing_split_is_refused(empty, setting, device):
    test = TestByHand.test
    with pytest.raises(UserError, match=r"no validation images.*dataset\.validation above 0"):
        accuracy(mirror(3).to(device), setting(dataset(test, test, empty)), split="validation")


def test_the_classifier_is_left_as_it_was(setting, device):
    classifier = mirror(3).to(device).train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    random = torch.get_rng_state()
    accuracy(classifier, setting(dataset(TestByHand.train, TestByHand.test, TestByHand.train)))
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(part.training for part in classifier.modules())
    assert all(parameter.grad is None for parameter in classifier.parameters())
