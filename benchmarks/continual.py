"""How fast class-incremental streams train: hugbench's source of images under Avalanche's strategies.

    python benchmarks/continual.py [--net tiny|small] [--images 6400] [--repeats 11] [--device cpu]

In one run, interleaved, images per second (new and replayed) of a stream of two experiences, batch
32 (+ 32 replayed in the second), naive and with replay from a memory of 200, against
- a hand-written loop over the same tensors and model (target 0.9 with the tiny net, 0.97 with the small),
- Avalanche's own strategy on its own benchmark (`nc_benchmark` of float tensors), without augmentation
  (target 1.4 with the tiny net, never below 1), and
- with CIFAR's crop and flip, there by PIL and torchvision's transforms (target 1.3 with the small net);
  its evaluator measures loss and accuracy of every epoch, as hugbench does, and logs nothing,
and the data path alone: an epoch of mini-batches as images on the device, without augmentation,
hugbench's against Avalanche's (target 4).
Ratios are taken within a round; medians and quartiles over rounds. Images are random, 32x32x3. On a
CPU time is that of the process, on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.augment import augment, to_float
from hugbench.data.images import ResidentImages
from hugbench.models import Classifier
from hugbench.suite.continual import ContinualSpec, strategy
from hugbench.suite.nodes import Node
from hugbench.suite.schema import Augment, Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks import nc_benchmark
    from avalanche.benchmarks.utils.classification_dataset import (
        _make_taskaware_classification_dataset,
        _make_taskaware_tensor_classification_dataset,
    )
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
    from avalanche.training.storage_policy import ClassBalancedBuffer
    from avalanche.training.supervised import Naive
    from training_throughput import CLASSES, PILImages, random_images, small_cnn

    from hugbench.protocols.continual.batches import Batches
    from hugbench.protocols.continual.rows import experiences, whole
    from hugbench.protocols.continual.stream import Stream

BATCH, MEMORY = 32, 200
AUGMENT = Augment(flip=True, crop=4)
Way = Callable[[], Callable[[], int]]
"""Prepares a training, which then runs and says how many images it has trained on."""


def wider_cnn() -> nn.Module:
    """Three 3x3 convolutions at 16x16 and 8x8 pixels, 78 thousand weights."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 32, 2), (32, 64, 1), (64, 96, 2)):
        convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Bench:
    """The ways to train the stream, each time with a new classifier."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self.net, self.width = (small_cnn, 64) if options.net == "tiny" else (wider_cnn, 96)
        self.pixels, self.labels = random_images(options.images)
        self.images = ResidentImages(self.pixels, self.labels)
        halves = [set(range(5)), set(range(5, 10))]
        self.rows = [
            torch.tensor([i for i, label in enumerate(self.labels.tolist()) if label in half])
            for half in halves
        ]

    def classifier(self) -> Classifier:
        torch.manual_seed(0)
        made = Classifier(self.net(), CrossEntropy(self.width, CLASSES), mean=(0.5,) * 3, std=(0.25,) * 3)
        return made.to(self.device)

    def hugbench(self, replay: bool, how: Augment) -> Way:
        name, arguments = ("replay", {"memory": Node(MEMORY, "")}) if replay else ("naive", {})
        spec = ContinualSpec(
            experiences=2, class_order="fixed", strategy=strategy(name, Node(arguments, ""), "")
        )
        recipe = Recipe(epochs=1, batch_size=BATCH, lr=0.01, augment=how)

        def prepare() -> Callable[[], int]:
            stream = Stream(
                self.classifier(),
                self.images,
                recipe,
                spec,
                seed=0,
                device=self.device,
                checkpoint=None,
                log=None,
                on_epoch=lambda row: None,
            )

            def run() -> int:
                for number in (1, 2):
                    stream.train(number)
                return sum(found.criterion_new + found.criterion_replayed for found in stream.accounts)

            return run

        return prepare

    def by_hand(self, replay: bool, how: Augment) -> Way:
        def prepare() -> Callable[[], int]:
            made = self.classifier().train()
            optimiser = torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9)
            pixels, labels = self.pixels.to(self.device), self.labels.to(self.device)
            draw = torch.Generator(self.device).manual_seed(0)

            def some(rows: Tensor, count: int) -> Tensor:
                return rows[torch.randperm(len(rows), device=self.device)[:count]]

            def run() -> int:
                seen, memory = 0, torch.empty(0, dtype=torch.int64, device=self.device)
                for rows in self.rows:
                    order = rows[torch.randperm(len(rows))].to(self.device)
                    for start in range(0, len(order) - BATCH + 1, BATCH):
                        batch = order[start : start + BATCH]
                        if replay and len(memory):
                            batch = torch.cat([batch, some(memory, BATCH)])
                        inputs = to_float(augment(pixels[batch], how, draw))
                        optimiser.zero_grad()
                        loss = nn.functional.cross_entropy(made(inputs), labels[batch])
                        torch.autograd.backward(loss)
                        optimiser.step()
                        seen += len(batch)
                    memory = some(torch.cat([memory, some(order, MEMORY)]), MEMORY)
                return seen

            return run

        return prepare

    def avalanche(self, replay: bool, pil: bool) -> Way:
        experiences = self.benchmark(pil)

        def prepare() -> Callable[[], int]:
            made = self.classifier()
            policy = ClassBalancedBuffer(MEMORY)
            live = Naive(
                model=made,
                optimizer=torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9),
                criterion=nn.CrossEntropyLoss(),
                train_mb_size=BATCH,
                device=self.device,
                plugins=[ReplayPlugin(MEMORY, storage_policy=policy)] if replay else [],
                evaluator=EvaluationPlugin(accuracy_metrics(epoch=True), loss_metrics(epoch=True)),
            )

            def run() -> int:
                for experience in experiences:
                    live.train(experience, eval_streams=[], drop_last=True)
                whole = [len(rows) // BATCH * BATCH for rows in self.rows]
                return sum(whole) + (whole[1] if replay else 0)

            return run

        return prepare

    def benchmark(self, pil: bool) -> list[Any]:
        """The experiences of Avalanche's class-incremental benchmark, in the order of the labels."""
        if pil:
            images = PILImages(self.pixels, self.labels)
            data = _make_taskaware_classification_dataset(images, targets=images.labels, task_labels=0)
        else:
            floats = to_float(self.pixels)
            data = _make_taskaware_tensor_classification_dataset(floats, self.labels, task_labels=0)
        stream = nc_benchmark(data, data, 2, task_labels=False, fixed_class_order=list(range(CLASSES)))
        return list(stream.train_stream)

    def batches(self, own: bool) -> Way:
        """An epoch of mini-batches of the first experience, as images."""

        def prepare() -> Callable[[], int]:
            if own:
                data = self.benchmark(pil=False)[0].dataset
                loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
                return lambda: sum(len(batch[0].to(self.device)) for batch in loader)
            data = experiences(whole(self.labels), [rows.tolist() for rows in self.rows])[0].dataset
            pick, draw = self.images.picker(self.device), torch.Generator()
            loader = Batches(data, BATCH, draw, self.device, drop_last=True)
            return lambda: sum(len(to_float(pick(batch[0]))) for batch in loader)

        return prepare

    def rate(self, prepare: Way) -> float:
        """Images per second."""
        run = prepare()
        self.wait()
        begun = self.clock()
        seen = run()
        self.wait()
        return seen / (self.clock() - begun)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def compare(bench: Bench, title: str, ways: dict[str, Way], repeats: int) -> None:
    for prepare in ways.values():
        bench.rate(prepare)
    rounds = []
    for number in range(repeats):
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        rounds.append({name: bench.rate(ways[name]) for name in names})
    print(f"\n{title:34s} {'images/s':>9s}   hugbench is faster by a factor of (quartiles)")
    for name in ways:
        ratios = [found["hugbench"] / found[name] for found in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        speed = statistics.median(found[name] for found in rounds)
        print(f"{name:34s} {speed:9.0f}   {middle:5.2f} ({low:.2f} to {high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=("tiny", "small"), default="tiny")
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    warnings.showwarning = lambda *told, **more: None
    torch.set_num_threads(1)
    bench = Bench(options)
    for replay in (False, True):
        name = "replay" if replay else "naive"
        ways = {
            "hugbench": bench.hugbench(replay, Augment()),
            "a loop by hand": bench.by_hand(replay, Augment()),
            "Avalanche, tensors": bench.avalanche(replay, pil=False),
        }
        compare(bench, f"{name}, {options.net} net", ways, options.repeats)
        ways = {
            "hugbench": bench.hugbench(replay, AUGMENT),
            "a loop by hand": bench.by_hand(replay, AUGMENT),
            "Avalanche, PIL": bench.avalanche(replay, pil=True),
        }
        compare(bench, f"{name}, {options.net} net, crop and flip", ways, options.repeats)
    ways = {"hugbench": bench.batches(own=False), "Avalanche, tensors": bench.batches(own=True)}
    compare(bench, "the data path alone", ways, options.repeats)


if __name__ == "__main__":
    main()
