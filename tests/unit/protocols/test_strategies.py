"""Each strategy against a slow derivation of what it is said to do."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.hug import HUG
from hugbench.models import Classifier
from hugbench.protocols.continual import conductor, stream
from tests.unit.protocols.streams import CLASSES, WIDTH, classifier, data, learn, recipe, same, spec, weights

CPU = torch.device("cpu")


def begun(text: str, made: Classifier | None = None, **changed: Any) -> stream.Stream:
    """A stream before its first experience."""
    how = changed.pop("recipe", recipe())
    images = changed.pop("dataset", data()).train
    return stream.Stream(
        classifier() if made is None else made,
        images,
        how,
        spec(text, **changed),
        seed=0,
        device=CPU,
        checkpoint=None,
        log=None,
        on_epoch=lambda row: None,
    )


def labels(rows: list[int], counts: tuple[int, ...] = (24,) * CLASSES) -> Counter[int]:
    return Counter(data(counts).train.targets[rows].tolist())


@pytest.mark.parametrize("name", ["replay", "mir", "er_ace", "der", "gdumb"])
def test_memories_are_balanced_by_class(name: str) -> None:
    run = begun(f"{name}: {{memory: 21}}", class_order="fixed")
    for number in (1, 2, 3):
        run.train(number)
        rows = run.strategy.memory.rows()
        assert len(rows) == len(set(rows)) == 21
        found = labels(rows)
        assert sorted(found) == list(range(2 * number))
        assert sorted(found.values()) == sorted(
            21 // (2 * number) + (c < 21 % (2 * number)) for c in range(2 * number)
        )


def test_a_small_class_leaves_room_in_memory() -> None:
    counts = (3, 24, 24, 24, 24, 24)
    run = begun("replay: {memory: 20}", class_order="fixed", dataset=data(counts))
    run.train(1)
    assert labels(run.strategy.memory.rows(), counts) == {0: 3, 1: 10}


def test_a_memory_smaller_than_its_batch_is_replayed_whole() -> None:
    """Avalanche's loader would drop its only, smaller batch."""
    counts = (8, 8, 24, 24, 24, 24)
    _, accounts = learn(
        classifier(),
        spec("replay: {memory: 100, memory_batch: 40}", class_order="fixed"),
        dataset=data(counts),
    )
    assert accounts[1]["criterion_replayed"] == 2 * 6 * 16


def test_a_reservoir_is_a_uniform_choice_of_all_that_was_presented() -> None:
    from hugbench.protocols.continual.reservoir import Reservoir

    rounds, presented, size = 400, 30, 6
    hits = torch.zeros(presented)
    for seed in range(rounds):
        memory = Reservoir(size, torch.zeros(presented, dtype=torch.int64), 4)
        memory.draw.manual_seed(seed)
        for batch in torch.arange(presented).split(7):
            memory.take(batch)
        assert len(memory.rows) == len(set(memory.rows.tolist())) == size
        assert memory.presented == presented
        hits[memory.rows] += 1
    expected = rounds * size / presented
    assert ((hits - expected).abs() < 4.5 * (expected * (1 - size / presented)) ** 0.5).all()


def test_a_reservoir_counts_every_image_of_every_epoch() -> None:
    run = begun("replay_reservoir: {memory: 10}")
    run.train(1)
    assert run.strategy.memory.presented == 2 * 48
    run.train(2)
    assert run.strategy.memory.presented == 4 * 48
    assert len(run.strategy.memory.rows) == 10


