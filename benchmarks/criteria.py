"""Time and memory of HUG and every other criterion against cross-entropy with its linear layer.

    python benchmarks/criteria.py [--classes 10 1000] [--only hug hug_loop] [--json results.json]

Time is forward + backward, features and parameters. Every turn of a criterion comes right after one
of cross-entropy, criteria take their turns in shuffled rounds, and what is printed is the median of
the ratios of such pairs, with quartiles; criteria whose call takes seconds get fewer pairs. On one
CPU thread a turn is timed by the processor time of this process, so that what else runs on the
machine counts little; otherwise by the clock.

Memory is what one forward + backward adds at its peak to parameters and inputs, gradients included:
on a CPU the growth of the resident set (Linux), in a child process whose malloc returns every larger
block at once; on CUDA what the allocator gave.

References: `hug_loop` and `hug_mhs_loop` are the formula written down plainly, a loop over classes in
both terms; `hug_cdist` takes `torch.cdist` for the pairs of proxies and a loop for the images, as
the released code is built. Their losses are checked to be HUG's.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hugbench import registry
from hugbench.criteria.base import Criterion
from hugbench.criteria.hug import HUG

Make = Callable[[int, int], Criterion]
BASELINE = "cross_entropy"
TURN_SECONDS = 0.02


class LoopHUG(HUG):
    """The released formula, mhe or mhs, written down plainly: a loop over classes in both terms."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        x = features / features.norm(dim=1, keepdim=True)
        w = self.head() / self.head().norm(dim=1, keepdim=True)
        return self.alpha * self.spread(w) + self.beta * self.gather(x, w.detach(), targets)

    def spread(self, w: Tensor) -> Tensor:
        distances = [(w[c + 1 :] - w[c]).norm(dim=1) for c in range(self.num_classes - 1)]
        if self.uniformity == "mhs":
            return -torch.stack([some.min() for some in distances]).min()
        total = torch.stack([(some**-2).sum() for some in distances]).sum()
        return total / (self.num_classes * (self.num_classes - 1) / 2)

    def gather(self, x: Tensor, w: Tensor, targets: Tensor) -> Tensor:
        terms = []
        for c in targets.unique().tolist():
            distances = (x[targets == c] - w[c]).norm(dim=1)
            terms.append(distances.max() if self.intra == "mhs" else distances.mean())
        return torch.stack(terms).mean()


class CdistHUG(LoopHUG):
    """The released structure: `torch.cdist` for the pairs of proxies, a loop for the images."""

    def spread(self, w: Tensor) -> Tensor:
        pairs = torch.cdist(w, w)[torch.triu(torch.ones(len(w), len(w), device=w.device), 1) > 0]
        return (pairs**-2).mean()


def registered(target: str, in_features: int, num_classes: int) -> Criterion:
    criterion: Criterion = registry.load_target(target)(in_features, num_classes)
    criterion.start_training(torch.arange(num_classes, 0, -1))
    return criterion


REFERENCES: dict[str, Make] = {
    "hug_loop": partial(LoopHUG, preset="released"),
    "hug_mhs_loop": partial(LoopHUG, preset="released", uniformity="mhs"),
    "hug_cdist": partial(CdistHUG, preset="released"),
}
CRITERIA: dict[str, Make] = {
    BASELINE: partial(registered, registry.CRITERIA[BASELINE]),
    "hug": HUG,
    "hug_mhs": partial(HUG, uniformity="mhs"),
    "hug_mgd": partial(HUG, uniformity="mgd"),
    "hug_no_stop_gradient": partial(HUG, stop_gradient=False),
    "hug_sampled_1024": partial(HUG, sampled=1_024),
    "hug_orthogonal": partial(HUG, proxies="orthogonal"),
    **{name: partial(registered, place) for name, place in registry.CRITERIA.items() if name != "hug"},
    **REFERENCES,
}
SPEED_UPS = {"hug_loop": "hug", "hug_mhs_loop": "hug_mhs", "hug_cdist": "hug"}


@dataclass
class Measured:
    """One criterion at one number of classes; `reason` says why there are no numbers."""

    criterion: str
    classes: int
    width: int
    reason: str | None = None
    seconds: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    extra_mib: float | None = None

    @property
    def ratios(self) -> list[float]:
        return [own / base for own, base in zip(self.seconds, self.baseline, strict=True)]


