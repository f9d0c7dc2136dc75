"""Every attack: inside the ball, effective, deterministic, without a trace, on any head and layout."""

from __future__ import annotations

import json
import random

import numpy
import pytest
import torch
from torch import nn

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.catalogue import KINDS, passes_of
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.conftest import conv_net, linear, pixels, predicted

CHEAP = {
    "apgd_ce": {"steps": 6},
    "apgd_dlr": {"steps": 6, "restarts": 2},
    "apgd_t": {"steps": 6, "targets": 2},
    "fab": {"steps": 4, "restarts": 2},
    "fab_t": {"steps": 5, "targets": 2},
    "square": {"queries": 40},
    "cw": {"steps": 30, "searches": 3},
    "deepfool": {"steps": 10},
    "pgd": {"restarts": 2},
}
EVERY = [(name, norm) for name, kind in KINDS.items() for norm in kind.norms]
EPS = {"Linf": 8 / 255, "L2": 0.6}


def attack(name, norm, **more) -> Attack:
    scale = more.pop("scale", 1.0)
    return Attack(name, norm, {**CHEAP.get(name, {}), **more}, scale)


def distances(found, images, norm):
    delta = (found.double() - images.double()).flatten(1)
    return delta.abs().amax(1) if norm == "Linf" else delta.norm(dim=1)


