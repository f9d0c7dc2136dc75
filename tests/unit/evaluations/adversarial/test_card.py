"""The card of planted victims: those that mask gradients, those that break promises, and a sound one."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional

from hugbench.criteria.angular import NormFace
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.card import ATTACKS, OPTIONAL, Card, Check, examine
from hugbench.evaluations.adversarial.state import generators, moved
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.planted import Planted, digits, naively, soundly, survivors, trained

EPS = 16 / 255


@pytest.fixture(scope="module")
def net(device):
    return trained().to(device)


@pytest.fixture(scope="module")
def sample(device):
    """100 digits that the net was not taught."""
    images, targets = digits()
    return images[1300:1400].to(device), targets[1300:1400].to(device)


@pytest.fixture(scope="module")
def sound(net, sample):
    """What is robust at EPS in truth, or very nearly."""
    return survivors(Victim(net), *sample, EPS, *soundly("Linf"))


def card_of(victim, sample, robust, *, norm="Linf", eps=EPS, reference=None, seed=0):
    return examine(victim, *sample, norm=norm, eps=eps, robust=robust, seed=seed, reference=reference)


def verdicts(card):
    return {check.name: check.verdict for check in card.checks}


class TestSound:
    @pytest.mark.parametrize(
        ("norm", "eps"), [("Linf", 0.5 / 255), ("Linf", 4 / 255), ("Linf", 16 / 255), ("L2", 0.5)]
    )
    def test_a_sound_figure_passes(self, net, sample, device, norm, eps):
        victim = Victim(net)
        robust = survivors(victim, *sample, eps, *soundly(norm))
        assert 0.2 < robust.float().mean() <= 1
        card = card_of(victim, sample, robust, norm=norm, eps=eps, reference=Victim(trained(1).to(device)))
        found = verdicts(card)
        assert {name for name, verdict in found.items() if verdict != "PASS"} <= {"eight_bits"}
        assert found["eight_bits"] == ("SKIP" if eps < 1 / 255 else "PASS")
        assert card.verdict == "PASS"

    def test_a_figure_of_zero_passes(self, net, sample):
        robust = torch.zeros_like(sample[1], dtype=torch.bool)
        assert card_of(Victim(net), sample, robust, eps=0.2).verdict == "PASS"

    def test_a_victim_that_is_always_wrong_passes_at_zero(self, net, sample):
        images, targets = sample
        wrong = (Victim(net)(images).argmax(dim=1) + 1) % 10
        card = card_of(Victim(net), (images, wrong), torch.zeros_like(targets, dtype=torch.bool))
        assert card.verdict == "PASS"

    def test_it_is_deterministic_and_plain_data(self, net, sample, sound):
        one, two = (card_of(Victim(net), sample, sound).to_json() for _ in range(2))
        assert json.dumps(one, allow_nan=False) == json.dumps(two, allow_nan=False)
        assert one["verdict"] == "PASS"
        names = [check["name"] for check in one["checks"]]
        assert names == ["sample", "input_contract", "determinism", *ATTACKS, "leftovers"]
        assert set(one["checks"][0]) == {"name", "verdict", "value", "threshold", "told"}

    def test_in_a_stream_with_two_classes_in_play(self, net, sample, device):
        images, targets = sample
        rows = (targets == 1) | (targets == 7)
        victim = Victim(net, torch.tensor([1, 7], device=device))
        places = victim.place(targets[rows])
        robust = survivors(victim, images[rows], places, EPS, *soundly("Linf"))
        card = card_of(victim, (images[rows], places), robust)
        assert {name for name, verdict in verdicts(card).items() if verdict == "WARN"} == {"sample"}
        assert card.verdict == "WARN"

    def test_no_image_is_an_error(self, net, sample):
        images, targets = sample
        with pytest.raises(ValueError, match="at least one"):
            card_of(Victim(net), (images[:0], targets[:0]), targets[:0].bool())


class TestMaskedGradients:
    def test_saturated_cross_entropy(self, net, sample):
        victim = Victim(Planted(net, after=lambda logits: 4096 * logits))
        robust = survivors(victim, *sample, EPS, naively())
        card = card_of(victim, sample, robust)
        assert card.verdict == "FAIL"
        assert verdicts(card)["losses"] == "FAIL"

    def test_a_quantiser(self, net, sample):
        victim = Victim(Planted(net, before=lambda images: (images * 15).round() / 15))
        card = card_of(victim, sample, survivors(victim, *sample, EPS, *soundly("Linf")))
        found = verdicts(card)
        assert card.verdict == "FAIL"
        assert found["zero_gradients"] == found["whole_box"] == "FAIL"

    @pytest.mark.parametrize("level", [0.02, 0.15])
    def test_noise_that_expectation_sees_through(self, net, sample, level):
        victim = Victim(Planted(net, before=lambda images: images + level * torch.randn_like(images)))
        torch.manual_seed(0)
        card = card_of(victim, sample, survivors(victim, *sample, EPS, naively()))
        assert card.verdict == "FAIL"
        assert verdicts(card)["determinism"] == "FAIL"
        assert verdicts(card)["leftovers"] == "PASS"  # what it draws itself is told by determinism

    def test_noise_without_effect_is_a_warning(self, net, sample, sound):
        victim = Victim(Planted(net, before=lambda images: images + 0.002 * torch.randn_like(images)))
        card = card_of(victim, sample, sound)
        assert verdicts(card)["determinism"] == "WARN"
        assert card.verdict != "PASS"

    def test_random_resizing(self, net, sample):
        def resized(images):
            size = int(torch.randint(6, 9, ()))
            left = int(torch.randint(0, 9 - size, ()))
            small = functional.interpolate(images, size=(size, size), mode="bilinear")
            return functional.pad(small, (left, 8 - size - left) * 2)

        victim = Victim(Planted(net, before=resized))
        torch.manual_seed(0)
        robust = survivors(victim, *sample, EPS, naively())
        one, two = (card_of(victim, sample, robust).to_json() for _ in range(2))
        assert one["verdict"] == "FAIL"
        assert one == two  # the victim's draws come from the card's seed

    def test_unscaled_cosines(self, sample, device):
        classifier = trained(0, NormFace).to(device)
        victim = Victim(Planted(classifier, after=lambda logits: logits / classifier.criterion.scale))
        card = card_of(victim, sample, survivors(victim, *sample, EPS, naively()))
        assert card.verdict in ("WARN", "FAIL")
        assert verdicts(card)["losses"] in ("WARN", "FAIL")
        whole = survivors(victim, *sample, EPS, *soundly("Linf"))
        assert card_of(victim, sample, whole).verdict == "PASS"

    def test_a_figure_that_claims_everything(self, net, sample):
        card = card_of(Victim(net), sample, torch.ones_like(sample[1], dtype=torch.bool))
        assert card.verdict == "FAIL"
        assert verdicts(card)["losses"] == verdicts(card)["worst_case"] == "FAIL"


class Leaves(Planted):
    """Does something to itself at every call."""

    def __init__(self, classifier, does):
        super().__init__(classifier)
        self.does = does

    def forward(self, images):
        logits = super().forward(images)
        self.does(self.classifier)
        return logits


def leave_mode(classifier):
    classifier.criterion.training = True


def leave_gradient(classifier):
    next(classifier.parameters()).grad = torch.ones_like(next(classifier.parameters()))


def leave_frozen(classifier):
    next(classifier.parameters()).requires_grad_(False)


def leave_weight(classifier):
    classifier.backbone[1].num_batches_tracked += 1


class TestLeftovers:
    @pytest.mark.parametrize(
        ("does", "told"),
        [
            (leave_mode, "modes"),
            (leave_gradient, "gradients"),
            (leave_frozen, "requires_grad"),
            (leave_weight, "weights"),
        ],
    )
    def test_what_is_left_fails_and_is_put_back(self, net, sample, sound, does, told):
        weights = {name: held.clone() for name, held in net.state_dict().items()}
        card = card_of(Victim(Leaves(net, does)), sample, sound)
        found = {check.name: check for check in card.checks}
        assert card.verdict == found["leftovers"].verdict == "FAIL"
        assert found["leftovers"].told == f"left changed: {told}"
        assert [v for n, v in verdicts(card).items() if n != "leftovers" and v not in ("PASS", "SKIP")] == []
        assert not any(part.training for part in net.modules())
        assert all(p.grad is None and p.requires_grad for p in net.parameters())
        assert all(torch.equal(weights[name], held) for name, held in net.state_dict().items())

    def test_generators_are_as_they_were(self, net, sample, sound, device):
        victim = Victim(Planted(net, before=lambda images: images + 0.1 * torch.randn_like(images)))
        before = generators(device)
        card_of(victim, sample, sound)
        assert moved(before, generators(device)) == []

    def test_they_are_as_they_were_after_an_error(self, net, sample, sound, device, monkeypatch):
        monkeypatch.setattr(Attack, "__call__", lambda *_, **__: 1 / 0)
        before = generators(device)
        with pytest.raises(ZeroDivisionError):
            card_of(Victim(net), sample, sound)
        assert moved(before, generators(device)) == []


def nothing(name, verdict):
    return Check(name, verdict, None, None, "")


class TestCard:
    @pytest.mark.parametrize(
        ("found", "verdict"),
        [
            ([], "PASS"),
            (["PASS", "WARN"], "WARN"),
            (["WARN", "FAIL", "PASS"], "FAIL"),
        ],
    )
    def test_the_verdict_is_the_worst(self, found, verdict):
        assert Card(tuple(nothing("losses", each) for each in found)).verdict == verdict

    def test_only_optional_checks_may_be_skipped(self):
        assert all(Card((nothing(name, "SKIP"),)).verdict == "PASS" for name in OPTIONAL)
        assert Card((nothing("losses", "SKIP"),)).verdict == "WARN"
        assert Card((nothing("losses", "SKIP"), nothing("leftovers", "FAIL"))).verdict == "FAIL"
        assert set(ATTACKS) > OPTIONAL
