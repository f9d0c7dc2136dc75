"""What every criterion must have, as assertions that the tests of each criterion share.

A property is a function of `(make, device)`, where `make(in_features, num_classes)` returns a new
criterion. A test file of a criterion runs them all, but for those that do not hold for it:

    @pytest.mark.parametrize("holds", properties(without={"rotation_invariant"}), ids=name_of)
    def test_properties(holds, device):
        holds(lambda d, c: MyLoss(d, c, margin=0.2), device)
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Collection, Iterator

import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion, one_hot

Make = Callable[[int, int], Criterion]
Property = Callable[[Make, torch.device], None]

BATCH, WIDTH, CLASSES = 12, 6, 5


def rotation_invariant(make: Make, device: torch.device) -> None:
    """Turning the features and all that lives in their space leaves loss and logits as they are."""
    criterion, features, targets = _example(make, device)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=_generator(), dtype=torch.float64))[0]
    turn = turn.to(features)
    turned = copy.deepcopy(criterion)
    moved = False
    with torch.no_grad():
        for tensor in _state(turned):
            if tensor.ndim and tensor.shape[-1] == WIDTH:
                tensor.copy_(tensor @ turn)
                moved = True
    assert moved, "nothing of the criterion lives in the space of the features"
    _assert_close(turned(features @ turn, targets), criterion(features, targets))
    _assert_close(turned.logits(features @ turn), criterion.logits(features))


def permutation_equivariant(make: Make, device: torch.device) -> None:
    """Renaming the classes permutes the logits and leaves the loss as it is."""
    criterion, features, targets = _example(make, device)
    order = torch.randperm(CLASSES, generator=_generator()).to(device)
    renamed = copy.deepcopy(criterion)
    with torch.no_grad():
        for tensor in _state(renamed):
            if tensor.ndim and tensor.shape[0] == CLASSES:
                tensor.copy_(tensor[order])
    new_names = torch.argsort(order)
    _assert_close(renamed(features, new_names[targets]), criterion(features, targets))
    _assert_close(renamed.logits(features), criterion.logits(features)[:, order])


def image_order_invariant(make: Make, device: torch.device) -> None:
    """The loss of a batch does not depend on the order of its images."""
    criterion, features, targets = _example(make, device)
    order = torch.randperm(BATCH, generator=_generator()).to(device)
    _assert_close(criterion(features[order], targets[order]), criterion(features, targets))


def gradients_of_features(make: Make, device: torch.device) -> None:
    """Automatic gradients with respect to the features equal finite differences, in float64."""
    criterion, features, targets = _example(make, device)
    assert torch.autograd.gradcheck(lambda x: criterion(x, targets), features.requires_grad_())


def gradients_of_parameters(make: Make, device: torch.device) -> None:
    """Automatic gradients with respect to the parameters equal finite differences, in float64."""
    criterion, features, targets = _example(make, device)
    names, values = zip(*criterion.named_parameters(), strict=True)

    def loss(*parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        result = torch.func.functional_call(criterion, state, (features, targets))
        assert isinstance(result, Tensor)
        return result

    assert torch.autograd.gradcheck(loss, [value.detach().requires_grad_() for value in values])


def float32_inside_autocast(make: Make, device: torch.device) -> None:
    """Inside bfloat16 autocast, with bfloat16 features, the loss is float32 and nearly the exact one."""
    criterion, features, targets = _example(make, device, torch.float32)
    low = features.bfloat16()
    exact = criterion(low.float(), targets)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        loss, logits = criterion(low, targets), criterion.logits(low)
    assert loss.dtype == torch.float32
    assert logits.shape == (BATCH, CLASSES)
    torch.testing.assert_close(loss, exact, rtol=2e-2, atol=2e-2)


def float64_stays(make: Make, device: torch.device) -> None:
    """A float64 criterion of float64 features gives a float64 loss and float64 logits."""
    criterion, features, targets = _example(make, device)
    loss = criterion(features, targets)
    assert loss.dtype == _double(device)
    assert criterion.logits(features).dtype == _double(device)


def on_its_device(make: Make, device: torch.device) -> None:
    """After `.to(device)` loss, logits and proxies are there."""
    criterion, features, targets = _example(make, device, torch.float32)
    found = [criterion(features, targets), criterion.logits(features), criterion.proxies()]
    assert {tensor.device.type for tensor in found if tensor is not None} == {device.type}


def finite_when_degenerate(make: Make, device: torch.device) -> None:
    """Loss and every gradient are finite at zero, equal, antipodal, huge and single inputs."""
    template, features, targets = _example(make, device, torch.float32)
    directions = template.proxies()
    at_proxies = features if directions is None else directions.detach()[targets].to(features)
    batches = {
        "zero": torch.zeros_like(features),
        "one zero": torch.cat([features[:-1], torch.zeros_like(features[:1])]),
        "equal": features[:1].expand_as(features).clone(),
        "at the proxies": at_proxies,
        "opposite the proxies": -at_proxies,
        "antipodal": torch.cat([features[:6], -features[:6]]),
        "huge": features * 1e4,
        "tiny": features * 1e-12,
    }
    label_sets = {"labels": targets, "one class": torch.zeros_like(targets)}
    heads = {"as made": 1.0, "equal": None, "zero": 0.0}
    for (batch, x), (labels, y), (head, factor) in itertools.product(
        batches.items(), label_sets.items(), heads.items()
    ):
        criterion = copy.deepcopy(template)
        with torch.no_grad():
            for parameter in criterion.parameters():
                parameter.copy_(parameter[:1].expand_as(parameter) if factor is None else parameter * factor)
        _assert_finite(criterion, x, y, f"features {batch}, {labels}, parameters {head}")
    for count in (1, 2):
        _assert_finite(copy.deepcopy(template), features[:count], targets[:count], f"{count} images")


def soft_targets_equal_labels(make: Make, device: torch.device) -> None:
    """One-hot soft targets give the loss and the gradient of labels."""
    criterion, features, targets = _example(make, device)
    hard = criterion(features.requires_grad_(), targets)
    soft = criterion(features, one_hot(targets, CLASSES).to(features))
    _assert_close(soft, hard)
    _assert_close(torch.autograd.grad(soft, features)[0], torch.autograd.grad(hard, features)[0])


def mixed_targets(make: Make, device: torch.device) -> None:
    """Soft targets that are no labels (mixup) give a finite loss that differs from the labels'."""
    criterion, features, targets = _example(make, device)
    hard = one_hot(targets, CLASSES).to(features)
    mixed = 0.7 * hard + 0.3 * hard.roll(1, dims=0)
    loss = criterion(features, mixed)
    assert torch.isfinite(loss)
    assert not torch.isclose(loss, criterion(features, hard))