@pytest.mark.parametrize(
    ("stock", "variant"),
    [("er_ace", "er_ace_criterion"), ("der", "der_criterion"), ("der_pp", "der_pp_criterion")],
)
def test_with_cross_entropy_a_variant_is_the_stock_strategy(stock: str, variant: str) -> None:
    one, other = classifier(), classifier()
    learn(one, spec(f"{stock}: {{memory: 20}}"))
    learn(other, spec(f"{variant}: {{memory: 20}}"))
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["er_ace_criterion", "der_criterion", "der_pp_criterion", "lwf_criterion"])
def test_with_hug_a_variant_is_not_the_stock_strategy(name: str) -> None:
    one, other = classifier("hug"), classifier("hug")
    argument = ": {memory: 20}" if name != "lwf_criterion" else ""
    learn(one, spec(name + argument))
    learn(other, spec(name.removesuffix("_criterion") + argument))
    assert not same(one, other)


def test_er_ace_with_a_criterion_is_half_new_and_half_old() -> None:
    run = begun("er_ace_criterion: {memory: 20}", classifier("hug"))
    model, criterion = run.strategy.parts.model, run.classifier.criterion
    new, old = torch.arange(0, 8), torch.arange(8, 20)
    targets = data().train.targets
    new_output, old_output = model(new), model(old)
    found = run.strategy._loss(new_output, targets[new], old_output, targets[old])
    present = targets[new].unique()
    small = HUG(WIDTH, len(present), start="random")
    small.head.weight.data = criterion.head.weight[present].detach()
    renamed = torch.tensor([present.tolist().index(label) for label in targets[new].tolist()])
    expected = small(new_output.origin.features, renamed) + criterion(
        old_output.origin.features, targets[old]
    )
    torch.testing.assert_close(found, expected / 2)


def test_der_keeps_the_logits_of_the_finished_experience() -> None:
    run = begun("der_pp_criterion: {memory: 20}", classifier("hug"))
    run.train(1)
    memory = run.strategy.memory
    rows = torch.tensor(memory.rows())
    kept = torch.stack(list(memory.buffer._data_attributes["logits"]))
    with torch.no_grad():
        torch.testing.assert_close(kept, run.strategy.parts.model.eval()(rows))


def test_der_adds_the_squared_error_of_logits() -> None:
    """With no weight on anything of the memory DER is training on the new images in the joint batch."""
    losses = {}
    for alpha in (0.0, 2.0):
        run = begun(f"der_criterion: {{memory: 20, memory_batch: 5, alpha: {alpha}}}")
        run.train(1)
        live = run.strategy.live
        live.experience = run.strategy.parts.experiences[1]
        run.strategy.start_epoch(torch.Generator().manual_seed(0))
        live.mbatch = [torch.arange(6), data().train.targets[:6], torch.zeros(6, dtype=torch.int64)]
        live.loss = torch.zeros(1)
        live._before_forward()
        live.mb_output = live.forward()
        live._add_losses()
        losses[alpha] = live.loss.item()
        error = (live.mb_output[:5] - live.batch_logits).pow(2).mean().item()
        new = nn.functional.cross_entropy(live.mb_output[5:], live.mb_y[5:]).item()
        assert losses[alpha] == pytest.approx(new + alpha * error, rel=1e-4)


def penalty(run: stream.Stream, moved: float) -> tuple[float, dict[str, Tensor]]:
    """What a strategy adds to a loss of 1 once every weight has moved, and the old weights."""
    live = run.strategy.live
    old = {name: weight.detach().clone() for name, weight in live.model.named_parameters()}
    with torch.no_grad():
        for weight in live.model.parameters():
            weight += moved
    live.loss = torch.ones(1)
    run.strategy.plugin.before_backward(live)
    return live.loss.item() - 1, old


def test_ewc_holds_weights_by_squared_gradients() -> None:
    made = classifier("hug")
    run = begun("ewc: {strength: 3.0}", made)
    run.train(1)
    images, rows = data().train, torch.tensor(run.strategy.parts.experiences[0].dataset.rows())
    twin = copy.deepcopy(made).eval()
    expected = {name: torch.zeros_like(weight) for name, weight in twin.named_parameters()}
    batches = rows.split(8)
    for batch in batches:
        twin.zero_grad()
        inputs = images.picker(CPU)(batch).float() / 255
        twin.loss(inputs, images.targets[batch]).backward()
        for name, weight in twin.named_parameters():
            expected[name] += weight.grad**2 / len(batches)
    total = sum(importance.sum().item() for importance in expected.values())
    found, _ = penalty(run, 0.1)
    assert found == pytest.approx(3.0 * total * 0.1**2, rel=1e-3)


