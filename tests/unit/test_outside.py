"""HUG and the classifier in a loop of someone else's: plain torch, timm's tools, several processes."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
from pathlib import Path

import pytest
import timm
import timm.optim
import timm.utils
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from hugbench import HUG, Classifier
from hugbench.criteria.base import Criterion
from hugbench.criteria.softmax import CrossEntropy

CLASSES, WIDTH = 5, 16


def classifier(kind: type[Criterion] = HUG, backbone: str = "test_resnet") -> Classifier:
    """As a reader of the documentation makes one, without a suite."""
    torch.manual_seed(0)
    body = timm.create_model(backbone, num_classes=0)
    return Classifier(
        body,
        kind(WIDTH, CLASSES),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        embedding=nn.Linear(body.num_features, WIDTH),
    )


def batch(seed: int = 0, count: int = 10, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=draw)
    return images.to(device), (torch.arange(count) % CLASSES).to(device)


def trained(model: Classifier, steps: int = 3, lr: float = 0.05) -> list[float]:
    """The losses of some steps on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    device = next(model.parameters()).device
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(*batch(device=device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_plain_loop_with_hug_beside_a_timm_model(device) -> None:
    """Backbone and loss apart, without the classifier: the loss owns its proxies."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", num_classes=WIDTH).to(device)
    criterion = HUG(WIDTH, CLASSES).to(device)
    optimizer = torch.optim.SGD([*backbone.parameters(), *criterion.parameters()], lr=0.05, momentum=0.9)
    images, labels = batch(device=device)
    before = criterion.proxies().detach().clone()
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = criterion(backbone(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.equal(criterion.proxies(), before)
    assert criterion.logits(backbone.eval()(images)).shape == (10, CLASSES)


def test_a_training_step_in_bfloat16(device) -> None:
    """Under autocast the loss is float32, its gradients are finite and near those of float32."""
    exact, model = classifier().to(device), classifier().to(device)
    exact.loss(*batch(device=device)).backward()
    with torch.autocast(device.type, torch.bfloat16):
        loss = model.loss(*batch(device=device))
    loss.backward()
    assert loss.dtype == torch.float32
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all(), name
    whole = [torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (model, exact)]
    assert nn.functional.cosine_similarity(*whole, dim=0) > 0.98


@pytest.mark.parametrize("kind", [HUG, CrossEntropy])
def test_a_state_dict_goes_through_a_file_as_data(kind, device) -> None:
    """Saved after training by torch.save, read with `weights_only=True`, it gives the same classifier."""
    model = classifier(kind).to(device)
    trained(model)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    other = classifier(kind).to(device)
    assert not torch.equal(other.eval()(batch(device=device)[0]), model.eval()(batch(device=device)[0]))
    found = other.load_state_dict(torch.load(stream, weights_only=True, map_location=device))
    assert not found.missing_keys
    assert not found.unexpected_keys
    assert torch.equal(other.eval()(batch(device=device)[0]), model.eval()(batch(device=device)[0]))


@pytest.mark.parametrize("kind", [HUG, CrossEntropy])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_trains_on_as_the_original_does(kind, copied) -> None:
    """Checks and proxies come along; what is trained afterwards is not shared."""
    model = classifier(kind)
    trained(model)
    twin = copied(model)
    assert trained(twin) == trained(model)
    with pytest.raises(ValueError, match="expected labels"):
        twin.loss(batch()[0], torch.full((10,), CLASSES))


def test_exports_after_training_and_runs_from_a_file(tmp_path: Path) -> None:
    model = classifier()
    trained(model)
    model.eval()
    program = torch.export.export(model, (batch()[0],))
    torch.export.save(program, tmp_path / "classifier.pt2")
    loaded = torch.export.load(tmp_path / "classifier.pt2").module()
    torch.testing.assert_close(loaded(batch()[0]), model(batch()[0]))


def test_timms_optimizer_spares_what_decay_must_spare() -> None:
    model = classifier(backbone="test_vit")
    optimizer = timm.optim.create_optimizer_v2(
        model, "sgd", lr=0.1, weight_decay=0.05, filter_bias_and_bn=False
    )
    spared = {id(p) for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    named = dict(model.named_parameters())
    assert spared == {id(named[name]) for name in model.no_weight_decay()}
    assert any(name.startswith("criterion.") for name in model.no_weight_decay())


def test_timms_moving_average_follows_head_and_proxies() -> None:
    model = classifier()
    average = timm.utils.ModelEmaV3(model, decay=0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(model, steps=1)
    average.update(model)
    for name, value in model.named_parameters():
        expected = (before[name] + value) / 2
        torch.testing.assert_close(average.module.state_dict()[name], expected.detach())


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
def test_compiles_to_machine_code(device) -> None:
    """torch.compile with its default backend: the loss and its gradients are those of eager mode."""
    torch.compiler.reset()
    torch.manual_seed(0)
    criterion = HUG(6, CLASSES).to(device)
    features = torch.randn(12, 6).to(device).requires_grad_()
    targets = (torch.arange(12) % CLASSES).to(device)
    wanted = [features, *criterion.parameters()]
    expected = criterion(features, targets)
    gradients = torch.autograd.grad(expected, wanted)
    loss = torch.compile(criterion, fullgraph=True)(features, targets)
    torch.testing.assert_close(loss, expected)
    for found, value in zip(torch.autograd.grad(loss, wanted), gradients, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)


class Loss(nn.Module):
    """What DistributedDataParallel wraps: its forward is the loss, so the criterion takes part in it."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        return self.model.loss(images, targets)


KINDS = (HUG, CrossEntropy)


def one_step(rank: int, folder: str) -> None:
    """What each of two processes does: the gradients of a whole classifier, averaged, then a step."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for kind in KINDS:
        model = classifier(kind)
        wrapped = DistributedDataParallel(Loss(model))
        wrapped(*batch(rank)).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_average_the_gradients_of_a_whole_classifier(tmp_path: Path) -> None:
    multiprocessing.spawn(one_step, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for kind, first, second in zip(KINDS, *ranks, strict=True):
        alone = [classifier(kind), classifier(kind)]
        for rank, model in enumerate(alone):
            model.loss(*batch(rank)).backward()
        for (name, one), other in zip(alone[0].named_parameters(), alone[1].parameters(), strict=True):
            assert torch.equal(first[name], second[name]), name
            mean = (one.grad + other.grad) / 2
            torch.testing.assert_close(first[name], mean, rtol=1e-4, atol=1e-6, msg=name)
