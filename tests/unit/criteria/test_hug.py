"""HUG: against a loop over classes and pairs, in every option."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from hugbench.criteria.hug import HUG, PRESETS
from tests.properties import (
    compiles,
    gradients_of_parameters,
    name_of,
    permutation_equivariant,
    properties,
    rotation_invariant,
)

WIDTH, CLASSES, BATCH = 6, 5, 12
TURNED = {"proxies": "orthogonal"}
VARIANTS = [
    {},
    {"preset": "released"},
    {"preset": "paper"},
    {"uniformity": "mhs", "intra": "mhs"},
    {"uniformity": "mgd"},
    {"uniformity": "mgd", "intra": "mhs", "reduction": "sum"},
    {"s": 0.0, "intra_s": -2.0, "distance": "angle", "stop_gradient": False},
    {"s": -1.0, "distance": "squared_chord"},
    {"start": "random"},
    {"proxies": "static"},
    TURNED,
]


def example(seed: int = 0, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(BATCH, WIDTH, generator=draw, dtype=torch.float64)
    return features, torch.randint(classes - 1, (BATCH,), generator=draw)  # the last class is absent


def make(**options: object) -> HUG:
    """HUG with proxies in general position: at a uniform frame all pairs tie, and mhs has no gradient."""
    torch.manual_seed(0)
    start = "random" if options.get("proxies", "learnable") == "learnable" else "uniform"
    return HUG(WIDTH, CLASSES, **{"start": start, **options}).double()


def slow_distance(u: Tensor, v: Tensor, distance: str) -> Tensor:
    chord = (u - v).norm()
    return {"chord": chord, "squared_chord": chord**2, "angle": 2 * torch.asin(chord / 2)}[distance]


def slow_kernel(rho: Tensor, s: float) -> Tensor:
    if s == 0:
        return -torch.log(rho)
    return rho**-s if s > 0 else -(rho**-s)


def slow_hug(hug: HUG, features: Tensor, targets: Tensor) -> Tensor:
    """The loss as the docstring's equation says it, one pair, one image and one class at a time."""
    proxies = [w / w.norm() for w in hug.head()]
    pairs = [(c, k) for c in range(CLASSES) for k in range(CLASSES) if c != k]
    distances = [slow_distance(proxies[c], proxies[k], hug.distance) for c, k in pairs]
    if hug.uniformity == "mhe":
        inter = sum(slow_kernel(rho, hug.s) for rho in distances)
        inter = inter / len(pairs) if hug.reduction == "mean" else inter
    elif hug.uniformity == "mhs":
        inter = -min(distances)
    else:
        rows = [
            torch.stack([torch.exp(-(hug.eps**2) * (u - v).square().sum()) for v in proxies]) for u in proxies
        ]
        inter = -torch.logdet(torch.stack(rows))
        inter = inter / CLASSES if hug.reduction == "mean" else inter
    terms = []
    for c in range(CLASSES):
        target = proxies[c].detach() if hug.stop_gradient else proxies[c]
        costs = [
            slow_distance(x / x.norm(), target, hug.distance) ** -hug.intra_s
            for x, label in zip(features, targets, strict=True)
            if label == c
        ]
        if not costs:
            continue
        if hug.intra == "mhs":
            terms.append(max(costs))
        else:
            terms.append(sum(costs) / len(costs) if hug.reduction == "mean" else sum(costs))
    intra = sum(terms) / len(terms) if hug.reduction == "mean" else sum(terms)
    return hug.alpha * inter + hug.beta * intra


