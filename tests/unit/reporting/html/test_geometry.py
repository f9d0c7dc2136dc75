"""Proxies out of the weights, and the angles between them, by slow loops and known frames."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hugbench.reporting.html.geometry import MOST_PROXIES, angles_between, proxies_of
from hugbench.reporting.html.page import page
from tests.unit.reporting.html.make import accuracy, material
from tests.unit.reporting.html.read import Page

PROXIES = np.random.default_rng(0).normal(size=(10, 16)).astype(np.float32)


def slow_angles(proxies: np.ndarray) -> list[float]:
    found = []
    for i in range(len(proxies)):
        for j in range(i + 1, len(proxies)):
            a, b = proxies[i].astype(float), proxies[j].astype(float)
            cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
            found.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    return found


def test_angles_are_those_of_all_pairs() -> None:
    assert angles_between(PROXIES).tolist() == pytest.approx(slow_angles(PROXIES))


def test_angles_of_known_frames() -> None:
    assert angles_between(np.eye(4, dtype=np.float32)).tolist() == pytest.approx([90.0] * 6)
    simplex = np.eye(4) - 0.25
    assert angles_between(simplex.astype(np.float32)).tolist() == pytest.approx([109.4712206] * 6, abs=1e-4)
    both = np.array([[1, 0], [-2, 0], [0, 0]], np.float32)
    assert angles_between(both).tolist() == [180.0], "a proxy of length 0 has no direction"


def test_many_proxies_are_sampled() -> None:
    many = np.random.default_rng(0).normal(size=(2 * MOST_PROXIES + 1, 3)).astype(np.float32)
    assert len(angles_between(many)) == 1334 * 1333 // 2


@pytest.mark.parametrize("name", ["weight", "head.weight", "head.frame", "centres", "class_means", "frame"])
def test_proxies_are_found_under_every_name_that_criteria_have(tmp_path: Path, name: str) -> None:
    run = material(tmp_path, {"accuracy": accuracy}).runs[0]
    save_file({f"criterion.{name}": PROXIES, "criterion.bias": np.zeros(10, np.float32)}, run.folder.model)
    found = proxies_of(run)
    assert found is not None
    assert (found == PROXIES).all()


@pytest.mark.parametrize(
    "tensors",
    [
        {"embedding.weight": PROXIES},
        {"criterion.weight": PROXIES[:, :5].copy()},
        {"criterion.weight": PROXIES[0]},
        {"criterion.weight": np.full_like(PROXIES, np.nan)},
    ],
)
def test_what_are_no_proxies_is_not_taken_for_them(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    run = material(tmp_path, {"accuracy": accuracy}).runs[0]
    save_file(tensors, run.folder.model)
    assert proxies_of(run) is None


def test_weights_that_cannot_be_read_have_none(tmp_path: Path) -> None:
    run = material(tmp_path, {"accuracy": accuracy}).runs[0]
    run.folder.model.write_bytes(b"damaged")
    assert proxies_of(run) is None
    run.folder.model.unlink()
    assert proxies_of(run) is None


def test_the_page_shows_angles_and_says_who_has_none(tmp_path: Path) -> None:
    made = material(tmp_path, {"accuracy": accuracy})
    for run in made.runs:
        if run.label == "normface":  # one row too few: those of maximum class separation
            save_file({"criterion.weight": PROXIES[:9].copy()}, run.folder.model)
    found = Page(page(made))
    assert "Angles between the proxies" in found.text
    assert "All pairs of 10 proxies in 16 dimensions" in found.text
    assert "Line: 96.38°" in found.text, "acos(-1/9)"
    assert "Not shown, without proxies or not trained: normface." in found.text
    own = np.concatenate(
        [
            slow_angles(np.random.default_rng(seed).normal(size=(10, 16)).astype(np.float32))
            for seed in (0, 1, 2)
        ]
    )
    cells = next(cells for cells in found.rows if cells[:2] == ["hug", "3"] and len(cells) == 8)
    assert float(cells[2]) == pytest.approx(own.min(), abs=0.006)
    assert float(cells[7]) == pytest.approx(own.mean(), abs=0.006)


def test_the_picture_of_the_plane_is_part_of_the_page(tmp_path: Path) -> None:
    made = material(tmp_path, {"accuracy": accuracy})
    svg = tmp_path / "collapse-digits-test_resnet-standard.svg"
    other = tmp_path / "collapse-mnist-test_resnet-standard.svg"
    for path in (svg, other):
        path.write_text("<svg xmlns='http://www.w3.org/2000/svg'></svg>")
    found = Page(page(replace(made, pictures=(svg, other, tmp_path / "gone.svg"))))
    assert (
        len([address for address in found.resources if address.startswith("data:image/svg+xml;base64,")]) == 1
    )
    assert svg.name in found.text
    assert other.name not in found.text
