"""What a suite may say of an attack, checked without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.catalogue import (
    KINDS,
    LEFT_OUT,
    arguments_of,
    kind_of,
    passes_of,
    refusal,
)

IMAGE = (3, 32, 32)


def test_needs_no_torch():
    code = (
        "import sys, hugbench.evaluations.adversarial.radius, hugbench.evaluations.adversarial.catalogue;"
        "print(sorted({'torch', 'torchattacks', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_official_budgets_are_the_defaults():
    """AutoAttack of Croce and Hein (version standard)."""
    assert arguments_of("apgd_ce", "Linf") == {"steps": 100, "restarts": 1, "eot": 1, "rho": 0.75}
    assert arguments_of("apgd_t", "Linf")["steps"] == 100
    assert arguments_of("apgd_t", "Linf")["targets"] == 9
    assert arguments_of("fab_t", "L2") == {
        "steps": 100, "restarts": 1, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9, "targets": 9, "first": 1,
    }  # fmt: skip
    square = {"queries": 5000, "restarts": 1, "p_init": 0.8, "rescale_schedule": False}
    assert arguments_of("square", "Linf") == square


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("apgd_c", "did you mean 'apgd_ce'"),
        ("PGDD", "did you mean 'pgd'"),
        ("squares", "did you mean 'square'"),
        ("nothing_like_it", "expected one of: apgd_ce,"),
        ("JSMA", "not offered: its ball is L0"),
        ("pgd_l2", "it is pgd with `norm: L2`"),
        ("AutoAttack", "`attack: autoattack`"),
        ("bim", "random_start: false"),
    ],
)
def test_unknown_attacks(name, words):
    with pytest.raises(UserError) as error:
        kind_of(name, key="evaluations.adversarial.attacks")
    assert words in str(error.value)
    assert str(error.value).startswith("evaluations.adversarial.attacks")


def test_every_attack_of_torchattacks_is_offered_or_left_out_for_a_reason():
    import torchattacks

    theirs = {name.lower() for name in torchattacks.__all__} - {"vanila", "multiattack", "lgv"}
    offered = {name.replace("_", "") for name in KINDS}
    assert theirs - offered - set(LEFT_OUT) == set()
    assert not set(KINDS) & set(LEFT_OUT)


@pytest.mark.parametrize(
    ("name", "norm", "given", "words"),
    [
        ("cw", "Linf", {}, "the L2 distance and exists in no other norm"),
        ("deepfool", "Linf", {}, "exists in no other norm"),
        ("pgd", "L1", {}, "unknown norm"),
        ("pgd", "linf", {}, "expected Linf or L2"),
        ("pgd", "Linf", {"steps": 0}, "pgd.steps"),
        ("pgd", "Linf", {"steps": "10"}, "pgd.steps"),
        ("pgd", "Linf", {"steps": True}, "pgd.steps"),
        ("pgd", "Linf", {"step": -1.0}, "pgd.step"),
        ("pgd", "Linf", {"step": float("nan")}, "pgd.step"),
        ("pgd", "Linf", {"stepp": 3}, "did you mean 'step'"),
        ("pgd", "Linf", {"eps": 0.1}, "takes no such argument"),
        ("pgd", "Linf", {"seed": 1}, "takes no such argument"),
        ("pgd", "Linf", {"restarts": 3, "random_start": False}, "the same attack again"),
        ("upgd_margin", "Linf", {"restarts": 3}, "the same attack again"),
        ("fgsm", "Linf", {"steps": 3}, "it takes no arguments"),
        ("square", "Linf", {"p_init": 0.9}, "square.p_init"),
        ("square", "Linf", {"p_init": 0.0}, "square.p_init"),
        ("apgd_ce", "Linf", {"rho": 1.0}, "apgd_ce.rho"),
        ("apgd_t", "Linf", {"targets": 0}, "apgd_t.targets"),
        ("fab", "Linf", {"beta": 1.5}, "fab.beta"),
        ("cw", "L2", {"lr": 0.0}, "cw.lr"),
        ("deepfool", "L2", {"candidates": 0}, "deepfool.candidates"),
    ],
)
def test_wrong_arguments(name, norm, given, words):
    with pytest.raises(UserError) as error:
        arguments_of(name, norm, given)
    assert words in str(error.value)


def test_arguments_say_where_they_stand():
    with pytest.raises(UserError, match=r"^evaluations\.adversarial\.attacks\.2\.steps: "):
        arguments_of("pgd", "Linf", {"steps": 0}, key="evaluations.adversarial.attacks.2")


@pytest.mark.parametrize("name", KINDS)
def test_filled_in_arguments_are_arguments(name):
    norm = KINDS[name].norms[0]
    once = arguments_of(name, norm)
    assert arguments_of(name, norm, once) == once
    assert passes_of(name, once, 10) > 0


@pytest.mark.parametrize(
    ("name", "norm", "classes", "shape", "words"),
    [
        ("pgd", "Linf", 1, IMAGE, "no other"),
        ("square", "L2", 10, (1, 4, 4), "no start in L2"),
        ("square", "L2", 10, (1, 12, 12), "no start in L2"),
        ("square", "Linf", 10, (3, 32, 48), "32 x 48"),
    ],
)
def test_refusals(name, norm, classes, shape, words):
    assert words in (refusal(name, norm, classes, shape) or "")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("classes", [2, 3, 100])
def test_nothing_else_is_refused(name, classes):
    for norm in KINDS[name].norms:
        assert refusal(name, norm, classes, IMAGE) is None