@pytest.mark.parametrize(
    ("mode", "decay", "factors"), [("separate", "", [1, 1]), ("online", ", decay: 0.5", [0.5, 1])]
)
def test_ewc_adds_up_experiences(mode: str, decay: str, factors: list[float]) -> None:
    """Around the last weights with `online`, around those of each experience with `separate`."""
    run = begun(f"ewc: {{strength: 1.0, mode: {mode}{decay}}}")
    run.train(1)
    first = {name: held.data.clone() for name, held in run.strategy.plugin.importances[0].items()}
    start = {name: weight.detach().clone() for name, weight in run.strategy.live.model.named_parameters()}
    run.train(2)
    kept = run.strategy.plugin.importances
    found, old = penalty(run, 0.1)
    second = {
        name: held.data - (factors[0] * first[name] if mode == "online" else 0)
        for name, held in kept[1].items()
    }
    expected = 0.0
    for name in first:
        way = old[name] + 0.1 - start[name] if mode == "separate" else 0.1
        expected += (factors[0] * first[name] * way**2).sum().item() + (second[name] * 0.1**2).sum().item()
    assert found == pytest.approx(expected, rel=1e-3)


def test_si_measures_contributions_on_a_cpu() -> None:
    """Importances are minus the sum of gradient times step, over the squared way, at most 0.001."""
    run = begun("si: {strength: 5.0}", recipe=recipe(epochs=1))
    live = run.strategy.live
    start = {name: weight.detach().clone() for name, weight in live.model.named_parameters()}
    sums = {name: torch.zeros_like(weight) for name, weight in start.items()}
    before: dict[str, Tensor] = {}

    class Spy(conductor.SupervisedPlugin):
        def before_update(self, strategy: Any, **_: Any) -> None:
            before.update({n: w.detach().clone() for n, w in strategy.model.named_parameters()})

        def after_update(self, strategy: Any, **_: Any) -> None:
            for name, weight in strategy.model.named_parameters():
                sums[name] += weight.grad * (weight.detach() - before[name])

    live.plugins.append(Spy())
    run.train(1)
    total = 0.0
    for name, held in run.strategy.plugin.ewc_data[1].items():
        end = dict(live.model.named_parameters())[name].detach()
        expected = (-sums[name] / ((end - start[name]) ** 2 + 1e-7)).clamp(max=0.001)
        torch.testing.assert_close(held.data, expected.flatten(), rtol=1e-3, atol=1e-6)
        total += expected.sum().item()
    assert total != 0
    assert not any(".1." in name for name in run.strategy.plugin.ewc_data[1])  # the batch norm
    assert penalty(run, 0.1)[0] == pytest.approx(5.0 / 2 * total * 0.1**2, rel=1e-3)


def test_mas_holds_weights_by_gradients_of_the_logits_length() -> None:
    made = classifier()
    run = begun("mas: {strength: 0.01, alpha: 0.25}", made)
    twins = []
    for number in (1, 2):
        run.strategy.live.plugins[-1].pending = None
        run.train(number)
        twins.append(copy.deepcopy(made))
    expected = {name: torch.zeros_like(weight) for name, weight in made.named_parameters()}
    # The batch norm's statistics of training mode are those of the batch, so a copy made later will do.
    for factor, twin, experience in zip((0.25, 0.75), twins, run.strategy.parts.experiences, strict=False):
        rows = torch.tensor(experience.dataset.rows()).split(8)
        twin.train()
        for batch in rows:
            twin.zero_grad()
            inputs = data().train.picker(CPU)(batch).float() / 255
            (twin(inputs).pow(2).sum(1).mean()).backward()
            for name, weight in twin.named_parameters():
                expected[name] += factor * weight.grad.abs() / len(rows)
    total = sum(importance.sum().item() for importance in expected.values())
    assert penalty(run, 0.1)[0] == pytest.approx(0.01 * total * 0.1**2, rel=1e-3)


