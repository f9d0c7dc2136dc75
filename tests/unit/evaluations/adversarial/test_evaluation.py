"""The evaluation as a suite calls it, with real attacks on a small net and a card of the test's own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hugbench.evaluations.adversarial import evaluation
from hugbench.evaluations.adversarial.card import Card, Check
from hugbench.evaluations.adversarial.evaluation import adversarial
from hugbench.evaluations.adversarial.sample import balanced
from hugbench.evaluations.base import Setting
from hugbench.models import Classifier
from tests.unit.evaluations.adversarial.conftest import SHAPE, conv_net
from tests.unit.evaluations.conftest import InMemory, dataset

N, CLASSES = 40, 5
EPS = ("16/255", "2/255")  # not in order


def labelled(classifier: Classifier, device) -> InMemory:
    """Images that the classifier mostly labels right: every seventh has another label."""
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (N, *SHAPE), generator=draw, dtype=torch.uint8)
    with torch.no_grad():
        targets = classifier.eval()(pixels.to(device) / 255).argmax(1).cpu()
    targets[::7] = (targets[::7] + 1) % CLASSES
    return InMemory(pixels, targets)


@pytest.fixture
def small(device) -> Classifier:
    return conv_net(CLASSES).to(device)


@pytest.fixture
def where(small, device, tmp_path) -> Setting:
    images = labelled(small, device)
    data = replace(dataset(images, images), classes=tuple("abcde"))
    return Setting(data, device, seed=0, batch_size=7, scratch=tmp_path / "scratch")


class Examiner:
    """Takes the place of the card's examination, and notes what it is asked."""

    def __init__(self, verdicts=("PASS",)):
        self.asked, self.verdicts = [], verdicts

    def __call__(self, victim, images, targets, *, norm, eps, robust, seed, reference):
        clean = victim(images).argmax(1) == targets
        self.asked.append((len(images), eps, int((robust & ~clean).sum()), seed, reference))
        verdict = self.verdicts[(len(self.asked) - 1) % len(self.verdicts)]
        return Card((Check("losses", verdict, 0.25, 0.005, "of the images"),))


@pytest.fixture
def examiner(monkeypatch) -> Examiner:
    found = Examiner()
    monkeypatch.setattr(evaluation, "examine", found)
    return found


def values(findings, metric="robust_accuracy", subset="all"):
    return {m.condition: m.value for m in findings.measurements if (m.metric, m.subset) == (metric, subset)}


def plain(findings):
    """All of it, comparable."""
    rows = {name: column.tolist() for name, column in findings.predictions.items()}
    return findings.measurements, str(rows), findings.notes, json.dumps(findings.details, allow_nan=False)


def test_numbers_rows_and_details_say_the_same(small, where, examiner):
    setting = replace(where, subsets={"even": torch.tensor([0, 2, 4])})
    found = adversarial(small, setting, attack="screen", eps=EPS, card_images=20)
    rows, targets = found.predictions, where.dataset.test.targets.numpy()
    robust = values(found)
    assert list(robust) == ["screen Linf 2/255", "screen Linf 16/255"]
    clean = values(found, "accuracy")["clean"]
    assert clean == pytest.approx(1 - 6 / N)
    assert 0 <= robust["screen Linf 16/255"] < robust["screen Linf 2/255"] <= clean
    assert {m.n for m in found.measurements if m.subset == "all"} == {N}
    for condition, value in robust.items():
        mine = rows["condition"] == condition
        assert (rows["index"][mine] == np.arange(N)).all()
        assert (rows["target"][mine] == targets).all()
        assert value == pytest.approx((~rows["fooled"][mine]).mean())
        even = np.isin(targets, [0, 2, 4])
        assert values(found, subset="even")[condition] == pytest.approx((~rows["fooled"][mine][even]).mean())
        by = rows["fooled_by"][mine]
        assert ((by == "") == ~rows["fooled"][mine]).all()
        assert ((by == "clean") == (rows["prediction"][mine] != targets)).all()
        assert (rows["margin"][mine][rows["fooled"][mine]] <= 0).all()
        assert (rows["margin"][mine][~rows["fooled"][mine]] >= 0).all()
    assert set(rows["eps"]) == {2 / 255, 16 / 255}
    stages = found.details["stages"]
    assert sum(s["fooled"] for s in stages if s["eps"] == "2/255") == round(
        (clean - robust["screen Linf 2/255"]) * N
    )
    assert stages[0]["attacked"] == N - 6
    assert [card["eps"] for card in found.details["cards"]] == ["2/255", "16/255"]
    assert {card["images"] for card in found.details["cards"]} == {20}
    assert found.notes[0] == found.details["bound"]
    assert "upper bound" in found.notes[0]
    assert len(found.details["scales"]) >= 1
    json.dumps(found.details, allow_nan=False)