@pytest.mark.parametrize("uniformity", ["mhe", "mhs", "mgd"])
@pytest.mark.parametrize("intra", ["mhe", "mhs"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("distance", ["chord", "squared_chord", "angle"])
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_equals_a_slow_loop(uniformity, intra, reduction, distance, stop_gradient):
    exponents = itertools.product([2.0, 1.0, 0.0, -1.0] if uniformity == "mhe" else [2.0], [-1.0, -3.0])
    for seed, (s, intra_s) in enumerate(exponents):
        hug = make(
            uniformity=uniformity, intra=intra, reduction=reduction, distance=distance, s=s, intra_s=intra_s,
            stop_gradient=stop_gradient, alpha=0.7, beta=1.3, eps=0.9,
        )  # fmt: skip
        assert_equal_with_gradients(hug, *example(seed))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_variants_equal_a_slow_loop(options):
    assert_equal_with_gradients(make(**options), *example())


def assert_equal_with_gradients(hug: HUG, features: Tensor, targets: Tensor) -> None:
    inputs = [features.requires_grad_(), *hug.parameters()]
    found, expected = hug(features, targets), slow_hug(hug, features, targets)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(expected, inputs, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


NOT_FOR_ALL = {"rotation_invariant", "permutation_equivariant", "gradients_of_parameters", "compiles"}


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("holds", properties(without=NOT_FOR_ALL), ids=name_of)
def test_properties(holds, options, device):
    holds(lambda d, c: HUG(d, c, **options), device)


@pytest.mark.parametrize("options", [v for v in VARIANTS if v.get("proxies") != "orthogonal"], ids=str)
@pytest.mark.parametrize("holds", [rotation_invariant, permutation_equivariant], ids=name_of)
def test_symmetries(holds, options, device):
    holds(lambda d, c: HUG(d, c, **options), device)


@pytest.mark.parametrize("options", [v for v in VARIANTS if v.get("proxies") != "static"], ids=str)
def test_gradients_of_parameters(options, device):
    start = "uniform" if options.get("proxies") == "orthogonal" else "random"
    resolved = {**options, "stop_gradient": False, "start": start}
    gradients_of_parameters(lambda d, c: HUG(d, c, **resolved), device)


@pytest.mark.parametrize("options", [{}, {"uniformity": "mhs"}, {"uniformity": "mgd", **TURNED}], ids=str)
def test_compiles(options, device):
    compiles(lambda d, c: HUG(d, c, **options), device)


def test_the_released_preset_is_the_released_formula():
    hug = make(preset="released")
    assert (hug.alpha, hug.beta, hug.s, hug.intra_s, hug.reduction, hug.stop_gradient) == (
        1.0, 1.0, 2.0, -1.0, "mean", True
    )  # fmt: skip


@pytest.mark.parametrize(("uniformity", "beta"), [("mhe", 0.015), ("mhs", 0.015), ("mgd", 0.03)])
def test_the_paper_preset_has_the_papers_weights(uniformity, beta):
    hug = make(preset="paper", uniformity=uniformity)
    assert (hug.alpha, hug.beta, hug.reduction, hug.intra_s) == (0.15, beta, "sum", -1.0)


def test_arguments_override_the_preset_and_show():
    hug = make(preset="paper", alpha=0.5, reduction="mean", intra="mhs")
    assert (hug.alpha, hug.reduction, hug.intra, hug.beta) == (0.5, "mean", "mhs", 0.015)
    assert "alpha=0.5" in repr(hug)
    assert "beta=0.015" in repr(hug)
    assert "stop_gradient=False" in repr(hug)


@pytest.mark.parametrize("uniformity", ["mhe", "mhs", "mgd"])
def test_every_preset_is_documented_as_it_is(uniformity):
    doc = " ".join((HUG.__doc__ or "").split())
    for name, preset in PRESETS.items():
        told = doc.split(f"`{name}`: ")[1].split(")")[0]
        for argument, values in (("alpha", preset.alpha), ("beta", preset.beta)):
            special = f" or with {uniformity} {values[uniformity]:g}"
            assert f"{argument} {values['mhe']:g}" in told
            assert (values[uniformity] != values["mhe"]) == (f"{argument} {values['mhe']:g}{special}" in told)
        assert f"{preset.start} start" in told
        assert f"s {preset.s:g}, intra_s −{-preset.intra_s:g}" in told
        assert preset.reduction in told


def test_logits_are_cosines_with_the_proxies():
    hug, (features, _) = make(), example()
    logits = hug.logits(features)
    for (i, x), (c, w) in itertools.product(enumerate(features), enumerate(hug.head())):
        torch.testing.assert_close(logits[i, c], torch.dot(x, w) / (x.norm() * w.norm()))
    assert hug.bounded_logits


def test_intra_moves_no_proxy_with_stop_gradient():
    features, targets = example()
    for stop, moved in ((True, False), (False, True)):
        hug = make(alpha=0.0, stop_gradient=stop)
        hug(features, targets).backward()
        assert bool(hug.head.weight.grad.abs().sum() > 0) is moved


def test_static_proxies_are_a_buffer_and_a_simplex():
    hug = make(proxies="static")
    assert not list(hug.parameters())
    cosines = hug.proxies() @ hug.proxies().T
    torch.testing.assert_close(
        cosines, torch.where(torch.eye(CLASSES) > 0, 1.0, -0.25).double(), atol=1e-6, rtol=0
    )


def test_orthogonal_proxies_turn_rigidly():
    hug, (features, targets) = make(proxies="orthogonal"), example()
    before = hug.proxies().detach().clone()
    optimizer = torch.optim.SGD(hug.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        hug(features, targets).backward()
        optimizer.step()
    after = hug.proxies().detach()
    assert (after - before).norm() > 0.1
    torch.testing.assert_close(after @ after.T, before @ before.T)


def test_seen_classes_alone_take_part_in_inter():
    features, targets = example()
    hug = make(classes="seen", beta=0.0)
    with pytest.raises(ValueError, match=r"expected see\(classes\)"):
        hug(features, targets)
    hug.see([1])
    assert hug(features, targets).item() == 0
    hug.see(torch.tensor([3]))
    u, v = hug.proxies().detach()[[1, 3]]
    assert hug(features, targets).item() == pytest.approx(float(1 / (u - v).square().sum()))
    hug(features, targets).backward()
    assert hug.head.weight.grad.abs().sum(1).gt(0).tolist() == [False, True, False, True, False]


def test_training_images_make_classes_seen_and_the_state_keeps_them():
    hug = make(classes="seen")
    hug.start_training(torch.tensor([4, 0, 2, 0, 1]))
    assert hug.seen.tolist() == [True, False, True, False, True]
    other = make(classes="seen")
    other.load_state_dict(hug.state_dict())
    features, targets = example()
    assert torch.equal(other(features, targets), hug(features, targets))
    assert torch.equal(copy.deepcopy(hug)(features, targets), hug(features, targets))
    with pytest.raises(ValueError, match="labels in"):
        hug.see([CLASSES])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sampled_inter_term_is_unbiased(reduction, monkeypatch):
    features, targets = example()
    hug, exact = make(sampled=3, reduction=reduction), make(reduction=reduction)
    values = []
    for order in itertools.permutations(range(CLASSES)):
        monkeypatch.setattr(
            torch, "randperm", lambda n, device, order=order: torch.tensor(order, device=device)
        )
        values.append(hug(features, targets))
    torch.testing.assert_close(torch.stack(values).mean(), exact(features, targets))


@pytest.mark.parametrize("intra", ["mhe", "mhs"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_soft_targets_weigh_images_and_classes(intra, reduction):
    hug = make(alpha=0.0, beta=1.0, intra=intra, intra_s=-3.0, reduction=reduction)
    features, _ = example()
    soft = torch.softmax(2 * features[:, :CLASSES], dim=1)
    units, proxies = [x / x.norm() for x in features], hug.proxies()
    terms, present = [], 0.0
    for c in range(CLASSES):
        costs = [t[c] * (x - proxies[c]).norm() ** 3 for x, t in zip(units, soft, strict=True)]
        mass = float(soft[:, c].sum())
        present += min(1.0, mass)
        if intra == "mhs":
            terms.append(max(costs))
        else:
            terms.append(sum(costs) / max(1.0, mass) if reduction == "mean" else sum(costs))
    expected = sum(terms) / (present if reduction == "mean" else 1)
    torch.testing.assert_close(hug(features, soft), expected)


def test_a_zero_feature_is_at_the_chord_of_a_right_angle():
    hug = make(alpha=0.0, beta=1.0, intra_s=-1.0)
    loss = hug(torch.zeros(1, WIDTH, dtype=torch.float64), torch.tensor([0]))
    assert loss.item() == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "published"}, "preset: expected one of default, released, paper, found 'published'"),
        ({"uniformity": "mhx"}, "uniformity: expected one of mhe, mhs, mgd, found 'mhx'"),
        ({"intra": "mgd"}, "intra: expected one of mhe, mhs, found 'mgd'"),
        ({"reduction": "none"}, "reduction: expected one of mean, sum"),
        ({"distance": None}, "distance: expected one of chord, squared_chord, angle, found None"),
        ({"alpha": -1.0}, "alpha: expected"),
        ({"beta": math.nan}, "beta: expected"),
        ({"eps": 0.0}, "eps: expected"),
        ({"s": 20.0}, "s: expected between"),
        ({"intra_s": -99.0}, "intra_s: expected between"),
        ({"intra_s": 1.0}, "intra_s: expected below 0"),
        ({"sampled": 1}, "sampled: expected at least 2"),
        ({"sampled": 3, "uniformity": "mhs"}, "sampled: expected None"),
        ({"proxies": "static", "start": "random"}, "start: expected 'uniform' with static"),
        ({"proxies": "orthogonal", "stop_gradient": True}, "stop_gradient: expected False"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_too_many_classes_for_a_determinant_are_refused():
    with pytest.raises(ValueError, match="num_classes: expected at most 16384 with mgd, found 20000"):
        HUG(2, 20_000, uniformity="mgd")
