"""How fast the training loop is, and how much memory the images take.

    python benchmarks/training_throughput.py [--images 2560] [--repeats 15] [--device cpu] [--backbone NAME]

In one run, interleaved, images per second of `train()`, of four epochs from its call to its return,
against
- a bare PyTorch loop on the same resident tensor, model, batch size and augmentation (target 0.95),
- a torchvision-style data set with PIL transforms behind a DataLoader, without workers and with one
  per core, same model (target 3),
- `train()` itself with a checkpoint after every epoch,
- the model on one batch that is already there, again and again: what no data path can exceed.
Ratios are taken within a round; medians and quartiles over rounds. Images are random, 32x32x3. How
far the DataLoader falls behind depends on how little the model computes: compare the last line.

Before that: the growth of peak memory when training goes from one batch to 50,000 images, in units
of their uint8 size (target 1: the set itself; a float32 copy more would make it 5).
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.augment import augment, to_float
from hugbench.data.images import ResidentImages
from hugbench.models import Classifier, build
from hugbench.suite.schema import Augment, ModelSpec, Recipe
from hugbench.training.loop import train

CLASSES, SIZE = 10, 32
EPOCHS = 4
AUGMENT = Augment(flip=True, crop=4)


def small_cnn() -> nn.Module:
    """Patches of 4x4 and two more strided convolutions, 24 thousand weights: the data path shows."""
    layers: list[nn.Module] = []
    for before, after, kernel, stride, padding in ((3, 16, 4, 4, 0), (16, 32, 3, 2, 1), (32, 64, 3, 2, 1)):
        convolution = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(backbone: str | None) -> Classifier:
    torch.manual_seed(0)
    mean, std = (0.5,) * 3, (0.25,) * 3
    if backbone is None:
        return Classifier(small_cnn(), CrossEntropy(64, CLASSES), mean=mean, std=std)
    spec = ModelSpec(backbone=backbone, stem="cifar")
    return build(
        spec,
        lambda width: CrossEntropy(width, CLASSES),
        channels=3,
        image_size=(SIZE, SIZE),
        mean=mean,
        std=std,
        seed=0,
    )


def random_images(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8).random_(0, 256, generator=draw)
    return pixels, torch.randint(CLASSES, (count,), generator=draw)


class PILImages(Dataset[tuple[Tensor, int]]):
    """As torchvision keeps CIFAR: an array of pixels, a PIL image and transforms per item."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels: np.ndarray = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels: list[int] = labels.tolist()
        steps = [transforms.RandomCrop(SIZE, padding=4), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Bench:
    """The ways to train for some epochs, each with a classifier of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.recipe = Recipe(epochs=EPOCHS, batch_size=options.batch, lr=0.01, augment=AUGMENT)
        self.backbone: str | None = options.backbone
        self.pixels, self.labels = random_images(options.images)
        self.images = ResidentImages(self.pixels, self.labels)
        self.scratch = Path(options.scratch)

    def ways(self) -> dict[str, Callable[[], None]]:
        workers = os.cpu_count() or 1
        return {
            "train()": self.train(checkpoint=False),
            "train() with a checkpoint": self.train(checkpoint=True),
            "bare PyTorch loop": self.bare(),
            "DataLoader + PIL, no workers": self.loader(0),
            f"DataLoader + PIL, {workers} workers": self.loader(workers),
            "the model alone": self.alone(),
        }

    def train(self, checkpoint: bool) -> Callable[[], None]:
        model, path = classifier(self.backbone), self.scratch / "resume.pt"

        def epochs() -> None:
            path.unlink(missing_ok=True)
            place = path if checkpoint else None
            train(model, self.images, self.recipe, seed=0, device=self.device, checkpoint=place)

        return epochs

    def bare(self) -> Callable[[], None]:
        pixels, labels, size = (
            self.pixels.to(self.device),
            self.labels.to(self.device),
            self.recipe.batch_size,
        )
        draw = torch.Generator(self.device).manual_seed(0)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            order = torch.randperm(len(labels), device=self.device)
            for start in range(0, len(order) - size + 1, size):
                chosen = order[start : start + size]
                yield to_float(augment(pixels[chosen], AUGMENT, draw)), labels[chosen]

        return self.plain(batches)

    def loader(self, workers: int) -> Callable[[], None]:
        loader = DataLoader(
            PILImages(self.pixels, self.labels),
            batch_size=self.recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for inputs, targets in loader:
                yield (
                    inputs.to(self.device, non_blocking=True),
                    targets.to(self.device, non_blocking=True),
                )

        return self.plain(batches)

    def alone(self) -> Callable[[], None]:
        size = self.recipe.batch_size
        batch = to_float(self.pixels[:size].to(self.device)), self.labels[:size].to(self.device)
        return self.plain(lambda: itertools.repeat(batch, len(self.labels) // size))

    def plain(self, batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]) -> Callable[[], None]:
        """Zero the gradients, forward, backward, step; nothing is measured, checked or stored."""
        model = classifier(self.backbone).to(self.device)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def epochs() -> None:
            model.train()
            for _ in range(EPOCHS):
                for inputs, targets in batches():
                    optimiser.zero_grad()
                    loss = nn.functional.cross_entropy(model(inputs), targets)
                    torch.autograd.backward(loss)
                    optimiser.step()

        return epochs

    def rate(self, epochs: Callable[[], None]) -> float:
        """Images per second."""
        self.wait()
        begun = time.perf_counter()
        epochs()
        self.wait()
        seen = len(self.labels) // self.recipe.batch_size * self.recipe.batch_size
        return EPOCHS * seen / (time.perf_counter() - begun)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def peak(device: torch.device) -> int:
    """The most bytes this process ever held: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(options: argparse.Namespace) -> float:
    """Growth of the peak from one batch to as many images as CIFAR has, over their bytes as uint8."""
    device, model = torch.device(options.device), classifier(options.backbone)
    recipe = Recipe(epochs=1, batch_size=options.batch, lr=0.01, augment=AUGMENT)
    train(model, ResidentImages(*random_images(options.batch)), recipe, seed=0, device=device)
    before = peak(device)
    pixels, labels = random_images(50_000)
    train(model, ResidentImages(pixels, labels), recipe, seed=0, device=device)
    return (peak(device) - before) / pixels.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", help="a model of timm; without it a small convolutional net")
    with tempfile.TemporaryDirectory() as scratch:
        compare(parser.parse_args(namespace=argparse.Namespace(scratch=scratch)))


def compare(options: argparse.Namespace) -> None:
    print(f"peak memory of 50,000 images over their uint8 size: {memory(options):.2f}")
    bench = Bench(options)
    ways = bench.ways()
    for epochs in ways.values():
        bench.rate(epochs)
    rounds = []
    for number in range(options.repeats):
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        rounds.append({name: bench.rate(ways[name]) for name in names})
    print(f"{'':32s} {'images/s':>9s}   train() is faster by a factor of (quartiles)")
    for name in ways:
        ratios = [found["train()"] / found[name] for found in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        speed = statistics.median(found[name] for found in rounds)
        print(f"{name:32s} {speed:9.0f}   {middle:5.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
