"""How fast photographs come from their files, cropped at random, against torchvision's ImageFolder.

    python benchmarks/streaming.py [--images N] [--workers N] [--repeats N]

Made-up JPEGs of 500x375 pixels and some 110 kB, as many details as photographs have, are written to a
temporary folder and lie in the file cache. Both crop (area 0.08 to 1, ratio 3/4 to 4/3), resize to 224x224,
mirror, and give uint8 batches. Rounds are interleaved, the medians are printed, and the ratio; then what it
takes to decode and to know a folder, and what that is for ImageNet's 1,331,167 files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from hugbench.data import streaming
from hugbench.data.crops import Crops
from hugbench.data.decode import Decoder
from hugbench.data.listing import list_folder
from hugbench.data.machine import available_cpus
from hugbench.data.samples import contents
from hugbench.data.streaming import StreamedImages
from hugbench.suite.schema import RandomResizedCrop

IMAGENET = 1_281_167 + 50_000
CROPS = Crops(RandomResizedCrop(), flip=True, seed=0)


def photograph(draw: np.random.Generator, width: int = 500, height: int = 375) -> Image.Image:
    """Noise whose amplitudes fall with the frequency, as those of photographs do."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falls = np.maximum(np.hypot(down, across), 1 / width) ** -1.15
    waves = draw.normal(size=(3, 2, *falls.shape))
    planes = np.fft.irfft2((waves[:, 0] + 1j * waves[:, 1]) * falls, (height, width))
    planes /= planes.std((1, 2), keepdims=True)
    pixels = 127 + 50 * np.stack([planes[0], planes[0] + 0.3 * planes[1], planes[0] + 0.3 * planes[2]], -1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write(folder: Path, count: int) -> int:
    """Train and test images of ten classes; their bytes."""
    draw, written = np.random.default_rng(0), 0
    for index in range(count + 10):
        place = folder / ("train" if index < count else "val") / f"n{index % 10:08}" / f"{index:06}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        photograph(draw).save(place, quality=92)
        written += place.stat().st_size
    return written


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def through(batches: Callable[[], object]) -> Callable[[], None]:
    """Goes through all batches."""

    def go() -> None:
        for _ in batches():  # type: ignore[attr-defined]
            pass

    return go


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=available_cpus())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    streaming._workers = lambda chunks: options.workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{write(folder, options.images) / (options.images + 10) / 1e3:.0f} kB an image")
        listing = list_folder(folder)
        decoder = Decoder(folder, listing.train.files[0], (3, 224, 224), True, 256)
        images = StreamedImages(listing.train.files, torch.tensor(listing.train.labels), decoder)
        bicubic = transforms.InterpolationMode.BICUBIC
        steps = [
            transforms.RandomResizedCrop(224, interpolation=bicubic),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
        loader = DataLoader(
            ImageFolder(str(folder / "train"), transforms.Compose(steps)),
            options.batch_size,
            shuffle=True,
            num_workers=options.workers,
        )
        cpu, order = torch.device("cpu"), torch.randperm(options.images)
        ways = {
            "hugbench": through(lambda: images.cropped(CROPS).batches(options.batch_size, cpu, order)),
            "ImageFolder": through(lambda: loader),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way, work in ways.items():
                times[way].append(seconds(work))
        rates = {way: options.images / statistics.median(taken) for way, taken in times.items()}
        for way, rate in rates.items():
            print(f"{way:12s} {rate:8,.0f} images/s with {options.workers} workers")
        print(f"ratio {rates['hugbench'] / rates['ImageFolder']:.2f}")
        files = listing.train.files[: min(300, options.images)]
        every = len(listing.train.files) + len(listing.test.files)
        for what, count, work in (
            ("decode", len(files), lambda: [Image.open(folder / file).load() for file in files]),
            ("decode, 256, centre 224", len(files), lambda: [decoder(file) for file in files]),
            ("decode, crop", len(files), lambda: [decoder(f, i, CROPS) for i, f in enumerate(files)]),
            ("list", every, lambda: list_folder(folder)),
            ("read 4 KiB of each", every, lambda: contents(listing)),
        ):
            each = min(seconds(work) for _ in range(options.repeats)) / count
            print(f"{what:24s} {1e3 * each:7.3f} ms a file, {IMAGENET * each / 60:6.1f} min for ImageNet")


if __name__ == "__main__":
    main()