def build(name: str, width: int, classes: int, device: torch.device) -> Criterion | str:
    """The criterion, or why there is none."""
    per_pair = 4 if name == "hug_cdist" else width / 2  # numbers that its graph holds, at least
    held = classes**2 * per_pair * 4 / 2**30
    if name in REFERENCES and held > 8:
        return f"graph of more than {held:,.0f} GiB"
    try:
        torch.manual_seed(0)
        return CRITERIA[name](width, classes).to(device)
    except (TypeError, ValueError) as error:
        return str(error)


def example(width: int, classes: int, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    features = torch.randn(options.batch, width, device=options.device, requires_grad=True)
    return features, torch.randint(classes, (options.batch,), device=options.device)


def step(criterion: Criterion, features: Tensor, targets: Tensor) -> None:
    features.grad = None
    criterion.zero_grad()
    criterion(features, targets).backward()


def check_references(options: argparse.Namespace) -> None:
    """The slow ways must give HUG's loss and gradient."""
    features, targets = example(32, 20, options)
    for name, make in REFERENCES.items():
        torch.manual_seed(0)
        slow = make(32, 20).to(options.device)
        fast = HUG(32, 20, preset="released", uniformity=slow.uniformity).to(options.device)
        fast.load_state_dict(slow.state_dict())
        losses = [criterion(features, targets) for criterion in (slow, fast)]
        gradients = [torch.autograd.grad(loss, features)[0] for loss in losses]
        torch.testing.assert_close(*losses, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(*gradients, msg=lambda text, name=name: f"{name}: {text}")


class Clock:
    """Seconds per call of a criterion on one batch."""

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self.features, self.targets = features, targets
        alone = features.device.type == "cpu" and torch.get_num_threads() == 1
        self.now = time.process_time if alone else time.perf_counter

    def turn(self, criterion: Criterion, calls: int = 1) -> float:
        self.wait()
        begun = self.now()
        for _ in range(calls):
            step(criterion, self.features, self.targets)
        self.wait()
        taken = (self.now() - begun) / calls
        criterion.zero_grad()
        return taken

    def wait(self) -> None:
        if self.features.is_cuda:
            torch.cuda.synchronize()


def measure_times(
    built: dict[str, Criterion], results: dict[str, Measured], clock: Clock, options: argparse.Namespace
) -> None:
    """Fill in the seconds of paired turns, in shuffled rounds.

    A first call warms up, unless it takes so long that it has to count. Then come five pairs, or one
    of calls longer than `seconds`, and more up to `repeats` as long as they take less than that.
    """
    clock.turn(built[BASELINE])
    calls, least, spent = {}, {}, {}
    for name, criterion in built.items():
        spent[name] = first = clock.turn(criterion)
        calls[name] = max(1, min(100, math.ceil(TURN_SECONDS / first)))
        least[name] = 5 if first < options.seconds else 1
        if first > 5 * options.seconds:
            results[name].seconds.append(first)
            results[name].baseline.append(statistics.median(clock.turn(built[BASELINE]) for _ in range(3)))
            least[name] = 0
    shuffler = random.Random(0)
    for number in range(options.repeats):
        order = [name for name in built if number < least[name] or spent[name] < options.seconds]
        shuffler.shuffle(order)
        for name in order:
            base = clock.turn(built[BASELINE], calls[BASELINE])
            own = clock.turn(built[name], calls[name])
            results[name].baseline.append(base)
            results[name].seconds.append(own)
            spent[name] += own * calls[name]


def measure(classes: int, names: list[str], options: argparse.Namespace) -> list[Measured]:
    """Every criterion at one number of classes."""
    width = options.width if classes <= 10_000 else options.large_width
    device = torch.device(options.device)
    features, targets = example(width, classes, options)
    results = {name: Measured(name, classes, width) for name in names}
    built: dict[str, Criterion] = {}
    for name in names:
        found = build(name, width, classes, device)
        if isinstance(found, str):
            results[name].reason = found
        else:
            built[name] = found
    measure_times(built, results, Clock(features, targets), options)
    for name, extra in memory(classes, list(built), options).items():
        results[name].extra_mib = extra
    return list(results.values())


def memory(classes: int, names: list[str], options: argparse.Namespace) -> dict[str, float]:
    """MiB that one call adds at its peak, by name; empty where that cannot be told."""
    if torch.device(options.device).type == "cuda":
        return peaks(classes, names, options)
    if not Path("/proc/self/clear_refs").exists():
        return {}
    shape = ["--batch", options.batch, "--width", options.width, "--large-width", options.large_width]
    command = [sys.executable, __file__, "--peaks", "--classes", classes, "--only", *names, *shape]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command += ["--threads", options.threads]
    child = subprocess.run(
        [str(part) for part in command], env=environment, check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(child.stdout)
    return found


def peaks(classes: int, names: list[str], options: argparse.Namespace) -> dict[str, float]:
    """The same in this process."""
    width = options.width if classes <= 10_000 else options.large_width
    device = torch.device(options.device)
    features, targets = example(width, classes, options)
    small = example(width, 10, options)
    found = {}
    for name in names:
        warm, criterion = build(name, width, 10, device), build(name, width, classes, device)
        assert isinstance(warm, Criterion)
        assert isinstance(criterion, Criterion)
        step(warm, *small)
        features.grad = small[0].grad = None
        gc.collect()
        before = held(device, reset=True)
        step(criterion, features, targets)
        found[name] = (held(device) - before) / 2**20
    return found


def held(device: torch.device, reset: bool = False) -> int:
    """Bytes held at the peak since the last reset, or right now with a reset."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def machine(options: argparse.Namespace) -> dict[str, str]:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), model)
    if torch.device(options.device).type == "cuda":
        model = torch.cuda.get_device_name()
    return {
        "device": f"{model}, {torch.get_num_threads()} of {os.cpu_count()} CPUs used",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}",
        "date": date.today().isoformat(),
    }


def spread(values: list[float]) -> str:
    """Median, and quartiles where there are some values."""
    middle = figure(statistics.median(values))
    if len(values) < 4:
        return middle
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle} ({figure(low)} to {figure(high)})"


def figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def markdown(results: list[Measured], options: argparse.Namespace) -> str:
    """Tables of time, of memory and of the gain over the references, and why cells are empty."""
    sizes = list(dict.fromkeys((result.classes, result.width) for result in results))
    names = list(dict.fromkeys(result.criterion for result in results))
    by_place = {(result.criterion, result.classes): result for result in results}
    head = [
        f"C = {classes:,}" + (f", d = {width}" if width != options.width else "") for classes, width in sizes
    ]
    reasons: list[str] = []

    def row(label: str, name: str, cell: Callable[[Measured], str]) -> list[str]:
        return [label, *(cell(by_place[name, classes]) for classes, _ in sizes)]

    def time_cell(result: Measured) -> str:
        if result.reason is not None:
            reason = result.reason.partition(", found")[0]
            if reason not in reasons:
                reasons.append(reason)
            return f"– [{reasons.index(reason) + 1}]"
        if result.criterion == BASELINE:
            return f"{statistics.median(result.seconds) * 1e3:,.2f} ms"
        return spread(result.ratios)

    def memory_cell(result: Measured) -> str:
        return "–" if result.extra_mib is None else f"{result.extra_mib:,.1f}"

    def gain_cell(slow: Measured) -> str:
        fast = by_place[SPEED_UPS[slow.criterion], slow.classes]
        if not slow.seconds or not fast.seconds:
            return "–"
        return spread([a / b for a, b in zip(slow.ratios, fast.ratios, strict=False)])

    slow = [name for name in names if SPEED_UPS.get(name) in names]
    parts = [
        f"Time over that of cross-entropy (batch {options.batch}, d = {options.width}):",
        table(head, [row(name, name, time_cell) for name in names]),
        "\n".join(f"- [{number}] {reason}" for number, reason in enumerate(reasons, 1)),
        "Extra memory at the peak, MiB:",
        table(head, [row(name, name, memory_cell) for name in names]),
    ]
    if slow:
        rows = [row(f"{name} / {SPEED_UPS[name]}", name, gain_cell) for name in slow]
        parts += ["Time of the references over HUG's:", table(head, rows)]
    return "\n\n".join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [["criterion", *head], ["---", *["---:"] * len(head)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--only", nargs="+", choices=CRITERIA, metavar="NAME", help="beside the baseline")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=512, help="d, up to 10,000 classes")
    parser.add_argument("--large-width", type=int, default=128, help="d above 10,000 classes")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of turns, at most")
    parser.add_argument("--seconds", type=float, default=4, help="for each criterion and number of classes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every pair there, too")
    parser.add_argument("--peaks", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = [name for name in CRITERIA if not options.only or name in {*options.only, BASELINE}]
    if options.peaks:
        print(json.dumps(peaks(options.classes[0], names, options)))
        return
    check_references(options)
    where = machine(options)
    print("\n".join(f"{key}: {value}" for key, value in where.items()), end="\n\n", flush=True)
    results: list[Measured] = []
    for classes in options.classes:
        begun = time.perf_counter()
        results += measure(classes, names, options)
        print(f"C = {classes:,}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    print(markdown(results, options))
    if options.json:
        rows = [{**asdict(result), "ratios": result.ratios} for result in results]
        options.json.write_text(json.dumps({"machine": where, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