def state_dict_round_trip(make: Make, device: torch.device) -> None:
    """Another instance with the loaded state gives the same loss and logits."""
    criterion, features, targets = _example(make, device)
    other = make(WIDTH, CLASSES).to(features)
    missing = other.load_state_dict(copy.deepcopy(criterion.state_dict()))
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    _assert_close(other(features, targets), criterion(features, targets), rtol=0)
    _assert_close(other.logits(features), criterion.logits(features), rtol=0)


def deep_copies(make: Make, device: torch.device) -> None:
    """A deep copy, taken after a training step, agrees and shares no parameter."""
    criterion, features, targets = _example(make, device)
    criterion(features, targets)
    twin = copy.deepcopy(criterion)
    _assert_close(twin(features, targets), criterion(features, targets), rtol=0)
    own = {tensor.data_ptr() for tensor in criterion.parameters()}
    assert own.isdisjoint(tensor.data_ptr() for tensor in twin.parameters())


def repr_rebuilds(make: Make, device: torch.device) -> None:
    """`eval(repr(criterion))` is a criterion of the same arguments."""
    criterion = make(WIDTH, CLASSES)
    kind = type(criterion)
    names = {**vars(nn), **vars(inspect.getmodule(kind)), kind.__name__: kind}
    rebuilt = eval(repr(criterion), names)
    assert type(rebuilt) is kind
    assert repr(rebuilt) == repr(criterion)
    shapes = [{key: value.shape for key, value in c.state_dict().items()} for c in (criterion, rebuilt)]
    assert shapes[0] == shapes[1]


