"""The cascade against torchattacks' AutoAttack and against its attacks one by one, at the same budget.

    OMP_NUM_THREADS=1 python benchmarks/adversarial.py [--images 500] [--repeats 3] [--json results.json]

A small net is trained on scikit-learn's digits. Then, once at a radius where most images break and once
where few do:

- AutoAttack: torchattacks' own, batch by batch (APGD-CE, APGD-T and FAB-T of 10 steps, APGD-T and FAB-T
  towards 9 classes, Square of 5,000 queries);
- one by one: the same four of torchattacks, each on all images;
- cascade: the same four behind PGD of 5 steps and PGD of 10 on the margin, on the survivors of all.

Ways take turns; what is printed is the median ratio of processor time, with the extremes, and how many
images the cascade leaves robust that the other way broke (and the reverse).

Memory: what the evaluation adds at its peak to a process that holds 4 N images, when it attacks N of
them and when it attacks all, a child process each.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchattacks
from torch import Tensor, nn

from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.augment import to_float
from hugbench.data.images import Images, ResidentImages
from hugbench.data.sources import load
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.cascade import Cascade, Stage, look
from hugbench.evaluations.adversarial.ledger import Ledger
from hugbench.evaluations.adversarial.victim import Victim, fooled
from hugbench.models import Classifier
from hugbench.suite.schema import DatasetSpec

CPU = torch.device("cpu")
HEAD = {"version": "", "weights": "", "images": "", "classes": None, "seed": 0}
CHEAP = (("pgd", {"steps": 5}), ("upgd_margin", {"steps": 10}))
SAME = (
    ("apgd_ce", {"steps": 10}),
    ("apgd_t", {"steps": 10, "targets": 9}),
    ("fab_t", {"steps": 10, "targets": 9}),
    ("square", {"queries": 5000}),
)
RADII = {"most break": "0.2", "few break": "0.02"}


def net(channels: int) -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(channels, 16, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    return Classifier(backbone, CrossEntropy(256, 10), mean=(0.5,) * channels, std=(0.5,) * channels)


def trained(images: Images) -> Classifier:
    classifier = net(images.shape[0])
    optimiser = torch.optim.Adam(classifier.parameters(), 2e-3)
    for _ in range(15):
        for pixels, targets, _ in images.batches(64, CPU, torch.randperm(len(images))):
            optimiser.zero_grad()
            classifier.loss(to_float(pixels), targets).backward()
            optimiser.step()
    return classifier.eval()


@dataclass(frozen=True)
class Bench:
    """A net and the images that it is attacked on."""

    victim: Victim
    images: Images
    batch_size: int

    def cascade(self, eps: str, attacks: tuple[tuple[str, dict[str, int]], ...] = CHEAP + SAME) -> Tensor:
        stages = [Stage(Attack(name, "Linf", given), "all", name) for name, given in attacks]
        clean = look(self.victim, self.images, torch.arange(len(self.images)), self.batch_size, CPU)
        ledger = Ledger(None, HEAD)
        cascade = Cascade(self.victim, stages, ("all",), (eps,), ledger, 0, self.batch_size, CPU)
        return cascade.run(clean)[0]["all", eps].robust

    def autoattack(self, eps: str) -> Tensor:
        attack = torchattacks.AutoAttack(self.victim, norm="Linf", eps=float(eps), n_classes=10, seed=0)
        return self.left_by([attack])

    def one_by_one(self, eps: str) -> Tensor:
        radius = float(eps)
        return self.left_by(
            [
                torchattacks.APGD(self.victim, eps=radius, seed=0),
                torchattacks.APGDT(self.victim, eps=radius, n_classes=10, seed=0),
                torchattacks.FAB(self.victim, eps=radius, multi_targeted=True, n_classes=10, seed=0),
                torchattacks.Square(self.victim, eps=radius, n_queries=5000, seed=0),
            ]
        )

    def left_by(self, attacks: list[torchattacks.attack.Attack]) -> Tensor:
        """Which images no attack breaks; each sees all of them, batch by batch."""
        robust = []
        for pixels, targets, _ in self.images.batches(self.batch_size, CPU):
            images = to_float(pixels)
            left = torch.ones_like(targets, dtype=torch.bool)
            for attack in attacks:
                adversarial = attack(images, targets)
                with torch.no_grad():
                    left &= ~fooled(self.victim(adversarial), targets)
            robust.append(left)
        return torch.cat(robust)


def timed(way: Callable[[str], Tensor], eps: str) -> tuple[float, Tensor]:
    begun = time.process_time()
    robust = way(eps)
    return time.process_time() - begun, robust


def compare(bench: Bench, name: str, eps: str, repeats: int) -> dict[str, object]:
    ways = {"cascade": bench.cascade, "AutoAttack": bench.autoattack, "one by one": bench.one_by_one}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    robust: dict[str, Tensor] = {}
    for _ in range(repeats):
        for way, run in ways.items():
            taken, robust[way] = timed(run, eps)
            seconds[way].append(taken)
    share = float(robust["cascade"].double().mean())
    print(f"{name}, Linf {eps}: {share:.1%} robust of {len(bench.images)} images")
    found: dict[str, object] = {"eps": eps, "robust": share, "seconds": seconds}
    for way in ("AutoAttack", "one by one"):
        ratios = sorted(other / own for other, own in zip(seconds[way], seconds["cascade"], strict=True))
        missed = int((robust["cascade"] & ~robust[way]).sum())
        gained = int((~robust["cascade"] & robust[way]).sum())
        print(
            f"  against {way:10s} {statistics.median(ratios):6.2f} times less time "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}); {missed} images more robust, {gained} fewer"
        )
        found[way] = {"ratios": ratios, "more_robust": missed, "fewer_robust": gained}
    return found


def peak(attacked: int, held: int) -> int:
    """Bytes that attacking adds to a process that holds images, in this process."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (held, 3, 32, 32), dtype=torch.uint8, generator=draw)
    images = ResidentImages(pixels, torch.arange(held) % 10)
    bench = Bench(Victim(net(3).eval()), images.subset(torch.arange(attacked)), 250)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bench.cascade("0.02", CHEAP)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def memory(count: int) -> dict[str, int]:
    found = {}
    for attacked in (count, 4 * count):
        arguments = ["--peak", str(attacked), str(4 * count)]
        done = subprocess.run(
            [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
        )
        found[str(attacked)] = int(done.stdout)
    few, many = found.values()
    print(f"peak memory: {few / 2**20:.0f} MiB for {count} images, {many / 2**20:.0f} MiB for {4 * count}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, default=2_000, help="N of the comparison of N with 4 N")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak(*options.peak))
        return
    data = load(DatasetSpec(name="digits", max_train=700), Path("data"), notify=print)
    count = min(options.images, len(data.test))
    classifier = trained(data.train)
    bench = Bench(Victim(classifier), data.test.subset(torch.arange(count)), options.batch_size)
    found: dict[str, object] = {
        name: compare(bench, name, eps, options.repeats) for name, eps in RADII.items()
    }
    found["memory"] = memory(options.memory)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
