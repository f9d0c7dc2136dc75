"""Every score against a slow loop over classes."""

from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.evaluations.ood.detectors import energy, fit_detectors, maximum_probability
from tests.unit.evaluations.conftest import dataset, levels, mirror


def drawn(count, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(1, 256, (count, classes), generator=generator)
    return levels(rows, torch.arange(count) % classes)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_probability_and_energy_equal_the_loops(device, temperature):
    logits = 3 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    odds, energies = [], []
    for row in logits.double().tolist():
        weights = [math.exp(value / temperature) for value in row]
        *rest, largest = sorted(weights)
        odds.append(math.log(largest / sum(rest)))
        energies.append(temperature * math.log(sum(weights)))
    given = logits.to(device)
    assert maximum_probability(given, temperature).tolist() == pytest.approx(odds, rel=1e-4, abs=1e-4)
    assert energy(given, temperature).tolist() == pytest.approx(energies, rel=1e-4, abs=1e-4)


def test_probabilities_that_round_to_1_keep_their_order(device):
    logits = torch.tensor([[30.0, 0.0], [40.0, 0.0], [90.0, 0.0]], device=device)
    assert (logits.softmax(1).amax(1) == 1).all()
    assert maximum_probability(logits, 1.0).tolist() == pytest.approx([30, 40, 90])


def test_a_single_class_is_always_certain(device):
    assert maximum_probability(torch.tensor([[3.0], [-5.0]], device=device), 1.0).tolist() == [0, 0]


@pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
def test_equal_the_loops(setting, device, criterion):
    train, classes = drawn(30, 4, 0), torch.arange(4)
    classifier = mirror(4, 1.0, criterion=criterion).to(device)
    found = fit_detectors(classifier, setting(dataset(train, train)), classes, 0.3, 2)
    features = torch.rand(7, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    scores = {name: value.tolist() for name, value in found.scores(features.to(device)).items()}
    logits = classifier.criterion.logits(features.to(device)).cpu()
    assert scores["max_logit"] == pytest.approx([max(row) for row in logits.tolist()])
    assert scores["msp_calibrated"] == maximum_probability(logits, 0.3).tolist()
    assert scores["energy"] == pytest.approx(energy(logits, 1.0).tolist())
    units = [torch.nn.functional.normalize(x, dim=0) for x in train.pixels.flatten(1).double()]
    means = [
        torch.stack([u for u, y in zip(units, train.targets, strict=True) if y == c]).mean(0)
        for c in range(4)
    ]
    axes = torch.eye(4).double()
    for name, directions in (("class_mean_cosine", means), ("proxy_cosine", axes)):
        expected = [max(float(x @ d / x.norm() / d.norm()) for d in directions) for x in features.double()]
        assert scores[name] == pytest.approx(expected, abs=1e-6)
    neighbours = [sorted(float(x @ u / x.norm()) for u in units)[-2] for x in features.double()]
    assert scores["knn"] == pytest.approx([-math.sqrt(2 - 2 * cosine) for cosine in neighbours], abs=1e-4)
    assert len(scores) == 9


def test_what_there_is_not_is_left_out(setting, device):
    class Headless(CrossEntropy):
        def proxies(self):
            return None

    same = levels([[9, 1], [1, 9], [9, 1], [1, 9]], [0, 1, 0, 1])
    classifier = mirror(2, criterion=Headless).to(device)
    found = fit_detectors(classifier, setting(dataset(same, same)), torch.arange(2), None, 1)
    scores = found.scores(torch.rand(3, 2, device=device))
    assert sorted(scores) == ["class_mean_cosine", "energy", "knn", "max_logit", "msp"]


def test_only_the_classes_in_play_count(setting, device):
    train = drawn(40, 4, 0)
    classes = torch.tensor([1, 3])
    found = fit_detectors(mirror(4).to(device), setting(dataset(train, train)), classes, 2.0, 1)
    assert len(found.neighbours.directions) == 20
    features = torch.tensor([[9.0, 1.0, 8.0, 2.0]], device=device)
    assert found.scores(features)["max_logit"].tolist() == [255 * 2.0]
    assert found.scores(features)["proxy_cosine"].item() == pytest.approx(2 / math.sqrt(150))


def test_features_that_are_not_finite_are_refused(setting, device):
    train = drawn(8, 3, 0)
    classifier = mirror(3).to(device)
    classifier.std.zero_()
    train.pixels[0] = 0
    with pytest.raises(ValueError, match="training images: expected finite"):
        fit_detectors(classifier, setting(dataset(train, train)), torch.arange(3), None, 1)
