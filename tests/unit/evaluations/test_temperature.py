"""Which temperature a classifier gets, and what is said where there is none."""

from __future__ import annotations

import pytest
import torch

from hugbench.criteria.hug import HUG
from hugbench.evaluations.forward import collect
from hugbench.evaluations.probability import fit_temperature
from hugbench.evaluations.temperature import scaling
from tests.unit.evaluations.conftest import dataset, levels, mirror


def drawn(count, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 256, (count, classes), generator=generator)
    return levels(rows, torch.randint(0, classes, (count,), generator=generator))


def test_fits_on_the_given_images(setting, device):
    held, where = drawn(40, 4), setting(dataset(drawn(5, 4), drawn(5, 4)))
    classifier = mirror(4, 0.01).to(device)
    found = scaling(classifier, where, held)
    outputs = collect(classifier, held, where)
    assert found.temperature == fit_temperature(outputs.logits, outputs.targets)
    assert (found.defined_at, found.fitted_on) == (1.0, 40)


def test_bounded_logits_are_log_probabilities_at_the_fitted_one_only(setting, device):
    where = setting(dataset(drawn(5, 4), drawn(5, 4)))
    found = scaling(mirror(4, 1.0, criterion=HUG).to(device), where, drawn(40, 4))
    assert found.defined_at == found.temperature
    none = scaling(mirror(4, 1.0, criterion=HUG).to(device), where, None)
    assert (none.defined_at, none.temperature) == (None, None)
    assert "logits are bounded" in none.notes[0]
    assert "dataset.validation is 0" in none.notes[0]


def test_classes_not_in_play_are_cut_off_with_their_images(setting, device):
    held, classes = drawn(60, 4), torch.tensor([0, 2])
    where = setting(dataset(drawn(5, 4), drawn(5, 4)))
    classifier = mirror(4, 0.01).to(device)
    kept = torch.tensor([i for i, label in enumerate(held.targets.tolist()) if label in (0, 2)])
    logits = collect(classifier, held, where).logits[kept][:, [0, 2]]
    expected = fit_temperature(logits, held.targets[kept] // 2)
    found = scaling(classifier, where, held, classes=classes)
    assert found.temperature == pytest.approx(expected)
    assert found.fitted_on == len(kept)


def test_held_out_images_of_other_classes_are_none(setting, device):
    held = levels([[1, 2, 3]], [1])
    where = setting(dataset(drawn(5, 3), drawn(5, 3)))
    found = scaling(mirror(3).to(device), where, held, classes=torch.tensor([0, 2]))
    assert found.temperature is None
    assert found.notes[0].startswith("not calibrated: ")
