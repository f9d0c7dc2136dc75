"""The cascade against torchattacks' AutoAttack and against its attacks one by one, at the same budget.

    OMP_NUM_THREADS=1 python benchmarks/adversarial.py [--images 500] [--repeats 3] [--json results.json]

A small net is trained on some of scikit-learn's digits and attacked on others, at radii where all images
break, where most do, and where few do:

- AutoAttack: torchattacks' own, which packs survivors within each batch (APGD-CE, APGD-T and FAB-T of 10
  steps, the latter two towards 9 classes, Square of 5,000 queries); with `--steps 100`, which it
  cannot be told, its four attacks in its own MultiAttack;
- one by one: the same four of torchattacks, each on all images;
- cascade: the same four behind PGD of 5 steps and PGD of 10 on the margin, on the survivors of all.

Ways take turns; what is printed is the median ratio of processor time, with the extremes, the ratio of the
calls of the net, and how many images the cascade leaves robust that the other way broke (and the reverse).

Memory: what the evaluation adds at its peak to a process that holds 4 N images, when it attacks N of
them and when it attacks all, a child process each, whose malloc returns every larger
block at once and whose oneDNN keeps no kernel for every size of batch that it has met.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
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
    steps: int

    def cascade(self, eps: str) -> Tensor:
        many = {"steps": self.steps, "targets": 9}
        same = ("apgd_ce", {"steps": self.steps}), ("apgd_t", many), ("fab_t", many), ("square", {})
        return self.stages(eps, (*CHEAP, *same))

    def stages(self, eps: str, attacks: tuple[tuple[str, dict[str, int]], ...]) -> Tensor:
        stages = [Stage(Attack(name, "Linf", given), "all", name) for name, given in attacks]
        clean = look(self.victim, self.images, torch.arange(len(self.images)), self.batch_size, CPU)
        ledger = Ledger(None, HEAD)
        cascade = Cascade(self.victim, stages, ("all",), (eps,), ledger, 0, self.batch_size, CPU)
        return cascade.run(clean)[0]["all", eps].robust

    def autoattack(self, eps: str) -> Tensor:
        if self.steps == 10:
            whole = torchattacks.AutoAttack(self.victim, norm="Linf", eps=float(eps), n_classes=10, seed=0)
        else:
            whole = torchattacks.MultiAttack(self.four(eps))
        return self.left_by([whole])

    def one_by_one(self, eps: str) -> Tensor:
        return self.left_by(self.four(eps))

    def four(self, eps: str) -> list[torchattacks.attack.Attack]:
        given = {"eps": float(eps), "seed": 0}
        many = {**given, "steps": self.steps, "n_classes": 10}
        return [
            torchattacks.APGD(self.victim, steps=self.steps, **given),
            torchattacks.APGDT(self.victim, **many),
            torchattacks.FAB(self.victim, multi_targeted=True, **many),
            torchattacks.Square(self.victim, n_queries=5000, **given),
        ]

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


def count(counted: list[int], module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
    counted.append(len(logits))


def compare(bench: Bench, eps: str, repeats: int) -> dict[str, object]:
    ways = {"cascade": bench.cascade, "AutoAttack": bench.autoattack, "one by one": bench.one_by_one}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    calls, robust = dict.fromkeys(ways, 0), {}
    for repeat in range(repeats):
        for way, run in ways.items():
            counted: list[int] = []
            hook = bench.victim.classifier.register_forward_hook(partial(count, counted))
            begun = time.process_time()
            robust[way] = run(eps)
            seconds[way].append(time.process_time() - begun)
            hook.remove()
            if not repeat:
                calls[way] = len(counted)
    share = float(robust["cascade"].double().mean())
    own = statistics.median(seconds["cascade"])
    print(f"Linf {eps}: {share:.1%} robust of {len(bench.images)} images; cascade {own:.1f} s")
    found: dict[str, object] = {"robust": share, "seconds": seconds, "calls": calls}
    for way in ("AutoAttack", "one by one"):
        ratios = sorted(other / own for other, own in zip(seconds[way], seconds["cascade"], strict=True))
        missed = int((robust["cascade"] & ~robust[way]).sum())
        gained = int((~robust["cascade"] & robust[way]).sum())
        print(
            f"  {way:10s} takes {statistics.median(ratios):.2f} times the time "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}), {calls[way] / calls['cascade']:.2f} times the calls; "
            f"{missed} images are more robust with the cascade, {gained} less"
        )
        found[way] = {"ratios": ratios, "more_robust": missed, "less_robust": gained}
    return found


def peak(attacked: int, held: int) -> int:
    """Bytes that attacking adds to a process that holds images, in this process."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (held, 3, 32, 32), dtype=torch.uint8, generator=draw)
    victim = Victim(net(3).eval())
    unlabelled = ResidentImages(pixels, torch.zeros(held, dtype=torch.int64))
    labels = look(victim, unlabelled, torch.arange(held), 250, CPU).predictions  # so that all are attacked
    images = ResidentImages(pixels, labels).subset(torch.arange(attacked))
    bench = Bench(victim, images, 250, 10)
    before = resident()
    bench.stages("0.02", CHEAP)
    return highest() - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(count: int) -> dict[str, int]:
    found = {}
    for attacked in (count, 4 * count):
        arguments = ["--peak", str(attacked), str(4 * count)]
        done = subprocess.run(
            [sys.executable, __file__, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={
                **os.environ,
                "MALLOC_MMAP_THRESHOLD_": "65536",
                "MALLOC_TRIM_THRESHOLD_": "0",
                "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0",
            },
        )
        found[str(attacked)] = int(done.stdout)
    few, many = found.values()
    print(f"peak memory: {few / 2**20:.0f} MiB for {count} images, {many / 2**20:.0f} MiB for {4 * count}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--eps", nargs="+", default=["0.3", "0.2", "0.15", "0.02"])
    parser.add_argument("--memory", type=int, default=2_000, help="N of the comparison of N with 4 N")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak(*options.peak))
        return
    images = load(DatasetSpec(name="digits"), Path("data"), notify=print).train
    train, attacked = torch.arange(len(images)).split([700, len(images) - 700])
    bench = Bench(
        Victim(trained(images.subset(train))),
        images.subset(attacked[: options.images]),
        options.batch_size,
        options.steps,
    )
    found: dict[str, object] = {eps: compare(bench, eps, options.repeats) for eps in options.eps}
    found["memory"] = memory(options.memory)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
