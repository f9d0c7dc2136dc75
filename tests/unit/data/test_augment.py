from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hugbench.data.augment import Part, augment, to_float
from hugbench.suite.schema import Augment

SHAPE = (2, 5, 7)


def batch(count: int, device: torch.device) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, *SHAPE), generator=draw, dtype=torch.uint8).to(device)


def seeded(device: torch.device, seed: int = 3) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def slow(images: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
    """Pixel by pixel, from the same draws."""
    device, count, (channels, height, width) = images.device, len(images), SHAPE

    def draw(high: int, *shape: int) -> list:
        return torch.randint(high, shape, generator=generator, device=device).flatten().tolist()

    offsets = draw(2 * spec.crop + 1, 2, count, 1) if spec.crop else [0] * (2 * count)
    coins = draw(2, count, 1) if spec.flip else [0] * count
    rows = draw(height, count, 1) if spec.cutout else []
    columns = draw(width, count, 1) if spec.cutout else []
    source, result = images.cpu().tolist(), torch.zeros(images.shape, dtype=torch.uint8)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                if spec.cutout:
                    top, left = rows[n] - spec.cutout // 2, columns[n] - spec.cutout // 2
                    if top <= y < top + spec.cutout and left <= x < left + spec.cutout:
                        continue
                from_y = y + offsets[n] - spec.crop
                from_x = (width - 1 - x if coins[n] else x) + offsets[count + n] - spec.crop
                if 0 <= from_y < height and 0 <= from_x < width:
                    for c in range(channels):
                        result[n, c, y, x] = source[n][c][from_y][from_x]
    return result


@pytest.mark.parametrize(
    "options",
    [
        {"flip": True},
        {"crop": 2},
        {"crop": 6},
        {"cutout": 1},
        {"cutout": 3},
        {"cutout": 4},
        {"cutout": 20},
        {"flip": True, "crop": 1, "cutout": 2},
        {"flip": True, "cutout": 2},
        {"crop": 1, "cutout": 2},
    ],
    ids=str,
)
def test_equal_to_a_loop_over_pixels(device, options: dict) -> None:
    images, spec = batch(40, device), Augment(**options)
    before = images.clone()
    found = augment(images, spec, seeded(device))
    assert found.dtype == torch.uint8
    assert found.device.type == device.type
    assert torch.equal(found.cpu(), slow(images, spec, seeded(device)))
    assert torch.equal(images, before)
    assert not torch.equal(found, images)


def test_nothing_asked_nothing_drawn(device) -> None:
    images, generator = batch(3, device), seeded(device)
    assert torch.equal(augment(images, Augment(), generator), images)
    assert torch.equal(generator.get_state(), seeded(device).get_state())


def test_every_offset_and_both_mirrors_are_equally_likely(device) -> None:
    count = 18_000
    image = torch.arange(1, 1 + 35, dtype=torch.uint8, device=device).view(1, 1, 5, 7)
    found = augment(image.expand(count, -1, -1, -1), Augment(flip=True, crop=1), seeded(device))
    kinds, counts = torch.unique(found.flatten(1).cpu(), dim=0, return_counts=True)
    assert len(kinds) == 9 * 2
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


def test_the_centre_of_the_cutout_is_uniform_and_clipped_at_the_borders(device) -> None:
    count = 35_000
    images = torch.ones(count, 1, 5, 7, dtype=torch.uint8, device=device)
    black = augment(images, Augment(cutout=3), seeded(device)) == 0
    sizes = torch.unique(black.flatten(1).sum(1)).tolist()
    assert sizes == [4, 6, 9]
    centres = augment(images, Augment(cutout=1), seeded(device)) == 0
    assert (centres.flatten(1).sum(1) == 1).all()
    assert ((centres.sum(0).cpu() - 1000).abs() < 5 * 1000**0.5).all()


def test_rows_and_columns_of_one_batch_have_draws_of_their_own(device) -> None:
    image = torch.arange(1, 1 + 35, dtype=torch.uint8, device=device).view(1, 1, 5, 7)
    images = image.expand(50, -1, -1, -1)
    first = augment(images, Augment(crop=3), seeded(device))
    assert len(torch.unique(first.flatten(1).cpu(), dim=0)) > 20
    assert torch.equal(first, augment(images, Augment(crop=3), seeded(device)))
    assert not torch.equal(first, augment(images, Augment(crop=3), seeded(device, 4)))


@pytest.mark.parametrize("rows", [[0, 1, 2], [39, 0, 1], [17], [5, 3, 3]])
def test_a_part_of_a_batch_gets_the_draws_of_the_whole(device, rows: list[int]) -> None:
    images, spec = batch(40, device), Augment(flip=True, crop=2, cutout=3)
    chosen = torch.tensor(rows, device=device)
    draw, whole = seeded(device), seeded(device)
    found = augment(images[chosen], spec, draw, Part(40, chosen))
    assert torch.equal(found, augment(images, spec, whole)[chosen])
    assert torch.equal(draw.get_state(), whole.get_state())


def test_to_float_is_the_division_by_255(device) -> None:
    values = torch.arange(256, dtype=torch.uint8, device=device)
    found = to_float(values)
    assert found.dtype == torch.float32
    expected = torch.tensor([value / 255 for value in range(256)], dtype=torch.float32)
    torch.testing.assert_close(found.cpu(), expected, rtol=0 if device.type == "cpu" else 1.2e-7, atol=0)
    assert found[0] == 0
    assert found[255] == 1