@pytest.mark.parametrize("name", ["ewc: {strength: 1000.0}", "si: {strength: 100000.0}"])
def test_a_strong_penalty_keeps_weights_where_they_were(name: str) -> None:
    moves = []
    for text in ("naive", name):
        made = classifier()
        run = begun(text, made, recipe=recipe(lr=0.001))
        run.train(1)
        before = weights(made)["backbone.4.weight"]
        run.train(2)
        moves.append((weights(made)["backbone.4.weight"] - before).norm().item())
    assert moves[1] < 0.95 * moves[0]


def taught(text: str, made: Classifier) -> tuple[stream.Stream, Tensor, Tensor, Tensor]:
    """A stream within its second experience, after a forward pass: it, images, labels, old logits."""
    run = begun(text, made, class_order="fixed")
    run.train(1)
    teacher = copy.deepcopy(made).train()
    run.train(2)
    made.train()
    live = run.strategy.live
    rows = torch.arange(12)
    live.mbatch = [rows, data().train.targets[rows], torch.zeros_like(rows)]
    live.mb_output = live.model(rows)
    live.loss = torch.zeros(1)
    run.strategy.plugin.lwf.prev_model.classifier.load_state_dict(teacher.state_dict())
    run.strategy.plugin.before_backward(live)
    images = data().train.picker(CPU)(rows).float() / 255
    return run, images, live.mb_output, teacher(images).detach()


def test_lwf_distils_the_classes_learnt_before() -> None:
    run, _, output, old = taught("lwf: {alpha: 1.5, temperature: 2.0}", classifier())
    known = [0, 1, 2, 3]
    log_p = (output[:, known] / 2).log_softmax(1)
    q = (old[:, known] / 2).softmax(1)
    expected = 1.5 * (q * (q.log() - log_p)).sum(1).mean()
    assert run.strategy.live.loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("criterion", ["cross_entropy", "hug"])
def test_lwf_with_a_criterion_gives_it_soft_targets(criterion: str) -> None:
    made = classifier(criterion)
    run, images, _, old = taught("lwf_criterion: {alpha: 1.5, temperature: 2.0}", made)
    targets = torch.zeros(12, CLASSES)
    targets[:, :4] = (old[:, :4] * (16 if criterion == "hug" else 1) / 2).softmax(1)
    expected = 1.5 * made.criterion(made.features(images), targets)
    assert run.strategy.live.loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_lwf_shows_both_models_the_same_augmentation() -> None:
    run = begun("lwf", recipe=recipe(augment={"crop": 2, "flip": True}, lr=0.0, epochs=1))
    run.train(1)
    added = []

    class Spy(conductor.SupervisedPlugin):
        def before_backward(self, strategy: Any, **_: Any) -> None:
            added.append(strategy.loss.item())

        def after_backward(self, strategy: Any, **_: Any) -> None:
            added[-1] = strategy.loss.item() - added[-1]

    run.strategy.live.plugins.insert(1, Spy())
    run.train(2)
    assert max(map(abs, added)) < 1e-5  # with a learning rate of 0 the two models agree


def test_gem_solves_its_quadratic_program() -> None:
    """Against projected gradient descent, and against the conditions of an optimum."""
    from hugbench.protocols.continual.episodic import least_weights

    draw = np.random.default_rng(0)
    for _ in range(8):
        count, least = int(draw.integers(1, 6)), float(draw.choice([0.0, 0.5]))
        vectors = draw.normal(size=(count, 9))
        products, against = vectors @ vectors.T + 1e-3 * np.eye(count), draw.normal(size=count)
        slow = np.full(count, least)
        for _ in range(6000):
            slow = np.maximum(slow - 0.02 * (products @ slow + against), least)
        found = least_weights(products, against, least)
        np.testing.assert_allclose(found, slow, atol=1e-3)
        slope = products @ found + against
        assert (found >= least).all()
        assert (slope > -1e-7).all()
        np.testing.assert_allclose(slope * (found - least), 0, atol=1e-7)


