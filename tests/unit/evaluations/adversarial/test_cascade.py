"""The cascade against a loop over images, one at a time; what it costs; killed and taken up again."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from hugbench.evaluations.adversarial.cascade import CLEAN, STANDS, Cascade, Stage, look
from hugbench.evaluations.adversarial.ledger import Ledger
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.standin import Push, pixels_as_logits, staircase

EPS = ("1/255", "2/255", "8/255")
N, BATCH = 23, 4
HEAD = {"version": "0", "weights": "w", "images": "i", "classes": None, "seed": 0}


def stages(*strengths, label="standard", noise=0.0):
    return [
        Stage(Push(strength, noise=noise), label, f"push {place}") for place, strength in enumerate(strengths)
    ]


def run(device, plan, ledger=None, eps=EPS, victim=None, images=None, seed=0, batch=BATCH):
    victim = victim or Victim(pixels_as_logits(device))
    images = images or staircase(N)
    clean = look(victim, images, torch.arange(len(images)), batch, device)
    labels = list(dict.fromkeys(stage.label for stage in plan))
    cascade = Cascade(victim, plan, labels, eps, ledger or Ledger(None, HEAD), seed, batch, device)
    return clean, *cascade.run(clean)


def attacked(plan):
    return [sum(stage.attack.seen) for stage in plan]


def by_hand(strengths, eps):
    """Who fools the staircase at each eps: margins are i + 1 levels, a push of s takes 2 s eps levels."""
    found = {}
    for text in eps:
        for i in range(N):
            by, smallest = STANDS, i + 1.0
            if i % 5 == 0:
                found[text, i] = CLEAN, -10.0
                continue
            for place, strength in enumerate(strengths):
                for other in eps:
                    tried = float(other.split("/")[0])
                    if tried > float(text.split("/")[0]) or by != STANDS:
                        continue
                    margin = i + 1 - 2 * strength * tried
                    smallest = min(smallest, margin)
                    if margin < 0:
                        by = place + 1
            found[text, i] = by, smallest
    return found


def test_every_image_stands_as_a_loop_over_images_says(device):
    strengths = (0.4, 0.7, 0.95)
    clean, standings, _ = run(device, stages(*strengths))
    expected = by_hand(strengths, EPS)
    assert clean.hits.tolist() == [bool(i % 5) for i in range(N)]
    for eps in EPS:
        standing = standings["standard", eps]
        for i in range(N):
            by, margin = expected[eps, i]
            assert standing.by[i] == by, (eps, i)
            assert standing.margins[i] == pytest.approx(margin, abs=1e-3)
        assert (standing.by[~clean.hits] == CLEAN).all()


def test_a_victim_at_a_smaller_eps_is_one_at_every_larger_one_without_another_try(device):
    plan = stages(0.95)
    _, standings, costs = run(device, plan)
    robust = [int(standings["standard", eps].robust.sum()) for eps in EPS]
    assert robust == sorted(robust, reverse=True)
    tried = [cost["attacked"] for cost in costs]
    hits = sum(bool(i % 5) for i in range(N))
    assert tried == [hits, robust[0], robust[1]]
    assert [cost["fooled"] for cost in costs] == [
        hits - robust[0],
        robust[0] - robust[1],
        robust[1] - robust[2],
    ]


def test_survivors_are_packed_into_full_batches(device):
    plan = stages(0.4, 0.95)
    run(device, plan, eps=EPS[:2])
    for stage in plan:
        sizes = stage.attack.seen
        ends = [place for place, size in enumerate(sizes) if size < BATCH]
        assert len(ends) <= 2  # the last of each eps, at most


def test_labels_do_not_help_each_other(device):
    weak, strong = stages(0.4, label="weak"), stages(0.95, label="strong")
    _, standings, costs = run(device, [*strong, *weak])
    alone = run(device, stages(0.4, label="weak"))[1]
    for eps in EPS:
        assert (standings["weak", eps].robust == alone["weak", eps].robust).all()
    assert costs[3]["attacked"] == costs[0]["attacked"]
    assert {cost["label"] for cost in costs} == {"weak", "strong"}


def test_classes_that_are_not_in_play_count_as_wrong(device):
    classes = torch.tensor([0, 2])
    victim = Victim(pixels_as_logits(device), classes)
    images = staircase(N)
    clean = look(victim, images, torch.arange(N), BATCH, device)
    outside = images.targets == 1
    assert not clean.hits[outside].any()
    assert clean.margins[outside].isnan().all()
    assert not clean.margins[~outside].isnan().any()
    assert set(clean.predictions.tolist()) <= {0, 2}
    assert (clean.hits[~outside] == (torch.arange(N) % 5 != 0)[~outside]).all()


def test_a_single_class_in_play_has_margins_without_end(device):
    victim = Victim(pixels_as_logits(device), torch.tensor([1]))
    clean = look(victim, staircase(N), torch.arange(N), BATCH, device)
    assert (clean.hits == (torch.arange(N) % 3 == 1)).all()
    assert clean.margins[1] == math.inf


def test_only_the_asked_images_are_looked_at(device):
    victim = Victim(pixels_as_logits(device))
    chosen = torch.tensor([3, 8, 21])
    clean = look(victim, staircase(N), chosen, BATCH, device)
    assert clean.targets.tolist() == [0, 2, 0]
    cascade = Cascade(victim, stages(0.95), ["standard"], EPS, Ledger(None, HEAD), 0, BATCH, device)
    standings, costs = cascade.run(clean)
    assert [len(standing.by) for standing in standings.values()] == [3, 3, 3]
    assert standings["standard", "8/255"].by.tolist() == [1, 1, STANDS]
    assert costs[0]["images"] == 3


def same(first, second):
    return all(
        (first[key].by == second[key].by).all() and first[key].margins.equal(second[key].margins)
        for key in first
    )


@pytest.mark.parametrize("dies_after", [0, 1, 2, 5, 7])
def test_interrupted_in_any_batch_it_ends_as_if_it_had_not_been(device, tmp_path, dies_after):
    plan = stages(0.3, 0.5, noise=0.3)
    whole = run(device, plan, Ledger(tmp_path / "whole", HEAD))
    broken = [replace(plan[0], attack=replace(plan[0].attack, seen=[], dies_after=dies_after)), plan[1]]
    with pytest.raises(KeyboardInterrupt):
        run(device, broken, Ledger(tmp_path / "broken", HEAD))
    fresh = stages(0.3, 0.5, noise=0.3)
    again = run(device, fresh, Ledger(tmp_path / "broken", HEAD))
    assert same(whole[1], again[1])
    assert whole[2] == again[2]
    assert sum(fresh[0].attack.seen) == attacked(plan)[0] - sum(broken[0].attack.seen)
    files = [next((tmp_path / name).iterdir()).read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]


def test_asked_again_nothing_is_attacked(device, tmp_path):
    first = run(device, stages(0.3, noise=0.3), Ledger(tmp_path, HEAD))
    plan = stages(0.3, noise=0.3)
    second = run(device, plan, Ledger(tmp_path, HEAD))
    assert attacked(plan) == [0]
    assert same(first[1], second[1])
    assert first[2] == second[2]


def test_a_later_plan_pays_for_survivors_only(device, tmp_path):
    passes = []
    classifier = pixels_as_logits(device)
    classifier.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    victim = Victim(classifier)

    def cost(plan, head, eps=EPS):
        passes.clear()
        standings, costs = run(device, plan, Ledger(tmp_path, head), eps, victim)[1:]
        return standings, costs, sum(passes) - N  # without the clean pass

    first, _, paid = cost(stages(0.4), {**HEAD, "plan": 1})
    hits = sum(bool(i % 5) for i in range(N))
    assert paid == hits + sum(int(first["standard", eps].robust.sum()) for eps in EPS[:2])
    second, costs, paid = cost(stages(0.4, 0.95), {**HEAD, "plan": 2})
    after = {eps: int(second["standard", eps].robust.sum()) for eps in EPS}
    survivors = int(first["standard", "1/255"].robust.sum())
    both = [first["standard", e].robust & second["standard", s].robust for s, e in pairwise(EPS)]
    assert paid == survivors + sum(int(stood.sum()) for stood in both)
    assert [c["attacked"] for c in costs[:3]] == [0, 0, 0]
    assert sum(c["known"] for c in costs[:3]) == hits + sum(
        int(first["standard", eps].robust.sum()) for eps in EPS[:2]
    )
    third, _, paid = cost(stages(0.4, 0.95), {**HEAD, "plan": 3}, ("1/255", "2/255", "4/255", "8/255"))
    assert 0 < paid <= 2 * after["2/255"] + survivors
    assert all((third["standard", eps].robust == second["standard", eps].robust).all() for eps in EPS)
    assert same(second, run(device, stages(0.4, 0.95))[1])


def test_the_seed_of_a_batch_is_its_own(device):
    first = run(device, stages(0.3, noise=0.3), seed=0)[1]
    assert same(first, run(device, stages(0.3, noise=0.3), seed=0)[1])
    assert not same(first, run(device, stages(0.3, noise=0.3), seed=1)[1])


def test_the_global_generator_stands_where_it_stood(device):
    victim = Victim(pixels_as_logits(device))
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    run(device, stages(0.4), victim=victim)
    assert torch.rand(()) == expected


def test_logits_that_are_no_numbers_make_no_margin(device, tmp_path):
    class Broken(Push):
        def __call__(self, victim, images, targets, eps, *, seed):
            return torch.full_like(images, torch.nan)

    plan = [Stage(Broken(1.0), "standard", "broken")]
    ledger = Ledger(tmp_path, HEAD)
    _, standings, _ = run(device, plan, ledger, EPS[:1])
    again = run(device, plan, Ledger(tmp_path, HEAD), EPS[:1])[1]
    assert (standings["standard", "1/255"].by == again["standard", "1/255"].by).all()
    assert not standings["standard", "1/255"].margins.isnan().any()
