"""Seconds to corrupt 1,000 images of 32 × 32 at severity 3, against image by image in NumPy and Pillow.

    python benchmarks/corruption.py [--data DIR] [--repeats 5] [--device cuda] [--json results.json]

Every kind takes turns with its reference (`corruption_reference.py`, some of the images), and the median
is printed, of the processor time of this process on one CPU thread, of the clock on a GPU. First turns,
which make tables, are printed apart. The images are CIFAR-100's of the data folder, or
smooth noise; both give the same times but for JPEG.

Then the memory: how far the peak of the resident set (Linux) grows when 10,000 images go through all
kinds, a batch at a time, after 1,000 have; in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from corruption_reference import references
from PIL import Image
from torch import Tensor

from hugbench.data.sources import load
from hugbench.evaluations.corruption.frost import frost_textures
from hugbench.evaluations.corruption.kinds import EXTRA, KINDS, corrupt
from hugbench.suite.schema import DatasetSpec

SEVERITY = 3


def images(count: int, data: Path | None) -> Tensor:
    """uint8 (count, 3, 32, 32)."""
    if data:
        spec = DatasetSpec(name="cifar100", max_train=max(count, 1000))
        batches = load(spec, data, notify=print).train.batches(count, torch.device("cpu"))
        return next(iter(batches))[0]
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 300 - 20
    return torch.nn.functional.interpolate(coarse, 32, mode="bilinear").clamp_(0, 255).to(torch.uint8)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    begun = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begun


def ice_files(folder: Path) -> list[Path]:
    """hugbench's own textures as files, as the reference reads its photographs anew for every image."""
    files = []
    for number, texture in enumerate(frost_textures(1.0, 3)):
        files.append(folder / f"{number}.png")
        Image.fromarray(texture.permute(1, 2, 0).round().to(torch.uint8).numpy()).save(files[-1])
    return files


def timed(options: argparse.Namespace) -> Iterator[dict[str, float | str]]:
    """A row per kind: seconds per 1,000 images of the first turn, of a later one, of the reference."""
    device: torch.device = options.device
    batch = images(1000, options.data).to(device)
    few = batch[: options.reference_images].permute(0, 2, 3, 1).cpu().contiguous().numpy()
    indices = torch.arange(len(batch), device=device)
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        slow = references(ice_files(Path(folder)))
        print(f"textures of frost, grown once in a process: {time.process_time() - begun:.2f} s\n")
        print(
            "| kind | first turn | hugbench | image by image | ratio |\n| --- | ---: | ---: | ---: | ---: |"
        )
        for kind in KINDS + EXTRA:

            def ours(kind: str = kind) -> Tensor:
                return corrupt(batch, kind, SEVERITY, seed=0, indices=indices)

            def theirs(kind: str = kind) -> list[np.ndarray]:
                return [slow[kind](image, draw) for image in few]

            first = seconds(ours, device)
            turns: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.repeats):
                turns[0].append(seconds(ours, device))
                if kind in slow:
                    turns[1].append(seconds(theirs, torch.device("cpu")) * 1000 / len(few))
            row = {"kind": kind, "first": first, "hugbench": statistics.median(turns[0])}
            yield {**row, "reference": statistics.median(turns[1])} if turns[1] else row


def peak_growth(options: argparse.Namespace) -> float:
    """MiB by which the peak grows from 1,000 to 10,000 images through all kinds, 500 at a time."""
    torch.set_num_threads(1)
    batch = images(500, options.data)
    peaks: list[float] = []
    for count in (1000, 10_000):
        for kind in KINDS + EXTRA:
            for first in range(0, count, len(batch)):
                indices = torch.arange(first, first + len(batch))
                corrupt(batch.to(options.device), kind, SEVERITY, seed=0, indices=indices)
        peaks.append(peak())
    return peaks[1] - peaks[0]


def peak() -> float:
    """MiB that this process had resident at most (what getrusage says begins with its parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def line(name: str, row: dict[str, float | str]) -> str:
    ours, theirs = float(row["hugbench"]), row.get("reference")
    ratio = f"{float(theirs):.3f} | {float(theirs) / ours:.1f}" if theirs else " | "
    return f"| {name} | {float(row['first']):.3f} | {ours:.3f} | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a data folder with cifar100")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--reference-images", type=int, default=50, help="per turn of the reference")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for row in timed(options):
        rows.append(row)
        print(line(str(row["kind"]), row), flush=True)
    fifteen = rows[: len(KINDS)]
    sums = {key: sum(float(row[key]) for row in fifteen) for key in ("first", "hugbench", "reference")}
    print(line("the fifteen", sums))
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        growth = fresh.apply(peak_growth, (options,))
    print(f"peak memory from 1,000 to 10,000 images: {growth:+.1f} MiB")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "fifteen": sums, "peak_growth": growth}, indent=1))


if __name__ == "__main__":
    main()