def gradients(run: stream.Stream, rows: Tensor) -> Tensor:
    model, targets = run.strategy.parts.model, data().train.targets
    model.zero_grad()
    run.strategy.parts.loss(model(rows), targets[rows]).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


@pytest.mark.parametrize("name", ["agem", "gem"])
def test_no_step_goes_against_the_memory(name: str) -> None:
    run = begun(
        f"{name}: {{memory: 60, memory_batch: 20}}" if name == "agem" else "gem: {memory: 60, strength: 0.0}"
    )
    run.train(1)
    raw, found, expected = [], [], []

    def gradient(strategy: Any) -> Tensor:
        return torch.cat([weight.grad.flatten() for weight in strategy.model.parameters()])

    class Spy(conductor.SupervisedPlugin):
        def after_backward(self, strategy: Any, **_: Any) -> None:
            raw.append(gradient(strategy))

        def before_update(self, strategy: Any, **_: Any) -> None:
            plugin = run.strategy.plugin
            memory = plugin.reference_gradients if name == "agem" else plugin.G[0]
            # GEM's program has a ridge of 1e-3 on the products of the memory's gradients.
            ridge = 0.0 if name == "agem" else 1e-3
            before, square = raw[-1] @ memory, memory @ memory
            expected.append((before if before >= 0 else before * ridge / (square + ridge)).item())
            found.append((gradient(strategy) @ memory).item())

    run.strategy.live.plugins.insert(1, Spy())
    run.train(2)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert any(value < 1e-4 for value in expected)  # some steps were held back


def test_episodic_memories_are_shared_by_experience() -> None:
    for name in ("agem", "gem"):
        run = begun(f"{name}: {{memory: 23}}", class_order="fixed")
        run.train(1)
        run.train(2)
        state = run.strategy.stored()["rows"]
        parts = state if name == "agem" else [rows.tolist() for rows in state.values()]
        assert [len(rows) for rows in parts] == [7, 7]
        assert [set(labels(rows)) <= {0, 1} for rows in parts] == [True, False]
        assert set(labels(parts[1])) <= {2, 3}


@pytest.mark.parametrize("criterion", ["cross_entropy", "hug"])
def test_mir_replays_what_the_step_spoils_most(criterion: str) -> None:
    run = begun("mir: {memory: 40, memory_batch: 4, candidates: 16}", classifier(criterion))
    run.train(1)
    live, model, plugin = run.strategy.live, run.strategy.parts.model, run.strategy.plugin
    targets = data().train.targets
    live.experience = run.strategy.parts.experiences[1]
    rows = torch.tensor(live.experience.dataset.rows()[:8])
    run.strategy.start_epoch(torch.Generator().manual_seed(0))
    candidates, labels, _ = next(plugin.replay_loader)
    plugin.replay_loader = iter([[candidates, labels, torch.zeros_like(labels)]])
    model.train()
    live.mbatch = [rows, targets[rows], torch.zeros_like(rows)]
    live.mb_output = model(rows)
    live.loss = torch.zeros(1) + live.criterion()

    moved = copy.deepcopy(model)
    twin = copy.deepcopy(model)
    loss = twin.classifier.loss_of(twin(rows).origin.features, targets[rows])
    found = torch.autograd.grad(loss, list(twin.parameters()), allow_unused=True)
    rate = live.optimizer.param_groups[0]["lr"]
    with torch.no_grad():
        for weight, gradient in zip(moved.parameters(), found, strict=True):
            weight -= rate * (0 if gradient is None else gradient)
        rise = []
        before, after = model(candidates).origin.features, moved(candidates).origin.features
        for index in range(16):
            one = slice(index, index + 1)
            rise.append(
                moved.classifier.criterion(after[one], labels[one])
                - model.classifier.criterion(before[one], labels[one])
            )
    chosen = candidates[torch.stack(rise).argsort()[-4:]]
    served: list[Tensor] = []
    run.audit.account = run.accounts[0]
    run.audit.open()
    plugin.before_backward(live)
    served = run.audit._served
    assert sorted(served[-1].tolist()) == sorted(chosen.tolist())


