"""Criteria under DistributedDataParallel: two gloo processes stay equal and average their gradients."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from hugbench.criteria.base import Criterion
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy

KINDS: list[tuple[type[Criterion], dict[str, object]]] = [
    (HUG, {}),
    (HUG, {"uniformity": "mhs", "stop_gradient": False, "start": "random"}),
    (HUG, {"uniformity": "mgd", "proxies": "orthogonal"}),
    (CrossEntropy, {}),
]


class Trained(nn.Module):
    """A linear map and the criterion over its features, as one module whose output is the loss."""

    def __init__(self, kind: type[Criterion], options: dict[str, object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Linear(7, 6)
        self.criterion = kind(6, 4, **options)

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.criterion(self.features(x), targets)
        return loss


def batch(rank: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(rank)
    return torch.randn(8, 7, generator=draw), torch.randint(4, (8,), generator=draw)


def two_steps(rank: int, folder: str) -> None:
    """What each process does: train each criterion on its own batches and store the parameters."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    states = []
    for kind, options in KINDS:
        model = Trained(kind, options)
        wrapped = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            wrapped(*batch(2 * step + rank)).backward()
            optimizer.step()
        states.append(model.state_dict())
    torch.save(states, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_train_as_one_that_averages(tmp_path):
    multiprocessing.spawn(two_steps, args=(str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for (kind, options), first, second in zip(KINDS, *found, strict=True):
        model = Trained(kind, options)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            for rank in range(2):
                (model(*batch(2 * step + rank)) / 2).backward()
            optimizer.step()
        for name, value in model.state_dict().items():
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