def test_the_card_sees_the_figure_that_it_is_of(small, where, examiner):
    reference = conv_net(CLASSES, seed=1).to(where.device)
    found = adversarial(
        small, replace(where, reference=lambda: reference), attack="screen", eps=EPS, card_images=20
    )
    assert [entry[:3] for entry in examiner.asked] == [(20, 2 / 255, 0), (20, 16 / 255, 0)]
    assert all(entry[4].classifier is reference for entry in examiner.asked)
    assert len({entry[3] for entry in examiner.asked}) == 2
    assert {m.reliability for m in found.measurements if m.metric == "robust_accuracy"} == {"PASS"}
    assert {m.reliability for m in found.measurements if m.metric == "accuracy"} == {None}


def test_a_failed_check_stamps_the_figure_at_its_eps(small, where, monkeypatch):
    monkeypatch.setattr(evaluation, "examine", Examiner(("FAIL", "WARN")))
    found = adversarial(small, where, attack="screen", eps=EPS)
    told = {m.condition: m.reliability for m in found.measurements}
    assert told == {"screen Linf 2/255": "FAIL", "screen Linf 16/255": "WARN", "clean": None}
    assert found.notes[1] == (
        "robust_accuracy (screen Linf), its cards: 2/255 FAIL: losses 0.25 (threshold 0.005); "
        "16/255 WARN: losses 0.25 (threshold 0.005)"
    )


def test_single_attacks_have_figures_of_their_own_and_a_worst_case(small, where, examiner):
    attacks = ("fgsm", {"upgd_margin": {"steps": 3}})
    found = adversarial(small, where, attacks=attacks, eps=("2/255",))
    assert list(values(found)) == [
        "worst case Linf 2/255",
        "fgsm Linf 2/255",
        "upgd_margin(steps=3) Linf 2/255",
    ]
    rows = found.predictions
    each = {c: rows["fooled"][rows["condition"] == c] for c in values(found)}
    worst, *alone = each.values()
    assert (worst == np.any(alone, axis=0)).all()
    first = [s for s in found.details["stages"] if s["stage"] in ("fgsm", "upgd_margin(steps=3)")]
    assert [s["attacked"] for s in first] == [N - 6, N - 6]
    single = adversarial(small, replace(where, scratch=None), attacks=("fgsm",), eps=("2/255",))
    assert list(values(single)) == ["fgsm Linf 2/255"]
    assert values(single)["fgsm Linf 2/255"] == values(found)["fgsm Linf 2/255"]


def test_a_weak_attack_has_no_verdict_from_the_worst_case(small, where, examiner):
    attacks = ({"pgd": {"steps": 1, "step": 0.01, "random_start": False}}, "upgd_margin")
    found = adversarial(small, where, attacks=attacks, eps=("6/255",), scales=(1.0,))
    rows, condition = found.predictions, found.predictions["condition"]
    fooled = {name: rows["fooled"][condition == name] for name in values(found)}
    worst, weak, strong = fooled.values()
    assert (worst & ~weak).sum() > 3
    assert (worst == strong).all()
    told = [m.reliability for m in found.measurements if m.metric == "robust_accuracy"]
    assert told == ["PASS", "FAIL", "PASS"]
    of_weak, of_strong = found.details["alone"]
    assert (of_weak["value"], of_weak["verdict"]) == ((worst & ~weak).sum() / N, "FAIL")
    assert (of_strong["value"], of_strong["verdict"]) == (0, "PASS")
    assert "of single attacks" in found.notes[1]
    assert " Linf 6/255 FAIL: " in found.notes[1]
    assert "upgd_margin" not in found.notes[1]


