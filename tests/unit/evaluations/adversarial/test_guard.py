"""torchattacks behind the guard: its own results, the official schedule, and no trace of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import torchattacks

import hugbench
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.guard import Served, likeliest_wrong, ranks, square, undisturbed
from hugbench.evaluations.adversarial.state import generators, moved, own_randomness
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.conftest import conv_net, pixels, predicted

EPS = {"Linf": 5 / 255, "L2": 0.2}


@pytest.fixture
def victim(device):
    return Victim(conv_net().to(device)).eval()


@pytest.fixture
def images(device):
    return pixels(40).to(device)


THEIRS = {
    "apgd_ce": lambda m, norm: torchattacks.APGD(m, norm=norm, eps=EPS[norm], steps=20),
    "apgd_dlr": lambda m, norm: torchattacks.APGD(m, norm=norm, eps=EPS[norm], steps=20, loss="dlr"),
    "apgd_t": lambda m, norm: torchattacks.APGDT(m, norm=norm, eps=EPS[norm], steps=20, n_classes=10),
    "fab": lambda m, norm: torchattacks.FAB(m, norm=norm, eps=EPS[norm], steps=20),
    "fab_t": lambda m, norm: torchattacks.FAB(
        m, norm=norm, eps=EPS[norm], steps=20, multi_targeted=True, n_classes=10
    ),
    "square": lambda m, norm: torchattacks.Square(m, norm=norm, eps=EPS[norm], n_queries=200),
}


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", THEIRS)
def test_finds_what_torchattacks_finds(name, norm, victim, images):
    """At the same budget, up to an image or two by the draws; beyond the radius FAB's count as well."""
    targets = predicted(victim, images)
    torch.manual_seed(0)
    theirs = predicted(victim, THEIRS[name](victim, norm)(images, targets)) != targets
    given = {"queries": 200, "rescale_schedule": True} if name == "square" else {"steps": 20}
    ours = predicted(victim, Attack(name, norm, given)(victim, images, targets, EPS[norm], seed=0)) != targets
    slack = 6 if name == "square" else 2
    assert 5 < theirs.sum() < 40
    assert theirs.sum() - slack <= ours.sum()
    if not name.startswith("fab"):
        assert ours.sum() <= theirs.sum() + slack


def test_squares_shrink_by_the_official_schedule(victim):
    """AutoAttack counts the queries as they are; torchattacks' default as if there were 10,000."""
    official = [
        (0, 0.8),
        (11, 0.4),
        (51, 0.2),
        (201, 0.1),
        (501, 0.05),
        (1001, 0.025),
        (2001, 0.0125),
        (4001, 0.00625),
    ]
    given = Attack("square", "Linf").arguments
    run = square(Served(victim), "Linf", 0.1, given)[0]
    attack = next(
        cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, torchattacks.Square)
    )
    assert [attack.p_selection(query) for query, _ in official] == pytest.approx([p for _, p in official])
    assert (attack.n_queries, attack.loss) == (5000, "margin")


def test_aims():
    assert list(ranks({"first": 1, "targets": 9}, 10)) == list(range(1, 10))
    assert list(ranks({"first": 1, "targets": 9}, 100)) == list(range(1, 10))
    assert list(ranks({"first": 1, "targets": 9}, 2)) == [1]
    assert list(ranks({"first": 3, "targets": 9}, 4)) == [3]
    assert list(ranks({"first": 5, "targets": 2}, 4)) == []


def test_likeliest_wrong_classes_by_a_loop(victim, images):
    targets = predicted(victim, images)
    logits = victim(images).detach()
    for rank in (1, 4, 9):
        found = likeliest_wrong(victim, images, targets, rank)
        for i, row in enumerate(logits.tolist()):
            others = sorted((j for j in range(10) if j != targets[i]), key=lambda j: -row[j])
            assert found[i] == others[rank - 1]


def test_gradients_are_those_of_images_alone(victim, images):
    with undisturbed(victim, 0):
        assert not any(parameter.requires_grad for parameter in victim.parameters())
        assert torch.is_grad_enabled()
        at = images.clone().requires_grad_()
        gradient = torch.autograd.grad(Served(victim)(at).sum(), at)[0]
    at = images.clone().requires_grad_()
    torch.testing.assert_close(gradient, torch.autograd.grad(victim(at).sum(), at)[0])
    assert gradient.is_contiguous()
    assert all(parameter.requires_grad for parameter in victim.parameters() if parameter.ndim > 1)


class OneGenerator:
    """A device module whose only generator has no number, as Apple's."""

    def __init__(self):
        self.state = torch.zeros(4, dtype=torch.uint8)

    def get_rng_state(self):
        return self.state.clone()

    def set_rng_state(self, state):
        self.state = state.clone()


def test_the_generator_of_a_device_without_numbers_is_put_back(victim, monkeypatch):
    module = OneGenerator()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    with undisturbed(victim, 0):
        module.state += 1
    assert not module.state.any()


class Numbered:
    """A device module with a generator for each of two devices; the first is the current one."""

    def __init__(self):
        self.states = [torch.zeros(4, dtype=torch.uint8) for _ in range(2)]

    def get_rng_state(self, device="cuda"):
        return self.states[torch.device(device).index or 0].clone()

    def set_rng_state(self, state, device="cuda"):
        self.states[torch.device(device).index or 0] = state.clone()


def test_the_generator_of_the_device_itself_is_put_back(monkeypatch):
    module, device = Numbered(), torch.device("cuda", 1)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    before = generators(device)
    with own_randomness(device, 0, "card"):
        module.states[1] += 1
        assert moved(before, generators(device))[-1] == "cuda"
    assert not module.states[1].any()


def test_nothing_else_imports_torchattacks():
    root = Path(hugbench.__file__).parent
    importers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "torchattacks" for name in names):
                importers.add(path.relative_to(root).as_posix())
    assert importers == {"evaluations/adversarial/guard.py"}
