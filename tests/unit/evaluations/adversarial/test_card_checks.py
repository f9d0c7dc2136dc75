"""Every check of the card, once where it passes and once where it does not."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from hugbench.criteria.angular import NormFace
from hugbench.evaluations.adversarial import contract, gradients, queries, radii
from hugbench.evaluations.adversarial.evidence import ALLOWED, CHANCE, Figure, at_least, judged, worst
from hugbench.evaluations.adversarial.losses import cross_entropy, margin
from hugbench.evaluations.adversarial.probe import Way, climb, direction, misled, project
from hugbench.evaluations.adversarial.victim import Victim, margins
from tests.unit.evaluations.adversarial.conftest import linear
from tests.unit.evaluations.adversarial.planted import Planted, digits, naively, soundly, survivors, trained

EPS = 16 / 255
SCALES = (1.0, 2.0)


@pytest.fixture(scope="module")
def net(device):
    return trained().to(device)


@pytest.fixture(scope="module")
def sound(net, device):
    """A figure that is right."""
    images, targets = (found[1300:1400].to(device) for found in digits())
    robust = survivors(Victim(net), images, targets, EPS, *soundly("Linf"))
    return Figure(Victim(net), images, targets, "Linf", EPS, robust, seed=0)


@pytest.fixture(scope="module")
def quantised(net, sound):
    """A figure of a victim whose gradients are zero; gradient attacks leave it as it is."""
    victim = Victim(Planted(net, before=lambda images: (images * 15).round() / 15))
    eps = 40 / 255
    right = ~misled(victim, sound.images, sound.targets)
    return replace(sound, victim=victim, eps=eps, robust=right)


def claiming_everything(figure):
    return replace(figure, robust=~misled(figure.victim, figure.images, figure.targets))


def slow_tail(count, total, share):
    """By going through every outcome."""
    found = 0.0
    for outcome in product([False, True], repeat=total):
        if sum(outcome) >= count:
            found += math.prod(share if hit else 1 - share for hit in outcome)
    return found


class TestJudged:
    @pytest.mark.parametrize(
        ("count", "total", "share"), [(0, 5, 0.3), (1, 6, 0.005), (3, 9, 0.2), (8, 8, 0.9)]
    )
    def test_the_tail_equals_the_loop(self, count, total, share):
        assert at_least(count, total, share) == pytest.approx(slow_tail(count, total, share), abs=1e-12)

    def test_the_tail_of_many_images(self):
        """10,000 choose 120 is more than a float holds."""
        assert at_least(120, 10_000, 0.005) < 1e-9
        assert at_least(40, 10_000, 0.005) == pytest.approx(0.9359, abs=1e-3)
        assert judged("name", 5000, 10_000, "told").verdict == "FAIL"

    @pytest.mark.parametrize(
        ("count", "total", "verdict"),
        [(0, 100, "PASS"), (1, 100, "PASS"), (2, 100, "WARN"), (3, 100, "FAIL"), (1, 200, "PASS"),
         (3, 200, "WARN"), (4, 200, "FAIL"), (5, 1000, "PASS"), (1, 3, "PASS"), (2, 3, "FAIL")],
    )  # fmt: skip
    def test_by_hand(self, count, total, verdict):
        check = judged("name", count, total, "told")
        assert check.verdict == verdict
        assert check.value == pytest.approx(count / total)
        assert check.threshold == pytest.approx(max(ALLOWED, 1 / total))
        assert (verdict == "FAIL") == (count > 1 and slow_poisson(count, total) < CHANCE)

    def test_the_worst(self):
        assert worst([]) == worst(["SKIP", "PASS"]) == "PASS"
        assert worst(["PASS", "WARN", "SKIP"]) == "WARN"
        assert worst(["FAIL", "WARN"]) == "FAIL"


def slow_poisson(count, total):
    """The tail of the limit for small shares."""
    rate = ALLOWED * total
    return 1 - sum(math.exp(-rate) * rate**k / math.factorial(k) for k in range(count))


class TestProbe:
    @pytest.mark.parametrize("norm", ["Linf", "L2"])
    def test_one_step_on_a_linear_victim_is_the_best_there_is(self, norm, device):
        draw = torch.Generator().manual_seed(0)
        weight = 0.3 * torch.randn(2, 12, generator=draw)
        victim = Victim(linear(weight, torch.zeros(2), (3, 2, 2)).to(device))
        images = (0.4 + 0.2 * torch.rand(9, 3, 2, 2, generator=draw)).to(device)
        targets = victim(images).argmax(dim=1)
        ways = [Way(margin, 0.1), Way(cross_entropy, 0.05), Way(cross_entropy, 0.05, scale=4.0, shift=3.0)]
        found = climb(victim, images, targets, ways, norm, steps=1, stride=1.0)
        clean = margins(victim(images).detach(), targets)
        dual = 1 if norm == "Linf" else 2
        for row, way in enumerate(ways):
            expected = clean - way.radius * (weight[0] - weight[1]).norm(dual).to(device)
            assert torch.allclose(found.margins[row], expected, atol=1e-5)
            assert torch.equal(found.fooled[row], expected < 0)

    @pytest.mark.parametrize("norm", ["Linf", "L2"])
    def test_it_stays_in_the_ball_and_the_box(self, norm, sound):
        radius = 0.3
        found = climb(sound.victim, sound.images, sound.targets, [Way(margin, radius)], norm, steps=4)
        for image, moved in zip(sound.images.cpu(), found.images[0].cpu(), strict=True):
            change = [
                abs(a - b) for a, b in zip(image.flatten().tolist(), moved.flatten().tolist(), strict=True)
            ]
            assert (max(change) if norm == "Linf" else math.sqrt(sum(c * c for c in change))) <= radius + 1e-5
            assert moved.min() >= 0
            assert moved.max() <= 1

    def test_projection_of_what_is_inside_changes_nothing(self, sound):
        images = sound.images
        for norm in ("Linf", "L2"):
            assert torch.allclose(project(images + 0.001, images, 0.5, norm), (images + 0.001).clamp(0, 1))

    def test_directions_have_length_one_also_of_tiny_gradients(self):
        slope = torch.randn(4, 1, 3, 3) * torch.tensor([1.0, 1e-30, 1e20, 0.0]).view(-1, 1, 1, 1)
        lengths = direction(slope, "L2").flatten(1).norm(dim=1)
        assert lengths.tolist() == pytest.approx([1, 1, 1, 0])
        assert torch.equal(direction(slope, "Linf"), slope.sign())

    def test_chunks_and_ways_do_not_depend_on_each_other(self, sound, monkeypatch):
        ways = [Way(margin, EPS), Way(cross_entropy, EPS, 4.0)]
        given = sound.victim, sound.images, sound.targets
        whole = climb(*given, ways, "Linf", steps=3)
        monkeypatch.setattr("hugbench.evaluations.adversarial.probe.AT_A_TIME", 64 * 7 * 2)
        parts = climb(*given, ways, "Linf", steps=3)
        alone = climb(*given, ways[1:], "Linf", steps=3)
        assert torch.equal(whole.fooled, parts.fooled)
        assert torch.equal(whole.fooled[1], alone.fooled[0])
        assert torch.allclose(whole.margins, parts.margins, atol=1e-4)

    def test_a_victim_without_any_gradient_is_no_error(self, sound, net):
        victim = Victim(Planted(net, before=torch.Tensor.detach))
        with torch.no_grad():
            found = climb(victim, sound.images, sound.targets, [Way(margin, EPS)], "Linf", steps=2)
        assert not found.slopes.any()


class TestContract:
    def test_passes(self, sound):
        assert contract.input_contract(sound).verdict == "PASS"

    @pytest.mark.parametrize(
        ("before", "after", "told"),
        [
            (lambda images: images.mul_(0.5), lambda logits: logits, "modified"),
            (lambda images: images, lambda logits: logits / logits.abs().min().clamp_max(0), "not finite"),
            (lambda images: images, lambda logits: logits[:, :1], "(B, K)"),
            (lambda images: images, lambda logits: logits.mean(dim=1), "(B, K)"),
            (lambda images: images, lambda logits: logits - logits.mean(dim=0), "others in its batch"),
            (lambda images: images.view(7, -1), lambda logits: logits, "Error"),
        ],
    )
    def test_broken(self, sound, net, before, after, told):
        check = contract.input_contract(replace(sound, victim=Victim(Planted(net, before, after))))
        assert check.verdict == "FAIL"
        assert told in check.told

    def test_a_normalisation_in_training_mode(self, sound):
        training = trained(epochs=1).to(sound.images.device).train()
        assert contract.input_contract(replace(sound, victim=Victim(training))).verdict == "FAIL"

    def test_few_images_are_a_warning(self, sound):
        assert contract.sample_size(sound).verdict == "PASS"
        few = replace(sound, images=sound.images[:20], targets=sound.targets[:20], robust=sound.robust[:20])
        assert contract.sample_size(few).verdict == "WARN"

    def test_determinism(self, sound, net):
        assert contract.determinism(sound).verdict == "PASS"
        noisy = Victim(Planted(net, before=lambda images: images + 0.15 * torch.randn_like(images)))
        torch.manual_seed(0)
        claim = claiming_everything(replace(sound, victim=noisy))
        assert contract.determinism(claim).verdict == "FAIL"
        assert contract.determinism(replace(claim, robust=torch.zeros_like(claim.robust))).verdict == "WARN"

    def test_too_little_memory_is_no_fault_of_the_victim(self, sound, net):
        def full(images):
            raise torch.OutOfMemoryError("no room")

        with pytest.raises(torch.OutOfMemoryError):
            contract.input_contract(replace(sound, victim=Victim(Planted(net, full))))


class TestGradients:
    def test_zero_gradients(self, sound, quantised):
        assert gradients.zero_gradients(sound, gradients.probe(sound, SCALES)).verdict == "PASS"
        check = gradients.zero_gradients(quantised, gradients.probe(quantised, SCALES))
        assert check.verdict == "FAIL"
        assert check.value == pytest.approx(quantised.robust.float().mean().item())

    def test_a_saturated_cross_entropy_alone_is_told(self, sound, net):
        saturated = replace(sound, victim=Victim(Planted(net, after=lambda logits: 4096 * logits)))
        check = gradients.zero_gradients(saturated, gradients.probe(saturated, (1.0,)))
        assert check.verdict == "PASS"  # the margin's gradient is there
        assert int(check.told.rpartition(" ")[2].rstrip("%)")) > 50

    def test_one_step(self, sound, net):
        assert gradients.one_step(sound, gradients.probe(sound, SCALES)).verdict == "PASS"

        def only_at_levels(images):
            off = (images * 255 - (images * 255).round()).abs().amax(dim=(1, 2, 3), keepdim=True)
            return torch.where(off < 1e-3, images, images.detach())

        odd = replace(sound, victim=Victim(Planted(net, before=only_at_levels)), eps=23 / 255)
        check = gradients.one_step(odd, gradients.probe(odd, SCALES))
        assert check.verdict == "FAIL"
        assert check.value > 0.1

    def test_loss_gap(self, sound, net):
        assert gradients.loss_gap(sound, gradients.probe(sound, SCALES)).verdict == "PASS"
        victim = Victim(Planted(net, after=lambda logits: 4096 * logits))
        saturated = replace(sound, victim=victim, eps=32 / 255)
        check = gradients.loss_gap(saturated, gradients.probe(saturated, (4096.0,)))
        assert check.verdict == "WARN"
        assert check.told == "fooled by margin more than by cross-entropy"

    def test_losses(self, sound):
        probed = gradients.probe(sound, SCALES)
        check, broken = gradients.losses(sound, probed)
        assert check.verdict == "PASS"
        check, broken = gradients.losses(claiming_everything(sound), probed)
        assert check.verdict == "FAIL"
        assert check.value == pytest.approx(int(broken.sum()) / 100)
        assert broken.sum() >= (~sound.robust & claiming_everything(sound).robust).sum() - 3

    def test_more_steps(self, sound):
        check, broken = gradients.more_steps(sound, sound.robust)
        assert check.verdict == "PASS"
        claim = claiming_everything(sound)
        check, broken = gradients.more_steps(claim, claim.robust)
        assert check.verdict == "FAIL"
        assert not (broken & ~claim.robust).any()

    def test_invariance(self, device, sound):
        check, _ = gradients.invariance(sound, sound.robust)
        assert check.verdict == "PASS"
        classifier = trained(0, NormFace).to(device)
        cosines = Victim(Planted(classifier, after=lambda logits: logits / classifier.criterion.scale))
        robust = survivors(cosines, sound.images, sound.targets, EPS, naively())
        check, broken = gradients.invariance(replace(sound, victim=cosines, robust=robust), robust)
        assert check.verdict in ("WARN", "FAIL")
        assert broken.sum() >= 2

    def test_predictions_at_the_limits_of_float32_are_not_invariant(self, sound, net):
        tiny = Victim(Planted(net, after=lambda logits: 1e-7 * logits))
        check, _ = gradients.invariance(replace(sound, victim=tiny), sound.robust)
        assert check.verdict == "FAIL"
        assert "float32" in check.told

    def test_the_hardest_are_those_with_the_lowest_margins(self, sound):
        probed = gradients.probe(sound, SCALES)
        hard = probed.hardest(sound.robust)
        assert hard.sum() == gradients.HARDEST
        assert not (hard & ~sound.robust).any()
        margin_of = dict(zip(probed.places.tolist(), probed.many.margins.amin(dim=0).tolist(), strict=True))
        inside = [margin_of[i] for i in hard.nonzero().flatten().tolist()]
        outside = [margin_of[i] for i in (sound.robust & ~hard).nonzero().flatten().tolist()]
        assert max(inside) <= min(outside)
        few = torch.zeros_like(sound.robust)
        few[:3] = True
        assert torch.equal(probed.hardest(few), few)


class TestQueries:
    def test_square(self, sound, quantised):
        assert queries.square(sound, sound.robust)[0].verdict == "PASS"
        check, broken = queries.square(quantised, quantised.robust)
        assert check.verdict == "FAIL"
        assert not (broken & ~quantised.robust).any()

    def test_square_is_skipped_where_it_has_no_squares(self, device):
        victim = Victim(linear(torch.eye(2, 4), torch.zeros(2), (1, 2, 2)).to(device))
        images, targets = (
            torch.rand(3, 1, 2, 2, device=device),
            torch.zeros(3, dtype=torch.int64, device=device),
        )
        tiny = Figure(victim, images, targets, "L2", 0.1, targets == 0, seed=0)
        assert queries.square(tiny, tiny.robust)[0].verdict == "SKIP"

    def test_transfer(self, sound, quantised, net, device):
        other = Victim(trained(1).to(device))
        assert queries.transfer(sound, sound.robust, other)[0].verdict == "PASS"
        assert queries.transfer(quantised, quantised.robust, Victim(net))[0].verdict == "FAIL"
        assert queries.transfer(sound, sound.robust, None)[0].verdict == "SKIP"

    @pytest.mark.parametrize("norm", ["Linf", "L2"])
    def test_random_signs(self, sound, quantised, norm):
        eps = {"Linf": EPS, "L2": 0.3}[norm]
        robust = survivors(sound.victim, sound.images, sound.targets, eps, *soundly(norm))
        figure = replace(sound, norm=norm, eps=eps, robust=robust)
        assert queries.random_signs(figure, robust)[0].verdict == "PASS"
        masked = replace(quantised, norm=norm, eps=quantised.eps if norm == "Linf" else 2.0)
        assert queries.random_signs(masked, quantised.robust)[0].verdict == "FAIL"


class TestRadii:
    def test_the_sweep_of_a_sound_figure(self, sound):
        found = radii.sweep(sound, gradients.probe(sound, SCALES))
        assert [check.verdict for check in found] == ["PASS", "PASS"]
        assert [check.name for check in found] == ["eps_sweep", "whole_box"]

    def test_the_sweep_in_l2_ends_at_the_diameter(self, sound):
        l2 = replace(sound, norm="L2", eps=0.5)
        assert l2.diameter == 8
        assert [check.verdict for check in radii.sweep(l2, gradients.probe(l2, SCALES))] == ["PASS", "PASS"]

    def test_accuracy_that_rises_with_eps(self, sound, net):
        def remembers(images):
            """Gives back the clean image once the change is large enough to be seen."""
            apart = (images.unsqueeze(1) - sound.images.unsqueeze(0)).abs().flatten(2).amax(dim=2)
            nearest = sound.images[apart.argmin(dim=1)]
            seen = (images - nearest).abs().amax(dim=(1, 2, 3), keepdim=True) > 18 / 255
            return torch.where(seen, nearest, images)

        victim = Victim(Planted(net, before=remembers))
        figure = replace(sound, victim=victim)
        rises, box = radii.sweep(figure, gradients.probe(figure, SCALES))
        assert rises.verdict == box.verdict == "FAIL"
        assert box.value > 0.5

    def test_eight_bits(self, sound, net):
        figure = replace(sound, eps=1.4 / 255)
        assert radii.eight_bits(figure, gradients.probe(figure, SCALES)).verdict == "PASS"

        def off_levels_is_loud(images):
            off = images * 255 - (images.detach() * 255).round()
            return images + 60 / 255 * off

        odd = replace(figure, victim=Victim(Planted(net, before=off_levels_is_loud)))
        check = radii.eight_bits(odd, gradients.probe(odd, SCALES))
        assert check.verdict == "WARN"
        assert check.value > 0.1

    def test_below_a_level_there_is_nothing_to_round_to(self, sound):
        figure = replace(sound, eps=0.5 / 255)
        check = radii.eight_bits(figure, gradients.probe(figure, SCALES))
        assert check.verdict == "SKIP"
        assert "8 bits" in check.told
