"""Which attacks are made, and what is refused before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.catalogue import arguments_of
from hugbench.evaluations.adversarial.ladder import (
    LADDERS,
    Rung,
    bound,
    check_arguments,
    check_data,
    effective,
    rungs,
)
from tests.unit.evaluations.conftest import InMemory, dataset

ARGUMENTS = {"attack": None, "attacks": (), "norm": "Linf", "eps": ("1/255",), "scales": (), "seed": 0}


def whole(rung):
    return rung.name, arguments_of(rung.name, "Linf", rung.given)


def test_each_ladder_is_the_beginning_of_the_next():
    screen, standard, autoattack = (LADDERS[name] for name in ("screen", "standard", "autoattack"))
    assert standard[: len(screen)] == screen
    assert autoattack[: len(standard)] == standard


def test_autoattack_has_the_official_budget():
    """Croce, Hein 2020, and the released code: 100 steps, 9 target classes, 5,000 queries, one restart."""
    made = [whole(rung) for rung in LADDERS["autoattack"]]
    ce = [given for name, given in made if name == "apgd_ce" and given["steps"] == 100]
    assert [(given["restarts"], given["rho"]) for given in ce] == [(1, 0.75)]
    aims = sorted(
        rank
        for name, given in made
        if name == "apgd_t" and given["steps"] == 100
        for rank in range(given["first"], given["first"] + given["targets"])
    )
    assert aims == list(range(1, 10))
    fab = [given for name, given in made if name == "fab_t"]
    assert [(given["steps"], given["targets"], given["first"], given["restarts"]) for given in fab] == [
        (100, 9, 1, 1)
    ]
    square = [given for name, given in made if name == "square"]
    assert [(given["queries"], given["restarts"], given["p_init"]) for given in square] == [(5000, 1, 0.8)]


@pytest.mark.parametrize("name", ["screen", "standard", "autoattack"])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_ladder_counts_for_one_figure(name, norm):
    found = rungs(name, (), norm)
    assert {rung.label for rung in found} == {name}
    assert name in bound(found)
    for rung in found:
        arguments_of(rung.name, norm, rung.given)


def test_standard_is_what_is_made_where_nothing_is_asked():
    assert rungs(None, (), "Linf") == rungs("standard", (), "Linf")


def test_single_attacks_are_figures_by_themselves():
    found = rungs(None, ("fgsm", {"pgd": {"steps": 20}}, {"pgd": None}), "Linf")
    assert [rung.label for rung in found] == ["fgsm", "pgd(steps=20)", "pgd"]
    assert "fgsm, pgd(steps=20), pgd" in bound(found)


def test_rungs_that_aim_at_no_class_are_left_out():
    far = Rung("apgd_t", {"steps": 100, "targets": 6, "first": 4})
    assert [effective(far, classes) for classes in (2, 3, 4, 5, 10)] == [False, False, False, True, True]
    assert all(effective(rung, 2) for rung in LADDERS["standard"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attack": "screen", "attacks": ("pgd",)}, ["attack: screen", "one of both"]),
        ({"attacks": ("pdg",)}, ["unknown attack", "did you mean 'pgd'"]),
        ({"attacks": ("autoattack",)}, ["not offered", "attack: autoattack"]),
        ({"attacks": ({"pgd": {"step_count": 3}},)}, ["pgd takes no such argument", "steps"]),
        ({"attacks": ({"pgd": {"steps": 0}},)}, ["attacks.pgd.steps", "found 0"]),
        ({"attacks": ({"pgd": {}, "fgsm": {}},)}, ["not an attack", "{name_of_attack: {arguments}}"]),
        ({"attacks": ({},)}, ["not an attack"]),
        ({"attacks": ("pgd", {"pgd": {"steps": 10}})}, ["the same attack twice", "'pgd'"]),
        ({"attacks": ("cw",)}, ["L2"]),
        ({"eps": ()}, ["no radius"]),
        ({"eps": ("1/255", "2/510")}, ["the same radius twice", "1/255 and 2/510"]),
        ({"eps": ("8",)}, ["Linf radius above 1", "8/255"]),
        ({"norm": "L2"}, ["Linf radius", "norm: Linf"]),
        ({"scales": (4.0, 4.0)}, ["the same scale twice"]),
    ],
)
def test_bad_arguments_are_one_sentence(changes, words):
    with pytest.raises(UserError) as caught:
        check_arguments(**{**ARGUMENTS, **changes})
    for word in words:
        assert word in str(caught.value)


def images(count=8, shape=(3, 8, 8), classes=3):
    return InMemory(torch.zeros(count, *shape, dtype=torch.uint8), torch.arange(count) % classes)


@pytest.mark.parametrize(
    ("test", "changes", "words"),
    [
        (images(0), {}, ["levels has no test images"]),
        (images(shape=(3, 8, 6)), {"attack": "autoattack"}, ["square", "8 x 6", "attack"]),
        (images(shape=(3, 8, 6)), {"attacks": ("square",)}, ["square", "attacks"]),
        (images(), {"norm": "L2", "eps": ("20",)}, ["3 x 8 x 8", "13.8564"]),
        (images(), {"attacks": ({"apgd_t": {"first": 3}},)}, ["apgd_t(first=3)", "none of 3 classes"]),
    ],
)
def test_what_the_images_cannot_take_shows_before_training(test, changes, words, tmp_path):
    with pytest.raises(UserError) as caught:
        check_data(dataset(test, test), tmp_path, **{**ARGUMENTS, **changes})
    for word in words:
        assert word in str(caught.value)


def test_what_they_can_take_is_let_through(tmp_path):
    for attack in LADDERS:
        check_data(dataset(images(), images()), tmp_path, **{**ARGUMENTS, "attack": attack})


def test_checking_imports_no_torch():
    program = "import sys, hugbench.evaluations.adversarial.ladder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