def test_what_a_single_attack_misses_is_a_share_of_the_images_in_play(small, where, examiner):
    attacks = ({"pgd": {"steps": 1, "step": 0.01, "random_start": False}}, "upgd_margin")
    setting = replace(stream(where, 1), scratch=None)
    found = adversarial(small, setting, attacks=attacks, eps=("6/255",), scales=(1.0,))
    rows, condition = found.predictions, found.predictions["condition"]
    worst, weak, _ = (rows["fooled"][condition == name] for name in values(found))
    in_play = np.isin(where.dataset.test.targets.numpy(), [1, 3]).sum()
    assert 0 < in_play < N
    assert (worst & ~weak).sum() > 0
    assert found.details["alone"][0]["value"] == (worst & ~weak).sum() / in_play
    nobody = replace(setting, experiences=(torch.tensor([0]), *setting.experiences[1:]))
    assert adversarial(small, nobody, attacks=attacks, eps=("6/255",)).details["alone"] == []


def test_cross_entropy_is_attacked_at_every_scale_and_margins_at_one(small, where, examiner):
    found = adversarial(small, where, attack="screen", eps=("2/255",), scales=(16.0,))
    assert found.details["scales"] == [1.0, 16.0]
    assert [s["stage"] for s in found.details["stages"]] == [
        "pgd(steps=5)",
        "pgd(steps=5), logits x 16",
        "upgd_margin",
        "apgd_ce(steps=20)",
        "apgd_ce(steps=20), logits x 16",
    ]


def test_a_subset_is_balanced_and_the_same_for_all(small, where, examiner):
    targets = where.dataset.test.targets
    found = adversarial(small, where, attack="screen", eps=("2/255",), max_images=13)
    chosen = found.predictions["index"]
    assert len(chosen) == 13
    assert {m.n for m in found.measurements} == {13}
    other = conv_net(CLASSES, seed=4).to(where.device)
    again = adversarial(
        other, replace(where, scratch=None, seed=9), attack="screen", eps=("2/255",), max_images=13
    )
    assert (again.predictions["index"] == chosen).all()
    counts = torch.bincount(targets[torch.from_numpy(chosen)], minlength=CLASSES)
    have = torch.bincount(targets, minlength=CLASSES)
    assert all(c == h or c >= counts.max() - 1 for c, h in zip(counts, have, strict=True))


def test_balanced_gives_each_class_what_it_has_up_to_an_even_share():
    targets = torch.tensor([0] * 10 + [1] * 2 + [2] * 7)
    chosen = balanced(targets, 11, 0)
    assert torch.bincount(targets[chosen]).tolist() in ([5, 2, 4], [4, 2, 5])
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert balanced(targets, None, 0).tolist() == list(range(19))
    assert balanced(targets, 50, 0).tolist() == list(range(19))
    assert balanced(targets, 11, 1).tolist() != chosen.tolist()
    assert balanced(torch.empty(0, dtype=torch.int64), 4, 0).tolist() == []


def test_what_cannot_be_divided_evenly_goes_to_no_class_in_particular():
    targets = torch.arange(100).repeat_interleave(10)
    few, more = balanced(targets, 20, 0), balanced(targets, 150, 0)
    assert len(set(targets[few].tolist())) == 20
    assert 35 < targets[few].double().mean() < 65
    counts = torch.bincount(targets[more])
    assert set(counts.tolist()) == {1, 2}
    assert 10 < int((counts[:50] == 2).sum()) < 40


def stream(where, experience):
    return replace(
        where,
        experiences=(torch.tensor([3, 1]), torch.tensor([0]), torch.tensor([2, 4])),
        experience=experience,
    )


def test_in_a_stream_the_classes_seen_are_in_play_and_all_others_wrong(small, where, examiner):
    found = adversarial(small, stream(where, 1), attack="screen", eps=("2/255",))
    assert found.details["classes"] == 2
    rows, inside = found.predictions, np.isin(found.predictions["target"], [1, 3])
    assert set(rows["prediction"]) <= {1, 3}
    assert rows["fooled"][~inside].all()
    assert np.isnan(rows["margin"][~inside]).all()
    assert values(found, subset="experience:3")["screen Linf 2/255"] == 0
    seen = values(found, subset="seen")["screen Linf 2/255"]
    assert seen == pytest.approx((~rows["fooled"][inside]).mean())
    assert found.details["stages"][-1]["label"] == "screen"


def test_before_the_first_experience_all_classes_are_in_play(small, where, examiner):
    found = adversarial(small, stream(where, 0), attack="screen", eps=("2/255",))
    assert found.details["classes"] == CLASSES


