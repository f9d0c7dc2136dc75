"""Time and memory of every criterion against cross-entropy with its linear layer.

    python benchmarks/criteria.py                 # C = 10, 100, 1,000 at batch 512, width 512
    python benchmarks/criteria.py --large         # also C = 10,000 and 100,000 at width 128
    python benchmarks/criteria.py --only hug hug_loop --threads 1

Time is forward + backward. The criteria of a table take turns in random order, so that the machine's
noise meets them alike; a ratio is that of the medians, and beside it that of the fastest turns.
Memory is what one forward + backward adds at its peak to parameters and inputs, gradients included:
of the resident set on a CPU (Linux), of the allocator on CUDA.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from hugbench import registry
from hugbench.criteria.base import Criterion
from hugbench.criteria.hug import HUG

Make = Callable[[int, int], Criterion]
BASELINE = "cross_entropy"


class LoopHUG(HUG):
    """The released formula written down plainly: a loop over classes in both terms."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        x = features / features.norm(dim=1, keepdim=True)
        w = self.head() / self.head().norm(dim=1, keepdim=True)
        return self.alpha * self.spread(w) + self.beta * self.gather(x, w.detach(), targets)

    def spread(self, w: Tensor) -> Tensor:
        total = w.new_zeros(())
        for c in range(self.num_classes - 1):
            total = total + ((w[c + 1 :] - w[c]).norm(dim=1) ** -2).sum()
        return total / (self.num_classes * (self.num_classes - 1) / 2)

    def gather(self, x: Tensor, w: Tensor, targets: Tensor) -> Tensor:
        present = targets.unique().tolist()
        means = [(x[targets == c] - w[c]).norm(dim=1).mean() for c in present]
        return torch.stack(means).mean()


class CdistHUG(LoopHUG):
    """The released formula as it was released: `torch.cdist` for the pairs, a loop for the images."""

    def spread(self, w: Tensor) -> Tensor:
        pairs = torch.cdist(w, w)[torch.triu(torch.ones(len(w), len(w), device=w.device), 1) > 0]
        return (pairs**-2).mean()


def registered(target: str, in_features: int, num_classes: int) -> Criterion:
    module, _, name = target.rpartition(":")
    criterion: Criterion = getattr(importlib.import_module(module), name)(in_features, num_classes)
    criterion.start_training(torch.arange(num_classes, 0, -1))
    return criterion


CRITERIA: dict[str, Make] = {
    **{name: partial(registered, target) for name, target in registry.CRITERIA.items()},
    "hug_mhs": partial(HUG, uniformity="mhs"),
    "hug_mgd": partial(HUG, uniformity="mgd"),
    "hug_no_stop_gradient": partial(HUG, stop_gradient=False),
    "hug_sampled_1024": partial(HUG, sampled=1_024),
    "hug_orthogonal": partial(HUG, proxies="orthogonal"),
    "hug_cdist": partial(CdistHUG, preset="released"),
    "hug_loop": partial(LoopHUG, preset="released"),
}
NOT_ABOVE = {"hug_loop": 1_000, "hug_cdist": 10_000, "hug_mgd": 10_000, "hug_orthogonal": 10_000}


def build(name: str, width: int, classes: int, device: torch.device) -> Criterion | str:
    """The criterion, or why there is none."""
    if classes > NOT_ABOVE.get(name, classes):
        return "left out"
    try:
        return CRITERIA[name](width, classes).to(device)
    except (TypeError, ValueError) as error:
        return str(error)


def step(criterion: Criterion, features: Tensor, targets: Tensor) -> None:
    features.grad = None
    criterion.zero_grad()
    criterion(features, targets).backward()
    if features.is_cuda:
        torch.cuda.synchronize()


def times(
    built: dict[str, Criterion], features: Tensor, targets: Tensor, seconds: float
) -> dict[str, list[float]]:
    """Seconds of every turn of every criterion, in shuffled turns for about so long (one at least)."""
    found: dict[str, list[float]] = {name: [] for name in built}
    order, shuffler = list(built), random.Random(0)
    begin = time.perf_counter()
    while not found[BASELINE] or time.perf_counter() - begin < seconds:
        shuffler.shuffle(order)
        for name in order:
            start = time.perf_counter()
            step(built[name], features, targets)
            found[name].append(time.perf_counter() - start)
    return found


@contextlib.contextmanager
def peak(device: torch.device) -> Iterator[list[float]]:
    """A list that holds, afterwards, the MiB that were added at the peak; empty where unknown."""
    found: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found.append((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        yield found
        return
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _kibibytes(status, "VmRSS")
    yield found
    found.append((_kibibytes(status, "VmHWM") - before) / 2**10)


def _kibibytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def table(classes: int, options: argparse.Namespace) -> Table:
    """Measure one number of classes."""
    device = torch.device(options.device)
    width = options.width if classes <= 1_000 else options.large_width
    torch.manual_seed(0)
    features = torch.randn(options.batch, width, device=device, requires_grad=True)
    targets = torch.randint(classes, (options.batch,), device=device)
    names = [name for name in CRITERIA if not options.only or name in {*options.only, BASELINE}]
    every = {name: build(name, width, classes, device) for name in names}
    built = {name: criterion for name, criterion in every.items() if isinstance(criterion, Criterion)}
    memory = {}
    for name, criterion in built.items():
        with peak(device) as found:
            step(criterion, features, targets)
        memory[name] = f"{found[0]:,.0f}" if found else "unknown"
    measured = times(built, features, targets, options.seconds)
    reference = measured[BASELINE]
    where = f"{options.threads} threads" if device.type == "cpu" else str(device)
    title = f"C = {classes:,}, width {width}, batch {options.batch}, {where}"
    result = Table("criterion", "median ms", "ratio", "ratio of fastest", "extra MiB", "turns", title=title)
    for name, outcome in every.items():
        if isinstance(outcome, str):
            result.add_row(name, outcome)
            continue
        turns = measured[name]
        ratio = statistics.median(turns) / statistics.median(reference)
        cells = f"{statistics.median(turns) * 1e3:.2f}", f"{ratio:.2f}", f"{min(turns) / min(reference):.2f}"
        result.add_row(name, *cells, memory[name], str(len(turns)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--large", action="store_true", help="add 10,000 and 100,000 classes")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=512, help="up to 1,000 classes")
    parser.add_argument("--large-width", type=int, default=128, help="above 1,000 classes")
    parser.add_argument("--only", nargs="+", choices=CRITERIA, metavar="NAME", help="beside the baseline")
    parser.add_argument("--seconds", type=float, default=15, help="of measuring for each table")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for classes in [*options.classes, *([10_000, 100_000] if options.large else [])]:
        Console().print(table(classes, options))


if __name__ == "__main__":
    main()
