"""How fast augmented batches come: resident and batched against a DataLoader with PIL transforms.

    python benchmarks/data_loading.py [--data DIR] [--device cuda] [--workers N] [--threads N]

Both crop at random (4 pixels of padding), mirror, and give float32 in [0, 1] on the device, from
images in memory: CIFAR-100 of the data folder, or noise of its shape. Rounds are interleaved, the
medians are printed, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hugbench.data.augment import augment, to_float
from hugbench.data.images import Images, ResidentImages
from hugbench.data.machine import available_cpus
from hugbench.data.sources import load
from hugbench.suite.schema import Augment, DatasetSpec


class InMemory(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR100: an array of images that become PIL's one by one."""

    def __init__(self, images: Images) -> None:
        batches = [batch for batch, _, _ in images.batches(1000, torch.device("cpu"))]
        self.pixels = torch.cat(batches).permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = images.targets.tolist()
        crop = transforms.RandomCrop(self.pixels.shape[1], padding=4)
        self.transform = transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]


def noise(count: int) -> ResidentImages:
    draw = np.random.default_rng(0)
    pixels = torch.from_numpy(draw.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    return ResidentImages(pixels, torch.from_numpy(draw.integers(0, 100, count)))


def resident(images: Images, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    spec = Augment(flip=True, crop=4)
    for batch, _, _ in images.batches(batch_size, device, torch.randperm(len(images)), drop_last=True):
        yield to_float(augment(batch, spec, generator))


def seconds(batches: Callable[[], Iterator[Tensor]], device: torch.device) -> float:
    begun = time.perf_counter()
    for _ in batches():
        pass
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data folder with cifar100")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--workers", type=int, default=available_cpus(), help="of the DataLoader")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for the resident images")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.data:
        spec = DatasetSpec(name="cifar100", max_train=options.images)
        images: Images = load(spec, options.data, notify=print).train
    else:
        images = noise(options.images)
    pinned = options.device.type == "cuda"
    loader = DataLoader(
        InMemory(images),
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        pin_memory=pinned,
    )
    ways: dict[str, Callable[[], Iterator[Tensor]]] = {
        "hugbench, resident": lambda: resident(images, options.batch_size, options.device),
        f"DataLoader, PIL, {options.workers} workers": lambda: (
            batch.to(options.device, non_blocking=pinned) for batch, _ in loader
        ),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, batches in ways.items():
            taken = seconds(batches, options.device)
            if repeat:  # the first round starts the workers and warms up
                times[way].append(taken)
    count = len(images) // options.batch_size * options.batch_size
    rates = {way: count / statistics.median(taken) for way, taken in times.items()}
    for way, rate in rates.items():
        print(f"{way:32s} {rate:12,.0f} images/s")
    ours, theirs = rates.values()
    print(f"ratio {ours / theirs:.1f} on {options.device}, {options.threads} torch threads")


if __name__ == "__main__":
    main()