def test_a_single_class_in_play_cannot_be_attacked(small, where, examiner):
    one = replace(where, experiences=(torch.tensor([3]), torch.tensor([0, 1, 2, 4])), experience=1)
    found = adversarial(small, one, attack="standard", eps=("2/255",))
    share = float((where.dataset.test.targets == 3).double().mean())
    assert values(found)["standard Linf 2/255"] == values(found, "accuracy")["clean"] == share
    assert found.details["stages"] == found.details["cards"] == examiner.asked == []
    assert found.notes == ["no attack was made: there is no other class in play"]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_killed_in_any_batch_it_ends_as_if_it_had_not_been(
    small, where, examiner, monkeypatch, tmp_path, norm
):
    eps = EPS if norm == "Linf" else ("0.1", "1")
    arguments = {"attack": "screen", "eps": eps, "norm": norm, "card_images": 20, "scales": (8.0,)}
    whole = adversarial(small, replace(where, scratch=tmp_path / "whole"), **arguments)
    add, lines = evaluation.Ledger._write, []

    def dying(self, row):
        if len(lines) in deaths:
            deaths.discard(len(lines))
            raise KeyboardInterrupt
        lines.append(row)
        add(self, row)

    deaths, starts = {0, 1, 2, 3, 9, 15, 16, 22}, 0
    monkeypatch.setattr(evaluation.Ledger, "_write", dying)
    while True:
        starts += 1
        try:
            again = adversarial(small, where, **arguments)
            break
        except KeyboardInterrupt:
            continue
    assert starts >= 7
    assert plain(again) == plain(whole)
    texts = [next((f / "adversarial").iterdir()).read_bytes() for f in (tmp_path / "whole", where.scratch)]
    assert texts[0] == texts[1]


def test_asked_again_it_repeats_itself_whatever_was_asked_since(small, where, examiner):
    passes, where = [], replace(where, batch_size=N)
    small.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))

    def cost(**arguments):
        passes.clear()
        found = adversarial(small, where, card_images=20, scales=(8.0,), **arguments)
        return found, sum(passes)

    first, _ = cost(attack="screen", eps=EPS)
    cards = len(examiner.asked)
    _, dear = cost(attack="standard", eps=EPS)
    again, cheap = cost(attack="screen", eps=EPS)
    assert plain(again) == plain(first)
    assert len(examiner.asked) == 2 * cards
    assert cheap == N < dear


def test_a_dearer_ladder_and_further_eps_pay_for_survivors_only(small, where, examiner):
    where = replace(where, batch_size=N)
    screen = adversarial(small, where, attack="screen", eps=EPS)
    standard = adversarial(small, where, attack="standard", eps=("1/255", *EPS))
    alone = adversarial(small, replace(where, scratch=None), attack="standard", eps=("1/255", *EPS))
    for stage in standard.details["stages"][: len(screen.details["stages"]) // 2 * 3]:
        assert stage["eps"] == "1/255" or stage["attacked"] == 0, stage
    paid = [sum(s["attacked"] for s in found.details["stages"]) for found in (standard, alone)]
    assert paid[0] < paid[1]
    for condition, value in values(screen).items():
        assert values(standard)[condition.replace("screen", "standard")] <= value


def test_other_weights_start_anew(small, where, examiner):
    adversarial(small, where, attack="screen", eps=EPS)
    other = conv_net(CLASSES, seed=1).to(where.device)
    found = adversarial(other, where, attack="screen", eps=EPS)
    fresh = adversarial(other, replace(where, scratch=None), attack="screen", eps=EPS)
    assert plain(found) == plain(fresh)


def test_the_classifier_and_the_generators_are_left_as_they_were(small, where, examiner):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    modes = [part.training for part in small.modules()]
    asked = [p.requires_grad for p in small.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    attacks = ("fgsm", {"apgd_t": {"steps": 5}}, {"fab_t": {"steps": 3}}, {"square": {"queries": 20}})
    adversarial(small, where, attacks=attacks, eps=("2/255",))
    assert torch.rand(()) == expected
    assert modes == [part.training for part in small.modules()]
    assert asked == [p.requires_grad for p in small.parameters()]
    assert all(p.grad is None for p in small.parameters())
    assert all(before[name].equal(value) for name, value in small.state_dict().items())