def trace(classifier):
    """All that an attack must not change."""
    return {
        "state": {name: tensor.clone() for name, tensor in classifier.state_dict().items()},
        "modes": {name: part.training for name, part in classifier.named_modules()},
        "trained": {name: p.requires_grad for name, p in classifier.named_parameters()},
        "gradients": [p.grad for p in classifier.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": numpy.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    }


def assert_same(found, expected):
    assert all(torch.equal(found["state"][name], value) for name, value in expected["state"].items())
    assert torch.equal(found["torch"], expected["torch"])
    for kept in ("modes", "trained", "gradients", "numpy", "python", "grad mode", "cudnn"):
        assert found[kept] == expected[kept], kept


@pytest.mark.parametrize(("name", "norm"), EVERY)
@pytest.mark.parametrize("classes", [2, 3, 10, [1, 4, 6, 8]])
def test_stays_inside_fools_and_leaves_no_trace(name, norm, classes, device, images):
    classifier = conv_net(classes if isinstance(classes, int) else 10).to(device)
    places = None if isinstance(classes, int) else torch.tensor(classes, device=device)
    victim = Victim(classifier, places)
    targets = predicted(victim, images)
    clean, before = images.clone(), trace(classifier)
    found = attack(name, norm)(victim, images, targets, EPS[norm], seed=3)
    assert_same(trace(classifier), before)
    assert torch.equal(images, clean)
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert distances(found, images, norm).max() <= EPS[norm]
    share = (predicted(victim, found) != targets).float().mean()
    assert share > (0.1 if name == "square" else 0.3), f"{name} fools {share:.0%}"
    torch.rand(1)  # wherever the global generator stands
    assert torch.equal(attack(name, norm)(victim, images, targets, EPS[norm], seed=3), found)


@pytest.mark.parametrize(("name", "norm"), EVERY)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_without_gradients(name, norm, context, classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    outside = attack(name, norm)(victim, images, targets, EPS[norm], seed=0)
    before = trace(classifier)
    with context():
        inside = attack(name, norm)(victim, images.clone(), targets.clone(), EPS[norm], seed=0)
    assert_same(trace(classifier), before)
    assert torch.equal(inside, outside)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_any_memory_layout(name, norm, classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    expected = attack(name, norm)(victim, images, targets, EPS[norm], seed=0)
    permuted = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not permuted.is_contiguous()
    assert torch.equal(attack(name, norm)(victim, permuted, targets, EPS[norm], seed=0), expected)
    classifier.to(memory_format=torch.channels_last)
    found = attack(name, norm)(victim, permuted, targets, EPS[norm], seed=0)
    assert distances(found, images, norm).max() <= EPS[norm]


class Failing(nn.Module):
    """Raises at the n-th call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, images):
        self.left -= 1
        if not self.left:
            raise RuntimeError("in the middle")
        return images


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_leaves_no_trace_after_an_error(name, norm, classifier, images):
    targets = predicted(Victim(classifier), images)
    classifier.backbone.insert(0, Failing(2))
    classifier.backbone[3].train()
    before = trace(classifier)
    with pytest.raises(RuntimeError, match="in the middle"):
        attack(name, norm)(Victim(classifier), images, targets, EPS[norm], seed=0)
    assert_same(trace(classifier), before)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_gradients_of_the_parameters_stay(name, norm, classifier, images):
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    held = [parameter.grad for parameter in classifier.parameters()]
    victim = Victim(classifier)
    attack(name, norm)(victim, images, predicted(victim, images), EPS[norm], seed=0)
    assert all(p.grad is gradient for p, gradient in zip(classifier.parameters(), held, strict=True))
    assert all(bool((gradient == 1).all()) for gradient in held)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_black_and_white_images(name, norm, classifier, device):
    images = pixels(12).to(device).round()
    victim = Victim(classifier)
    targets = predicted(victim, images)
    found = attack(name, norm)(victim, images, targets, 4 * EPS[norm], seed=0)
    assert distances(found, images, norm).max() <= 4 * EPS[norm]
    assert found.min() >= 0
    assert found.max() <= 1
    assert (predicted(victim, found) != targets).float().mean() > (0.1 if name == "square" else 0.3)


@pytest.mark.parametrize(("name", "norm"), EVERY)
@pytest.mark.parametrize("by", [-20.0, 20.0])
def test_a_shift_of_the_logits_hides_nothing(name, norm, by, classifier, images):
    """torchattacks' CW and UPGD compare with a logit of 0: lower by 20, their success is 0."""
    victim = Victim(classifier)
    targets = predicted(victim, images)
    plain = attack(name, norm)(victim, images, targets, EPS[norm], seed=0)
    classifier.criterion.by = by
    shifted = attack(name, norm)(victim, images, targets, EPS[norm], seed=0)
    expected = int((predicted(victim, plain) != targets).sum())
    assert abs(int((predicted(victim, shifted) != targets).sum()) - expected) <= 1


@pytest.mark.parametrize(("name", "norm"), [pair for pair in EVERY if not KINDS[pair[0]].by_scale])
def test_what_is_called_blind_to_scale_is(name, norm, classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    plain, scaled = (
        attack(name, norm, scale=scale)(victim, images, targets, EPS[norm], seed=0) for scale in (1.0, 1024.0)
    )
    assert int((predicted(victim, plain) != predicted(victim, scaled)).sum()) <= 1


@pytest.mark.parametrize(("name", "norm"), [pair for pair in EVERY if KINDS[pair[0]].by_scale])
def test_what_depends_on_scale_attacks_at_its_scale(name, norm, classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    assert not torch.equal(
        attack(name, norm, scale=0.01)(victim, images, targets, EPS[norm], seed=0),
        attack(name, norm, scale=100.0)(victim, images, targets, EPS[norm], seed=0),
    )


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_draws_if_it_says_so(name, norm, classifier, images):
    victim, given = Victim(classifier), {k: v for k, v in CHEAP.get(name, {}).items() if k != "restarts"}
    targets = predicted(victim, images)
    first, second = (
        Attack(name, norm, given)(victim, images, targets, EPS[norm] / 4, seed=seed) for seed in (0, 1)
    )
    assert torch.equal(first, second) is not KINDS[name].draws


@pytest.mark.parametrize(("name", "norm"), EVERY)
@pytest.mark.parametrize("blind", [lambda z: z.detach(), lambda z: (z * 0.01).round(), torch.zeros_like])
def test_a_victim_without_gradients_is_no_error(name, norm, blind, classifier, images):
    classifier.backbone.append(Blind(blind))
    victim = Victim(classifier)
    targets = predicted(victim, images)
    found = attack(name, norm)(victim, images, targets, EPS[norm], seed=0)
    assert found.isfinite().all()
    assert distances(found, images, norm).max() <= EPS[norm]


class Blind(nn.Module):
    """A function that no gradient passes."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, features):
        return self.function(features)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_misclassified_images_come_back_as_they_are(name, norm, classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    wrong = torch.arange(len(images), device=images.device) % 3 == 0
    labels = torch.where(wrong, (targets + 1) % 10, targets)
    found = attack(name, norm)(victim, images, labels, EPS[norm], seed=0)
    assert torch.equal(found[wrong], images[wrong])
    assert (found[~wrong] != images[~wrong]).flatten(1).any(dim=1).float().mean() > 0.3


def planes(classes, side, device):
    """A linear victim, 40 greyish images that the box does not bind, and the way to the nearest boundary.

    The way to class j is margin / |w_y - w_j| in the dual norm: L1 for Linf, L2 for L2.
    """
    width = 3 * side**2
    weight = torch.randn(classes, width, generator=torch.Generator().manual_seed(2))
    bias = -0.5 * weight.sum(dim=1)
    images = 0.45 + 0.1 * pixels(40, seed=3, shape=(3, side, side))
    logits = images.flatten(1) @ weight.T + bias
    targets, ways = logits.argmax(dim=1), {"Linf": [], "L2": []}
    for i, y in enumerate(targets.tolist()):
        others = [j for j in range(classes) if j != y]
        for norm, p in (("Linf", 1), ("L2", 2)):
            ways[norm].append(
                min(float((logits[i, y] - logits[i, j]) / (weight[y] - weight[j]).norm(p=p)) for j in others)
            )
    victim = Victim(linear(weight, bias, (3, side, side)).to(device))
    return (
        victim,
        images.to(device),
        targets.to(device),
        {norm: torch.tensor(way, device=device) for norm, way in ways.items()},
    )


MIXING = {"square", "upgd_dlr", "apgd_dlr", *(name for name, kind in KINDS.items() if kind.by_scale)}
"""Attacks whose steps with many classes are not those to the nearest boundary."""


@pytest.mark.parametrize(
    ("name", "norm", "classes"),
    [
        (name, norm, n)
        for name, norm in EVERY
        for n in (2, 5)
        if name not in MIXING or (n == 2 and name != "square")
    ],
)
def test_finds_exactly_what_a_linear_victim_has(name, norm, classes, device):
    victim, images, targets, ways = planes(classes, 4, device)
    way, eps = ways[norm], float(ways[norm].median())
    clear = (way / eps - 1).abs() > 0.05
    given = {"steps": 60} if "steps" in KINDS[name].takes.model_fields else {}
    found = Attack(name, norm, given)(victim, images, targets, eps, seed=0)
    assert clear.sum() > 30
    assert torch.equal((predicted(victim, found) != targets)[clear], (way < eps)[clear])


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_square_finds_nothing_that_is_not_there(norm, device):
    victim, images, targets, ways = planes(3, 6, device)
    eps = 2 * float(ways[norm].median())
    found = Attack("square", norm, {"queries": 200})(victim, images, targets, eps, seed=0)
    fooled, there = predicted(victim, found) != targets, ways[norm] < eps
    assert not (fooled & ~there).any()
    assert fooled.sum() > 0.3 * there.sum()


def test_restarts_and_more_aims_only_add(classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    for name, fewer, more in (
        ("pgd", {"steps": 2}, {"steps": 2, "restarts": 4}),
        ("apgd_t", {"steps": 3, "targets": 1}, {"steps": 3, "targets": 9}),
    ):
        few, many = (
            predicted(victim, Attack(name, "Linf", given)(victim, images, targets, 0.01, seed=0)) != targets
            for given in (fewer, more)
        )
        assert not (few & ~many).any()


def test_targets_one_at_a_time_are_those_of_all_at_once(classifier, images):
    """So that survivors can be packed anew between aims."""
    victim = Victim(classifier)
    targets = predicted(victim, images)
    for name in ("apgd_t", "fab_t"):
        all_at_once = Attack(name, "Linf", {"steps": 6, "targets": 4})(victim, images, targets, 0.01, seed=0)
        one_by_one = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        for rank in range(1, 5):
            single = Attack(name, "Linf", {"steps": 6, "targets": 1, "first": rank})
            one_by_one |= predicted(victim, single(victim, images, targets, 0.01, seed=0)) != targets
        together = predicted(victim, all_at_once) != targets
        assert abs(int(one_by_one.sum()) - int(together.sum())) <= 1
        assert together.any()


class Counting(nn.Module):
    """Counts the passes of images: a forward pass is a third of one, a backward pass two."""

    passes = 0.0

    def forward(self, images):
        self.passes += len(images) / 3
        counted = images.view_as(images)
        if counted.requires_grad:
            counted.register_hook(self.backward)
        return counted

    def backward(self, gradient):
        self.passes += len(gradient) * 2 / 3


@pytest.mark.parametrize(("name", "norm"), [pair for pair in EVERY if pair[0] != "deepfool"])
@pytest.mark.parametrize("classes", [2, 10])
def test_costs_what_the_catalogue_says_on_images_that_resist(name, norm, classes, device, images):
    classifier = conv_net(classes).to(device)
    targets = predicted(Victim(classifier), images)
    classifier.backbone.insert(0, counting := Counting())
    classifier.backbone[2].train()
    made = attack(name, norm)
    found = made(Victim(classifier), images, targets, 1e-5, seed=0)
    assert torch.equal(predicted(Victim(classifier), found), targets)
    counting.passes -= len(images) / 3  # of the line above
    assert counting.passes / len(images) == pytest.approx(
        passes_of(name, made.arguments, classes), rel=0.25, abs=1
    )


def test_no_image_no_work(classifier, images, device):
    none = torch.empty(0, dtype=torch.int64, device=device)
    found = Attack("pgd", "Linf")(Victim(classifier), images[:0], none, 0.1, seed=0)
    assert found.shape == images[:0].shape


def test_identity_names_all_of_it():
    one = Attack("apgd_ce", "Linf", {"steps": 20})
    assert json.loads(one.identity) == {
        "name": "apgd_ce",
        "norm": "Linf",
        "arguments": {"steps": 20, "restarts": 1, "eot": 1, "rho": 0.75},
        "scale": 1.0,
    }
    spelled_out = Attack("apgd_ce", "Linf", {"eot": 1, "steps": 20}, 1)
    assert one == spelled_out
    assert one.identity == spelled_out.identity
    assert hash(one) == hash(spelled_out)
    others = [
        Attack("apgd_dlr", "Linf", {"steps": 20}),
        Attack("apgd_ce", "L2", {"steps": 20}),
        Attack("apgd_ce", "Linf", {"steps": 21}),
        Attack("apgd_ce", "Linf", {"steps": 20}, scale=2.0),
    ]
    assert len({one, *others}) == 5


def test_bad_input(classifier, images):
    victim = Victim(classifier)
    targets = predicted(victim, images)
    pgd = Attack("pgd", "Linf")
    cases = [
        ("in \\[0, 1\\]", {"images": images * 255}),
        ("in \\[0, 1\\]", {"images": images - 0.5}),
        ("in \\[0, 1\\]", {"images": torch.where(images > 0.9, torch.nan, images)}),
        ("float32", {"images": (images * 255).to(torch.uint8)}),
        ("float32", {"images": images[0]}),
        ("int64", {"targets": targets[:-1]}),
        ("int64", {"targets": targets.float()}),
        ("places in \\[0, 10\\)", {"targets": targets + 10}),
        ("places in \\[0, 10\\)", {"targets": targets - 10}),
        ("eps", {"eps": 0.0}),
        ("eps", {"eps": float("nan")}),
        ("at least 2 classes", {"victim": Victim(classifier, torch.tensor([3], device=images.device))}),
    ]
    for message, change in cases:
        given = {"victim": victim, "images": images, "targets": targets, "eps": 0.1, **change}
        with pytest.raises(ValueError, match=message):
            pgd(given["victim"], given["images"], given["targets"], given["eps"], seed=0)
    with pytest.raises(ValueError, match="scale"):
        Attack("pgd", "Linf", scale=0.0)
    with pytest.raises(UserError, match="exists in no other norm"):
        Attack("cw", "Linf")
