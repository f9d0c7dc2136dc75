"""Edges, distances and equalised levels against loops, and against what OpenCV 5.0 makes of one image."""

from __future__ import annotations

import heapq
import math
from itertools import product

import numpy as np
import pytest
import torch

from hugbench.evaluations.corruption.edges import canny, distances, equalised

LIQUID = np.frombuffer(
    bytes.fromhex(
        "b800000000000000bfefd6000000000000000000bfdfcfb10000000000000000b3c9cbc500000000000000000000c3cf"
        "0000000000000000000000c10000000000000000000000b3000000000000000000000000b80000000000000000000000"
        "c2cdc8b60000000000000000bad5dfca0000000000bcb80000b3d0d2bb000000b6d2cf000000c7d0ba00000000d6e2bb"
    ),
    dtype=np.uint8,
).reshape(12, 12)
EDGES = [
    "#.......#..#",
    "........#..#",
    "........#...",
    ".........##.",
    "..........##",
    "...........#",
    "............",
    "##..........",
    "..##........",
    "....#...###.",
    "##..#...#.##",
    ".#..#...#..#",
]
SMOOTHED = (
    "010102030303020100000000010102030303020100000000020202030303020100000000020203030303020100000000"
    "020203030303020201000000020202020303030202010000010101010202020202010101000000010102020201010101"
    "000000000001010101010101000000000001010100000000000000000001010100000000000000000001010100000000"
)
EQUALISED = (
    "7171c5ffffffc571000000007171c5ffffffc57100000000c5c5c5ffffffc57100000000c5c5ffffffffc57100000000"
    "c5c5ffffffffc5c571000000c5c5c5c5ffffffc5c571000071717171c5c5c5c5c57171710000007171c5c5c571717171"
    "000000000071717171717171000000000071717100000000000000000071717100000000000000000071717100000000"
)


def from_hex(text, device):
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8, device=device).view(1, 12, 12)


def test_opencvs_edges(device) -> None:
    found = canny(torch.from_numpy(LIQUID.copy()).to(device)[None], 50, 150)[0]
    assert ["".join("#" if edge else "." for edge in row) for row in found.tolist()] == EDGES


def test_opencvs_distances(device) -> None:
    points = torch.tensor([[cell == "#" for cell in row] for row in EDGES], device=device)
    found = distances(points[None], 20)[0].double() / 65536
    assert found[0].tolist() == pytest.approx([0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 1, 0], abs=1e-4)
    assert found[3, :6].tolist() == pytest.approx([3, 3.1969, 3.5969, 4.2, 4.1969, 3.1969], abs=1e-4)


def test_opencvs_equalised_levels(device) -> None:
    found = equalised(from_hex(SMOOTHED, device))
    assert found.dtype == torch.int32
    assert torch.equal(found.to(torch.uint8), from_hex(EQUALISED, device))


def slow_canny(image, low, high):
    height, width = image.shape
    grown = np.pad(image.astype(int), 1, mode="edge")
    dx, dy = np.zeros((2, height, width), dtype=int)
    for i, j in np.ndindex(height, width):
        near = grown[i : i + 3, j : j + 3]
        dx[i, j] = (near[:, 2] - near[:, 0]) @ (1, 2, 1)
        dy[i, j] = (near[2] - near[0]) @ (1, 2, 1)
    size = np.pad(abs(dx) + abs(dy), 1)
    kept = np.zeros((height, width), dtype=bool)
    for i, j in np.ndindex(height, width):
        middle = size[i + 1, j + 1]
        angle = math.degrees(math.atan2(abs(dy[i, j]), abs(dx[i, j])))
        if angle < 22.5:
            largest = middle > size[i + 1, j] and middle >= size[i + 1, j + 2]
        elif angle > 67.5:
            largest = middle > size[i, j + 1] and middle >= size[i + 2, j + 1]
        else:
            side = -1 if (dx[i, j] < 0) != (dy[i, j] < 0) else 1
            largest = middle > size[i, j + 1 - side] and middle > size[i + 2, j + 1 + side]
        kept[i, j] = largest and middle > low
    todo = [
        place
        for place in np.ndindex(height, width)
        if kept[place] and size[place[0] + 1, place[1] + 1] > high
    ]
    edges = set(todo)
    while todo:
        i, j = todo.pop()
        for place in product((i - 1, i, i + 1), (j - 1, j, j + 1)):
            inside = 0 <= place[0] < height and 0 <= place[1] < width
            if inside and kept[place] and place not in edges:
                edges.add(place)
                todo.append(place)
    return np.array([[(i, j) in edges for j in range(width)] for i in range(height)])


def slow_distances(points, limit):
    """Dijkstra over the moves of king and knight."""
    best = np.full(points.shape, float(limit))
    queue = [(0.0, place) for place in zip(*np.nonzero(points), strict=True)]
    while queue:
        length, (i, j) = heapq.heappop(queue)
        if length > best[i, j] or (length == best[i, j] and length):
            continue
        best[i, j] = length
        for a, b in product(range(-2, 3), repeat=2):
            step = {1: 1.0, 2: 1.4, 5: 2.1969}.get(a * a + b * b)
            place = (i + a, j + b)
            inside = 0 <= place[0] < points.shape[0] and 0 <= place[1] < points.shape[1]
            if step and inside and length + step < best[place]:
                heapq.heappush(queue, (length + step, place))
    return best


def slow_equalised(image):
    counts = [int((image == level).sum()) for level in range(256)]
    first = next(level for level in range(256) if counts[level])
    if counts[first] == image.size:
        return image
    table, total = np.zeros(256), 0
    for level in range(first + 1, 256):
        total += counts[level]
        table[level] = round(
            float(np.float32(total) * (np.float32(255) / np.float32(image.size - counts[first])))
        )
    return table[image]


def blobs(count, height, width, seed=0):
    """uint8 images of smooth spots on black, the kind that spatter makes, and a plain one."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(seed)
    fields = [gaussian_filter(generator.normal(0.65, 0.3, (height, width)), 1) for _ in range(count - 1)]
    return np.stack(
        [np.uint8(255 * np.where(field < 0.66, 0, field)) for field in fields]
        + [np.zeros((height, width), np.uint8)]
    )


@pytest.mark.parametrize(("height", "width"), [(20, 24), (8, 8), (1, 5), (1, 1)])
def test_against_loops(height, width, device) -> None:
    images = blobs(7, height, width)
    tensor = torch.from_numpy(images).to(device)
    found = canny(tensor, 50, 150)
    expected = np.stack([slow_canny(image, 50, 150) for image in images])
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    far = distances(found, 20).cpu().numpy() / 65536
    np.testing.assert_allclose(far, [slow_distances(points, 20) for points in expected], atol=2e-4)
    levels = equalised(tensor).cpu().numpy()
    np.testing.assert_array_equal(levels, [slow_equalised(image) for image in images])


def test_distances_end_at_the_limit(device) -> None:
    points = torch.zeros(2, 1, 40, dtype=torch.bool, device=device)
    points[0, 0, 0] = True
    found = distances(points, 20).double() / 65536
    assert found[0, 0].tolist() == [min(place, 20) for place in range(40)]
    assert found[1].unique().tolist() == [20]
