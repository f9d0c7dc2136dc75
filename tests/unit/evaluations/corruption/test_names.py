"""Names and severities are refused with the nearest valid one, without torch; so are wrong images."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hugbench.errors import UserError
from hugbench.evaluations.corruption.constants import STRENGTHS
from hugbench.evaluations.corruption.kinds import KERNELS, corrupt
from hugbench.evaluations.corruption.names import EXTRA, KINDS, check_kind, check_severity


def test_fifteen_and_four_each_with_constants_and_a_kernel() -> None:
    assert (len(KINDS), len(EXTRA), len({*KINDS, *EXTRA})) == (15, 4, 19)
    assert set(STRENGTHS) == {*KINDS, *EXTRA} == {*KERNELS, "frost"}


def test_names_and_constants_need_no_torch() -> None:
    code = "import hugbench.evaluations.corruption.constants, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("gausian_noise", "gaussian_noise"), ("Fog", "fog"), ("jpeg", "jpeg_compression"), ("xyz", None)],
)
def test_an_unknown_kind_says_the_nearest(given, nearest) -> None:
    with pytest.raises(UserError, match="unknown corruption") as caught:
        check_kind(given, key="kinds")
    assert (caught.value.found, caught.value.nearest, caught.value.key) == (given, nearest, "kinds")
    assert "zoom_blur" in caught.value.expected


@pytest.mark.parametrize("given", [0, 6, -1, True, 1.0, "3", None])
def test_severities_are_1_to_5(given) -> None:
    with pytest.raises(UserError, match="1 to 5"):
        check_severity(given)


IMAGES = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "indices", "message"),
    [
        (IMAGES.float(), torch.arange(2), "images: expected uint8, found torch.float32"),
        (IMAGES[0], torch.arange(3), r"found \(3, 8, 8\)"),
        (IMAGES[:, :2], torch.arange(2), r"expected \(B, 1 or 3, H, W\)"),
        (IMAGES[:, :, :0], torch.arange(2), r"found \(2, 3, 0, 8\)"),
        (IMAGES, torch.arange(3), r"indices: expected int64 \(2,\)"),
        (IMAGES, torch.arange(2).int(), r"int32"),
        (IMAGES, torch.arange(2)[:, None], r"\(2, 1\)"),
    ],
)
def test_wrong_images_and_indices(images, indices, message) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt(images, "contrast", 3, seed=0, indices=indices)


@pytest.mark.parametrize(("kind", "severity"), [("contrst", 3), ("contrast", 0), ("contrast", 6)])
def test_corrupt_checks_names(kind, severity) -> None:
    with pytest.raises(UserError):
        corrupt(IMAGES, kind, severity, seed=0, indices=torch.arange(2))