def test_gdumb_begins_anew_with_every_experience() -> None:
    """Its last experience alone, on the same memory, gives the same model."""
    made = classifier()
    run = begun("gdumb: {memory: 24}", made)
    for number in (1, 2, 3):
        run.train(number)
    again = classifier()
    other = begun("gdumb: {memory: 24}", again)
    other.strategy.memory.restore(run.started["memory"], other.strategy.parts.data)
    other.strategy.live.clock.train_exp_counter = 2
    other.rows, other.accounts = run.rows[:4], run.accounts[:2]
    other.train(3)
    assert same(made, again)


def test_icarl_predicts_the_nearest_mean_of_exemplars() -> None:
    made = classifier()
    run = begun("icarl: {memory: 24}", made, class_order="fixed")
    run.train(1)
    run.train(2)
    head = weights(made.criterion)
    exemplars = [rows.tolist() for rows in run.strategy.exemplars.x_memory]
    assert [len(rows) for rows in exemplars] == [6, 6, 6, 6]
    assert [set(labels(rows)) for rows in exemplars] == [{0}, {1}, {2}, {3}]
    pixels = data().train.picker(CPU)(torch.arange(144)).float() / 255
    with torch.no_grad():
        features = nn.functional.normalize(made.features(pixels))
        means = nn.functional.normalize(torch.stack([features[rows].mean(0) for rows in exemplars]))
        nearest = torch.cdist(features, means).argmin(1)
        with run.predicting():
            assert torch.equal(made(pixels).argmax(1), nearest)
            assert made.criterion.weight.shape == (CLASSES, WIDTH)
    after = weights(made.criterion)
    assert all(torch.equal(head[name], after[name]) for name in head)


def test_icarl_keeps_the_images_that_herding_ranks_first() -> None:
    made = classifier()
    run = begun("icarl: {memory: 12}", made, class_order="fixed")
    run.train(1)
    pixels = data().train.picker(CPU)(torch.arange(144)).float() / 255
    rows = (data().train.targets == 0).nonzero().flatten()
    with torch.no_grad():
        features = nn.functional.normalize(made.features(pixels[rows]))
    # Greedily, the next image is the one whose inner product with (k + 1) mu minus the sum so far is largest.
    mu, w, chosen = features.mean(0), features.mean(0), []
    while len(chosen) < 6:
        best = int((features @ w).argmax())
        if best not in chosen:
            chosen.append(best)
        w = w + mu - features[best]
    assert sorted(run.strategy.exemplars.x_memory[0].tolist()) == sorted(rows[chosen].tolist())


def test_strategies_remember() -> None:
    """With a memory the first classes are still known at the end; without one they are not."""
    found = {}
    pixels = data().test.picker(CPU)(torch.arange(144)).float() / 255
    targets = data().test.targets
    for text in ("naive", "replay: {memory: 60}", "icarl: {memory: 60}", "joint"):
        made = classifier()
        run = begun(text, made, class_order="fixed", recipe=recipe(epochs=10))
        for number in range(1, len(run.classes) + 1):
            run.train(number)
        old = targets < 2
        with run.predicting(), torch.no_grad():
            found[text.partition(":")[0]] = float(
                (made(pixels[old]).argmax(1) == targets[old]).float().mean()
            )
    assert found["naive"] < 0.2
    assert found["replay"] > 0.6
    assert found["icarl"] > 0.6
    assert found["joint"] > 0.9
