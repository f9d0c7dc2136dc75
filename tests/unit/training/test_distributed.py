"""Two processes that share a batch train as one process would with all of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.contrast import NTCE, SupCon
from hugbench.criteria.hug import HUG
from hugbench.criteria.long_tail import LDAM
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import ResidentImages
from hugbench.models import Classifier, build
from hugbench.suite.schema import ModelSpec, Recipe
from hugbench.training.loop import train
from hugbench.training.ranks import ALONE, Ranks
from tests.unit.training.ranks import Processes

CLASSES = 5

CRITERIA: dict[str, Any] = {
    "hug": (HUG, {}),
    "hug mhs": (HUG, {"uniformity": "mhs", "intra": "mhs", "preset": "paper"}),
    "hug mgd": (HUG, {"uniformity": "mgd", "stop_gradient": False}),
    "hug sampled": (HUG, {"sampled": 3, "start": "random"}),
    "hug orthogonal": (HUG, {"proxies": "orthogonal"}),
    "cross_entropy": (CrossEntropy, {}),
    "ntce": (NTCE, {}),
    "supcon": (SupCon, {}),
    "ldam": (LDAM, {}),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, device: torch.device) -> Iterator[Processes]:
    processes = Processes(2, tmp_path_factory.mktemp("ranks") / "store", device)
    yield processes
    processes.close()


def classifier(criterion: str, backbone: str = "test_resnet", **model: Any) -> Classifier:
    kind, arguments = CRITERIA[criterion]
    spec = ModelSpec(backbone=backbone, stem="default", embedding_dim=8, **model)
    return build(
        spec,
        lambda width: kind(width, CLASSES, **arguments),
        channels=2,
        image_size=(16, 16),
        mean=[0.5, 0.5],
        std=[0.25, 0.25],
        seed=0,
    )


def images(count: int = 60) -> ResidentImages:
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(CLASSES, (count,), generator=draw)
    noise = torch.randint(0, 128, (count, 2, 16, 16), generator=draw)
    return ResidentImages((noise + 30 * targets[:, None, None, None]).to(torch.uint8), targets)


def trained(ranks: Ranks, criterion: str, changed: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Weights and metrics after a training, and the weights that were kept after every epoch."""
    model, rows, kept = classifier(criterion, **options.pop("model", {})), [], []
    made = Recipe.model_validate({"epochs": 2, "batch_size": 16, "lr": 0.05, **changed})
    device = ranks.device or options.pop("device")
    with ranks.training():
        train(
            model, images(), made, seed=0, device=device, ranks=ranks, on_epoch=rows.append,
            keep=lambda epochs, now: kept.append(state(now)), **options,
        )  # fmt: skip
    return {"weights": state(model), "rows": rows, "kept": kept}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: copy.deepcopy(value.detach()).cpu() for name, value in module.state_dict().items()}


def same(found: dict[str, Any], expected: dict[str, Any], atol: float) -> None:
    torch.testing.assert_close(found["weights"], expected["weights"], rtol=0, atol=atol)
    torch.testing.assert_close(found["kept"], expected["kept"], rtol=0, atol=atol)
    for mine, theirs in zip(found["rows"], expected["rows"], strict=True):
        assert (mine.epoch, mine.lr, mine.accuracy) == (theirs.epoch, theirs.lr, theirs.accuracy)
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)


RECIPES: dict[str, Any] = {
    "hug": {"momentum": 0.9, "weight_decay": 1e-3, "ema": 0.9, "clip_grad": 0.5, "drop_last": False},
}

if __name__ == "__main__":
    import sys, tempfile
    processes = Processes(2, Path(tempfile.mkdtemp()) / "store", torch.device("cpu"))
    for name in CRITERIA:
        for batch in (16, 15, 13):
            changed = {"momentum": 0.9, "weight_decay": 1e-3, "ema": 0.9, "clip_grad": 0.5, "drop_last": False, "batch_size": batch}
            alone = trained(ALONE, name, changed, device=torch.device("cpu"))
            try:
                two = processes(trained, name, changed)
            except AssertionError as e:
                print(name, e); break
            worst = max((two[0]["weights"][k].double() - v.double()).abs().max().item() for k, v in alone["weights"].items())
            apart = max((two[0]["weights"][k].double() - v.double()).abs().max().item() for k, v in two[1]["weights"].items())
            print(name, batch, worst, apart, [r.loss for r in alone["rows"]], [r.loss for r in two[0]["rows"]])
    processes.close()
