"""Constants at CIFAR-C's and ImageNet-C's sizes, and the rule for every other."""

from __future__ import annotations

import pytest

from hugbench.evaluations.corruption.constants import STRENGTHS, strength
from hugbench.evaluations.corruption.names import EXTRA, KINDS

THIRD = {  # of severity 3, read off the two scripts a second time
    "gaussian_noise": ((0.08,), (0.18,)),
    "shot_noise": ((100,), (12,)),
    "impulse_noise": ((0.03,), (0.09,)),
    "defocus_blur": ((0.5, 0.6), (6, 0.5)),
    "glass_blur": ((0.4, 1, 1), (1, 2, 3)),
    "motion_blur": ((6, 2), (15, 8)),
    "zoom_blur": ((1.16, 0.01), (1.21, 0.02)),
    "snow": ((0.15, 0.3, 1.75, 0.55, 10, 4, 0.9), (0.55, 0.3, 4, 0.9, 12, 8, 0.7)),
    "frost": ((0.9, 0.4, 0.2), (0.7, 0.7, 1)),
    "fog": ((0.75, 2.5), (2.5, 1.7)),
    "brightness": ((0.15,), (0.3,)),
    "contrast": ((0.4,), (0.2,)),
    "elastic_transform": ((32 * 0.08, 32 * 0.06, 32 * 0.06), (244 * 0.05, 244 * 0.01, 244 * 0.02)),
    "pixelate": ((0.85,), (0.4,)),
    "jpeg_compression": ((58,), (15,)),
    "speckle_noise": ((0.12,), (0.35,)),
    "gaussian_blur": ((0.7,), (3,)),
    "spatter": ((0.65, 0.3, 1, 0.69, 0.5, 0), (0.65, 0.3, 2, 0.68, 0.5, 0)),
    "saturate": ((1.5, 0), (2, 0)),
}


@pytest.mark.parametrize("kind", KINDS + EXTRA)
def test_the_two_anchors(kind) -> None:
    assert strength(kind, 3, 32, 32) == pytest.approx(THIRD[kind][0], rel=1e-12)
    assert strength(kind, 3, 224, 224) == pytest.approx(THIRD[kind][1], rel=1e-12)
    rows = STRENGTHS[kind]
    assert len(rows.cifar) == len(rows.imagenet) == 5
    assert {len(row) for row in rows.cifar + rows.imagenet} == {len(rows.names)}
    assert rows.lengths | rows.whole | rows.parts <= set(rows.names)


def test_the_nearer_anchor_on_a_logarithmic_scale() -> None:
    assert strength("contrast", 1, 84, 84) == (0.75,)  # 84/32 < 224/84
    assert strength("contrast", 1, 85, 85) == (0.4,)


@pytest.mark.parametrize(
    ("side", "sigma"), [(8, 0.7), (28, 0.7), (64, 1.4), (84, 84 / 32 * 0.7), (112, 1.5), (448, 6)]
)
def test_lengths_grow_with_the_image_but_never_shrink_below_those_at_32(side, sigma) -> None:
    assert strength("gaussian_blur", 3, side, side) == (pytest.approx(sigma),)
    assert strength("gaussian_noise", 3, side, side) == ((0.08,) if side < 85 else (0.18,))


def test_whole_lengths_are_rounded_and_at_least_1() -> None:
    assert [strength("glass_blur", 3, side, side)[1] for side in (8, 32, 64, 96, 224, 336)] == [
        1, 1, 2, 1, 2, 3,
    ]  # fmt: skip


@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_the_elastic_transform_is_in_parts_of_the_side(side) -> None:
    assert strength("elastic_transform", 5, side, side) == pytest.approx(
        (0.1 * side, 0.03 * side, 0.03 * side)
    )


def test_the_shorter_side_counts() -> None:
    assert strength("motion_blur", 2, 64, 500) == strength("motion_blur", 2, 64, 64) == (12, 3)
    assert strength("motion_blur", 2, 500, 64) == (12, 3)
