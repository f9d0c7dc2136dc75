"""Class weights: as numbers, and in every loss that takes them, by slow loops."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from hugbench import registry, signatures
from hugbench.criteria.angular import ArcFace, CosFace, NormFace
from hugbench.criteria.build import load_class
from hugbench.criteria.hug import HUG
from hugbench.criteria.long_tail import LDAM, BalancedSoftmax, ClassBalanced
from hugbench.criteria.regression import SigmoidBCE
from hugbench.criteria.softmax import CrossEntropy
from hugbench.criteria.weights import (
    class_weights,
    effective_number_weights,
    first_epoch,
    inverse_frequency_weights,
    weighted_mean,
    weighted_sum,
)
from hugbench.suite.plugins import CriterionSpec
from hugbench.suite.schema import ClassWeights
from tests.unit.criteria.slow import (
    CLASSES,
    COUNTS,
    WIDTH,
    batch,
    close,
    cosine,
    linear,
    one_hot_rows,
    rows,
    softmax_loss,
)

WEIGHTS = [0.2, 0.4, 0.7, 1.2, 2.5]


def kind_of(name):
    return load_class(CriterionSpec(name, "registered", registry.CRITERIA[name], "{}", "{}"))


KINDS = {name: kind_of(name) for name in registry.CRITERIA}
WEIGHED = sorted(name for name, kind in KINDS.items() if kind.weighting == "recipe")
UNWEIGHED = sorted(set(KINDS) - set(WEIGHED))


def made(kind, device, weights=WEIGHTS, **arguments):
    torch.manual_seed(0)
    criterion = kind(WIDTH, CLASSES, **arguments).double().to(device)
    criterion.start_training(torch.tensor(COUNTS, device=device))
    criterion.weigh(None if weights is None else torch.tensor(weights, device=device))
    return criterion


@pytest.fixture(params=["labels", "soft targets"])
def example(request, device):
    features, labels, soft = batch(device)
    return features, labels if request.param == "labels" else soft


def slow_mean(losses, targets, weights):
    """Σ_i v_i ℓ_i / Σ_i v_i with v_i = Σ_c t_ic v_c."""
    own = [sum(t * w for t, w in zip(row, weights, strict=True)) for row in targets]
    return sum(w * loss for w, loss in zip(own, losses, strict=True)) / sum(own)


def test_effective_number_weights_by_their_formula():
    spec = ClassWeights(kind="effective_number", beta=0.99)
    raw = [(1 - 0.99) / (1 - 0.99**n) for n in COUNTS]
    expected = [CLASSES * w / sum(raw) for w in raw]
    assert class_weights(torch.tensor(COUNTS), spec).tolist() == pytest.approx(expected)
    assert sum(expected) == pytest.approx(CLASSES)


def test_those_of_ldams_code_on_long_tailed_cifar_10():
    """Its `effective_num = 1.0 - np.power(beta, cls_num_list)`, `(1.0 - beta) / effective_num`, summing to C."""
    counts = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    effective = [1.0 - math.pow(0.9999, n) for n in counts]
    raw = [(1.0 - 0.9999) / e for e in effective]
    found = class_weights(torch.tensor(counts), ClassWeights(kind="effective_number"))
    assert found.tolist() == pytest.approx([w / sum(raw) * len(counts) for w in raw])


def test_inverse_frequency_weights_by_their_formula():
    raw = [1 / n for n in COUNTS]
    expected = [CLASSES * w / sum(raw) for w in raw]
    assert class_weights(torch.tensor(COUNTS), ClassWeights(kind="inverse_frequency")).tolist() == (
        pytest.approx(expected)
    )


@pytest.mark.parametrize("function", [inverse_frequency_weights, lambda n: effective_number_weights(n, 0.9)])
def test_a_class_without_images_counts_as_one_image(function):
    assert function(torch.tensor([9, 0, 4])).tolist() == function(torch.tensor([9, 1, 4])).tolist()
    assert function(torch.tensor([6, 6, 6])).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("after", "epochs", "first"),
    [(0.0, 200, 0), (0.8, 200, 160), (0.8, 10, 8), (0.8, 1, 1), (0.5, 1, 0), (0.999, 10, 10)],
)
def test_the_first_epoch_after_a_fraction(after, epochs, first):
    assert first_epoch(after, epochs) == first


def test_weighted_mean_and_sum_by_hand(device):
    losses = torch.tensor([1.0, 2.0, 4.0], device=device)
    labels = torch.tensor([1, 0, 1], device=device)
    soft = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], device=device)
    weights = torch.tensor([3.0, 1.0], device=device)
    assert weighted_mean(losses, labels, weights).item() == pytest.approx((1 + 3 * 2 + 4) / 5)
    assert weighted_sum(losses, labels, weights).item() == pytest.approx(1 + 3 * 2 + 4)
    assert weighted_mean(losses, soft, weights).item() == pytest.approx((1 + 3 * 2 + 2 * 4) / 6)
    assert weighted_mean(losses, labels, None).item() == pytest.approx(7 / 3)
    assert weighted_sum(losses, labels, None).item() == 7


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_the_slow_loop(smoothing, example, device):
    features, targets = example
    criterion = made(CrossEntropy, device, label_smoothing=smoothing)
    target_rows = one_hot_rows(targets)
    smooth = [[(1 - smoothing) * t + smoothing / CLASSES for t in row] for row in target_rows]
    losses = [softmax_loss(z, t) for z, t in zip(linear(criterion, features), smooth, strict=True)]
    close(criterion(features, targets), slow_mean(losses, target_rows, criterion.recipe_weights.tolist()))


def test_cross_entropy_with_labels_is_torchs_own_weighting(device):
    features, labels, _ = batch(device)
    criterion = made(CrossEntropy, device)
    weights = criterion.recipe_weights.double()
    expected = torch.nn.functional.cross_entropy(criterion.logits(features), labels, weight=weights)
    torch.testing.assert_close(criterion(features, labels), expected)


def test_balanced_softmax_equals_the_slow_loop(example, device):
    features, targets = example
    criterion = made(BalancedSoftmax, device)
    prior = criterion.log_prior.tolist()
    logits = [[z + p for z, p in zip(row, prior, strict=True)] for row in linear(criterion, features)]
    losses = [softmax_loss(z, t) for z, t in zip(logits, one_hot_rows(targets), strict=True)]
    expected = slow_mean(losses, one_hot_rows(targets), criterion.recipe_weights.tolist())
    close(criterion(features, targets), expected)


@pytest.mark.parametrize("kind", [NormFace, CosFace, ArcFace])
def test_cosine_losses_equal_the_slow_loop(kind, example, device):
    features, targets = example
    criterion = made(kind, device, scale=5.0)
    losses = []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        logits = []
        for w, t in zip(rows(criterion.weight), target, strict=True):
            cos = cosine(x, w)
            if kind is CosFace:
                cos -= 0.35 * t
            if kind is ArcFace:
                margin = 0.5 * t
                angle = math.acos(cos) + margin
                cos = math.cos(angle) if angle <= math.pi else cos - margin * math.sin(margin)
            logits.append(5.0 * cos)
        losses.append(softmax_loss(logits, target))
    expected = slow_mean(losses, one_hot_rows(targets), criterion.recipe_weights.tolist())
    assert criterion(features, targets).item() == pytest.approx(expected, rel=1e-6)


def test_sigmoid_bce_equals_the_slow_loop(example, device):
    features, targets = example
    criterion = made(SigmoidBCE, device)
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        shares = [1 / (1 + math.exp(-v)) for v in z]
        pairs = zip(shares, target, strict=True)
        losses.append(-sum(t * math.log(p) + (1 - t) * math.log(1 - p) for p, t in pairs))
    expected = slow_mean(losses, one_hot_rows(targets), criterion.recipe_weights.tolist())
    close(criterion(features, targets), expected)


@pytest.mark.parametrize("intra", ["mhe", "mhs"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_hug_weighs_the_classes_of_intra(intra, reduction, device):
    features, labels, _ = batch(device)
    features, labels = features[:9], labels[:9] % 4  # class 4 is not in the batch
    criterion = made(HUG, device, intra=intra, reduction=reduction, intra_s=-2.0, alpha=0.7, beta=1.3)
    weights = criterion.recipe_weights.tolist()
    terms = {}
    for x, label in zip(rows(features), labels.tolist(), strict=True):
        proxy = rows(criterion.proxies())[label]
        terms.setdefault(label, []).append(2 - 2 * cosine(x, proxy))
    of_class = {
        label: max(values) if intra == "mhs" else sum(values) / (len(values) if reduction == "mean" else 1)
        for label, values in terms.items()
    }
    total = sum(weights[label] * value for label, value in of_class.items())
    if reduction == "mean":
        total /= sum(weights[label] for label in of_class)
    criterion.beta = 0.0
    inter = criterion(features, labels).item()
    criterion.beta = 1.3
    assert criterion(features, labels).item() == pytest.approx(inter + 1.3 * total, rel=1e-9)


@pytest.mark.parametrize("name", WEIGHED)
def test_the_loss_is_the_weighted_mean_of_what_each_class_gives_alone(name, device):
    """Of images for the others, of classes for HUG; what does not depend on the images stays."""
    features, labels, _ = batch(device)
    criterion, plain = made(KINDS[name], device), made(KINDS[name], device, weights=None)
    weights = criterion.recipe_weights.tolist()
    total = mass = 0.0
    for label in range(CLASSES):
        own = labels == label
        count = 1 if name == "hug" else int(own.sum())
        total += weights[label] * count * plain(features[own], labels[own]).item()
        mass += weights[label] * count
    assert criterion(features, labels).item() == pytest.approx(total / mass, rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(WEIGHED) - {"hug"}))
def test_a_weight_of_two_is_every_image_twice(name, device):
    features, labels, _ = batch(device)
    doubled = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0], device=device)
    criterion = made(KINDS[name], device, weights=doubled.tolist())
    twice = torch.repeat_interleave(torch.arange(len(labels), device=device), doubled[labels].long())
    expected = made(KINDS[name], device, weights=None)(features[twice], labels[twice])
    torch.testing.assert_close(criterion(features, labels), expected, rtol=1e-9, atol=1e-12)


def test_summed_prototypes_weigh_the_sum(device):
    features, labels, _ = batch(device)
    kind = KINDS["hyperspherical_prototypes"]
    criterion, plain = (made(kind, device, w, reduction="sum") for w in (WEIGHTS, None))
    weights = criterion.recipe_weights.tolist()
    parts = [plain(features[[i]], labels[[i]]).item() for i in range(len(labels))]
    expected = sum(weights[label] * part for label, part in zip(labels.tolist(), parts, strict=True))
    close(criterion(features, labels), expected)


@pytest.mark.parametrize("name", WEIGHED)
def test_equal_weights_change_nothing(name, example, device):
    features, targets = example
    plain, even = made(KINDS[name], device, None), made(KINDS[name], device, [1.0] * CLASSES)
    torch.testing.assert_close(even(features, targets), plain(features, targets), rtol=1e-9, atol=1e-12)
    weighed = made(KINDS[name], device)(features, targets)
    assert not torch.isclose(weighed, plain(features, targets))


@pytest.mark.parametrize("name", WEIGHED)
def test_hard_labels_are_one_hot_soft_targets(name, device):
    features, labels, _ = batch(device)
    criterion = made(KINDS[name], device)
    soft = torch.nn.functional.one_hot(labels, CLASSES).double()
    torch.testing.assert_close(criterion(features, soft), criterion(features, labels), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHED)
def test_weights_come_and_go_and_are_no_state(name, device):
    features, labels, _ = batch(device)
    criterion, plain = made(KINDS[name], device), made(KINDS[name], device, None)
    assert criterion.state_dict().keys() == plain.state_dict().keys()
    twin = copy.deepcopy(criterion)
    torch.testing.assert_close(twin(features, labels), criterion(features, labels))
    criterion.weigh(None)
    assert torch.equal(criterion(features, labels), plain(features, labels))


@pytest.mark.parametrize("name", ["cross_entropy", "hug", "sigmoid_bce"])
def test_the_weighted_loss_compiles_to_one_graph(name, device):
    features, labels, _ = batch(device)
    criterion = made(KINDS[name], device).float()
    torch.compiler.reset()
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    features = features.float()
    torch.testing.assert_close(compiled(features, labels), criterion(features, labels))


@pytest.mark.parametrize("name", [name for name in WEIGHED if KINDS[name].by_class])
def test_among_some_classes_these_keep_their_weights(name, device):
    features, labels, _ = batch(device)
    classes = torch.tensor([1, 3, 4], device=device)
    inside = torch.isin(labels, classes)
    own = torch.searchsorted(classes, labels[inside])
    criterion, few = made(KINDS[name], device), made(KINDS[name], device, None)
    state = {
        name: value[classes] if name in few.by_class else value for name, value in few.state_dict().items()
    }
    smaller = KINDS[name](WIDTH, 3).double().to(device)
    smaller.load_state_dict(state)
    smaller.weigh(torch.tensor(WEIGHTS, device=device)[classes])
    found = criterion.among(features[inside], labels[inside], classes)
    torch.testing.assert_close(found, smaller(features[inside], own))


@pytest.mark.parametrize("name", UNWEIGHED)
def test_the_others_refuse_weights(name, device):
    criterion = KINDS[name](WIDTH, CLASSES)
    criterion.weigh(None)
    with pytest.raises(ValueError, match=r"class_weights: expected None"):
        criterion.weigh(torch.ones(CLASSES))
    assert criterion.recipe_weights is None


def test_a_wrong_number_of_weights_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(5,\), found \(4,\)"):
        CrossEntropy(WIDTH, CLASSES).weigh(torch.ones(4))


def test_which_take_weights_and_which_have_their_own():
    assert {"cross_entropy", "hug", "normface", "cosface", "arcface"} <= set(WEIGHED)
    assert {"balanced_softmax", "logit_adjustment", "sigmoid_bce", "focal"} <= set(WEIGHED)
    assert {"ldam", "class_balanced", "supcon", "ntce", "nonl"} == set(UNWEIGHED)
    assert LDAM.weighting == ClassBalanced.weighting == "own"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_source_says_what_the_class_says(name):
    assert signatures.signature(registry.CRITERIA[name]).weighting == KINDS[name].weighting


def test_a_subclass_with_a_loss_of_its_own_must_say_it_anew():
    class Inherits(CrossEntropy):
        pass

    class Overrides(CrossEntropy):
        def forward(self, features, targets):
            return super().forward(features, targets)

    class Says(CrossEntropy):
        weighting = "recipe"

        def forward(self, features, targets):
            return super().forward(features, targets)

    assert [kind.weighting for kind in (Inherits, Overrides, Says)] == ["recipe", "none", "recipe"]