def seeded_by_the_caller(make: Make, device: torch.device) -> None:
    """The same seed of torch's global generator gives the same criterion."""
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(make(WIDTH, CLASSES).state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def learns(make: Make, device: torch.device) -> None:
    """Free features, trained with the head, end up where the logits give their classes."""
    criterion, features, targets = _example(make, device, torch.float32)
    features.requires_grad_()
    parameters = [p for p in criterion.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam([features, *parameters], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        criterion(features, targets).backward()
        optimizer.step()
    assert torch.equal(criterion.logits(features).argmax(1), targets)


def compiles(make: Make, device: torch.device) -> None:
    """`torch.compile` captures the loss as one graph, which gives the same number."""
    criterion, features, targets = _example(make, device, torch.float32)
    torch.compiler.reset()  # torch recompiles a shared hook for a few classes only
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    expected = criterion(features.requires_grad_(), targets)
    gradient = torch.autograd.grad(expected, features)[0]
    loss = compiled(features, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, features)[0], gradient)


def refuses_bad_input(make: Make, device: torch.device) -> None:
    """Impossible sizes, features of the wrong width and labels out of range are named."""
    with pytest.raises(ValueError, match="in_features"):
        make(0, CLASSES)
    with pytest.raises(ValueError, match="num_classes"):
        make(WIDTH, 1)
    criterion, features, targets = _example(make, device, torch.float32)
    with pytest.raises(ValueError, match="features"):
        criterion(features[:, 1:], targets)
    with pytest.raises(ValueError, match="labels"):
        criterion(features, targets + CLASSES)
    with pytest.raises(ValueError, match="targets"):
        criterion(features, targets[1:])


def documented(make: Make, device: torch.device) -> None:
    """The docstring has a first line, the equation, every argument and the source."""
    kind = type(make(WIDTH, CLASSES))
    doc = inspect.getdoc(kind) or ""
    assert doc.split("\n")[0].endswith(".")
    for part in ("Equation:", "Source:"):
        assert part in doc
    parameters = inspect.signature(kind.__init__).parameters.values()
    for argument in (p.name for p in parameters if p.kind is p.KEYWORD_ONLY):
        assert f"\n    {argument}: " in doc, argument


def names_what_decay_spares(make: Make, device: torch.device) -> None:
    """`no_weight_decay` names parameters that exist."""
    criterion = make(WIDTH, CLASSES)
    assert criterion.no_weight_decay() <= {name for name, _ in criterion.named_parameters()}


PROPERTIES: tuple[Property, ...] = (
    rotation_invariant,
    permutation_equivariant,
    image_order_invariant,
    gradients_of_features,
    gradients_of_parameters,
    float32_inside_autocast,
    float64_stays,
    on_its_device,
    finite_when_degenerate,
    soft_targets_equal_labels,
    mixed_targets,
    state_dict_round_trip,
    deep_copies,
    repr_rebuilds,
    seeded_by_the_caller,
    learns,
    compiles,
    refuses_bad_input,
    documented,
    names_what_decay_spares,
)


def properties(without: Collection[str] = ()) -> list[Property]:
    """All properties but those named, for `pytest.mark.parametrize`."""
    unknown = set(without) - {name_of(holds) for holds in PROPERTIES}
    assert not unknown, f"no such property: {sorted(unknown)}"
    return [holds for holds in PROPERTIES if name_of(holds) not in without]


def name_of(holds: Property) -> str:
    """The name of a property, for the ids of a parametrised test."""
    return holds.__name__


def _example(
    make: Make, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Criterion, Tensor, Tensor]:
    """A criterion with a batch in which every class occurs; float64 where the device has it."""
    dtype = _double(device) if dtype is None else dtype
    torch.manual_seed(0)
    criterion = make(WIDTH, CLASSES).to(device=device, dtype=dtype)
    features = torch.randn(BATCH, WIDTH, generator=_generator(), dtype=torch.float64)
    targets = (torch.arange(BATCH) ** 2 + torch.arange(BATCH) // CLASSES) % CLASSES
    targets[:CLASSES] = torch.arange(CLASSES)
    return criterion, features.to(device=device, dtype=dtype), targets.to(device)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _double(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _state(criterion: Criterion) -> Iterator[Tensor]:
    yield from (tensor for tensor in criterion.state_dict().values() if tensor.is_floating_point())


def _assert_finite(criterion: Criterion, features: Tensor, targets: Tensor, what: str) -> None:
    features = features.detach().clone().requires_grad_()
    loss = criterion(features, targets)
    assert torch.isfinite(loss), f"loss at {what}"
    if not loss.requires_grad:
        return
    loss.backward()
    gradients = [features.grad, *(parameter.grad for parameter in criterion.parameters())]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None), f"gradient at {what}"


def _assert_close(found: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    tight = found.dtype == torch.float64
    torch.testing.assert_close(
        found, expected, rtol=min(rtol, 1e-9 if tight else rtol), atol=1e-9 if tight else 1e-6
    )
