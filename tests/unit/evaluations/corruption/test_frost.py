"""Frost against the reference's formula, photographs from a folder, and the textures of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hugbench.errors import UserError
from hugbench.evaluations.corruption.frost import PHOTOGRAPHS, check_frost_dir, frost, frost_textures
from hugbench.evaluations.corruption.ice import PANES, SIDE, ice
from hugbench.evaluations.corruption.kinds import corrupt

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures

SHAPES = ((60, 90), (63, 112), (63, 112), (70, 105), (99, 66))
"""Rows and columns of the photographs of these tests, once shrunk to a fifth."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five photographs of noise; every fifth pixel of every fifth row, from the third on, is another."""
    generator = np.random.default_rng(0)
    for name, (rows, columns) in zip(PHOTOGRAPHS, SHAPES, strict=True):
        pixels = generator.integers(0, 256, (5 * rows, 5 * columns, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, format="PNG")
    return tmp_path


def slow_frost(image, share, ice_share, photograph, first_row, first_column):
    height, width, _ = image.shape
    piece = photograph[first_row : first_row + height, first_column : first_column + width]
    return np.uint8(np.clip(share * image + ice_share * piece, 0, 255))


def slow_batch(images, severity, photographs, numbers):
    share, ice_share, _ = constants("frost", severity, images)
    which, begin = numbers.integers(len(photographs)).tolist(), numbers.uniform(2).double().tolist()
    expected = []
    for image, number, (down, across) in zip(arrays(images), which, begin, strict=True):
        photograph = photographs[number]
        row = int(down * (photograph.shape[0] - image.shape[0]))
        column = int(across * (photograph.shape[1] - image.shape[1]))
        expected.append(slow_frost(image, share, ice_share, photograph, row, column))
    return expected


@pytest.mark.parametrize("severity", SEVERITIES)
def test_small_images_equal_the_reference_bit_for_bit(severity, folder, device):
    """The reference shrinks a photograph to a fifth by OpenCV, which takes the middle one of five pixels."""
    photographs = [np.asarray(Image.open(folder / name))[2::5, 2::5] for name in PHOTOGRAPHS]
    images = pictures().to(device).repeat(4, 1, 1, 1)
    of = constants("frost", severity, images)
    found = frost(images, of, draws("frost", severity, len(images), device), frost_textures(of[2], 3, folder))
    expected = slow_batch(images, severity, photographs, draws("frost", severity, len(images), device))
    assert difference(found, expected) == 0


def test_large_images_equal_the_reference_bit_for_bit(folder, device):
    photographs = [np.asarray(Image.open(folder / name)) for name in PHOTOGRAPHS]
    images = pictures(3, 224, 224)[3:].to(device)
    of = constants("frost", 3, images)
    found = frost(images, of, draws("frost", 3, len(images), device), frost_textures(of[2], 3, folder))
    assert difference(found, slow_batch(images, 3, photographs, draws("frost", 3, len(images), device))) == 0


def test_every_texture_is_drawn_and_every_place(device):
    textures = [torch.full((1, 9, 11), 10 * number, dtype=torch.uint8) for number in range(5)]
    for texture in textures:
        texture[:, 0, :] += 1
        texture[:, :, 0] += 2
    images = torch.zeros(2000, 1, 8, 8, dtype=torch.uint8, device=device)
    found = frost(images, (1, 1, 1), draws("frost", 1, 2000, device), textures).cpu()
    numbers, counts = torch.unique(found[:, 0, -1, -1], return_counts=True)
    assert numbers.tolist() == [0, 10, 20, 30, 40]
    assert counts.min() > 300
    corners = {int(corner) for corner in (found[:, 0, 0, 0] - found[:, 0, -1, -1]).unique()}
    assert corners == {1, 3}  # the first row is 0: the reference, too, leaves out 9 - 8
    assert torch.equal(found[:, 0, 0, 1] - found[:, 0, -1, -1], torch.ones(2000, dtype=torch.uint8))


def test_grey_images_get_the_luminance_of_the_ice(device):
    colours, greys = frost_textures(0.2, 3), frost_textures(0.2, 1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    for colour, grey in zip(colours, greys, strict=True):
        assert (colour * weights).sum(0).sub(grey[0]).abs().max() <= 1.01
    images = pictures(1, 28, 28).to(device)
    assert corrupt(images, "frost", 3, seed=0, indices=torch.arange(6)).shape == images.shape


def test_own_textures_may_be_smaller_than_the_image(device):
    images = torch.zeros(2, 3, 16, 500, dtype=torch.uint8, device=device)
    found = corrupt(images, "frost", 5, seed=0, indices=torch.arange(2))
    width = frost_textures(constants("frost", 5, images)[2], 3)[0].shape[2]
    assert torch.equal(found[..., :100], found[..., width : width + 100])


def test_own_textures_are_bright_bluish_and_busy():
    """Their means and deviations are near those of the photographs (`PANES`)."""
    for pane, texture in zip(PANES, ice(), strict=True):
        assert texture.shape == (SIDE, SIDE, 3)
        assert texture.dtype == np.uint8
        assert texture.mean((0, 1)) == pytest.approx(pane.mean, abs=1)
        assert texture.std((0, 1)) == pytest.approx([pane.deviation] * 3, rel=0.06)
        red, green, blue = texture.mean((0, 1))
        assert red < green < blue
        wrapped = np.abs(np.diff(texture.astype(float), axis=0, append=texture[:1])).mean((1, 2))
        assert wrapped[-1] < 2 * wrapped[:-1].mean()
    again = ice.__wrapped__()
    assert all(np.array_equal(one, other) for one, other in zip(ice(), again, strict=True))


@pytest.mark.parametrize("size", [0.2, 0.37, 1, 1.5])
def test_textures_are_resized_linearly(size, folder):
    for name, texture in zip(PHOTOGRAPHS, frost_textures(size, 3, folder), strict=True):
        pixels = np.asarray(Image.open(folder / name)).astype(float)
        assert texture.shape == (3, round(pixels.shape[0] * size), round(pixels.shape[1] * size))
        for row, column in ((0, 0), (7, 3), (texture.shape[1] - 1, texture.shape[2] - 1)):
            expected = 0.0
            y, x = ((place + 0.5) / size - 0.5 for place in (row, column))
            for i in range(int(y) - 1, int(y) + 3):
                for j in range(int(x) - 1, int(x) + 3):
                    inside = pixels[min(max(i, 0), len(pixels) - 1), min(max(j, 0), pixels.shape[1] - 1)]
                    expected = expected + max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * inside
            assert texture[:, row, column].numpy() == pytest.approx(expected, abs=0.5001)


def test_a_good_folder_passes(folder):
    check_frost_dir(folder, 32, 32, 0.2)
    check_frost_dir(folder, 224, 224, 1)


def test_a_missing_folder(tmp_path):
    with pytest.raises(
        UserError, match=r"nowhere: frost_dir: no such folder; expected the files frost1\.png"
    ):
        check_frost_dir(tmp_path / "nowhere", 32, 32, 0.2)


def test_missing_photographs_are_named(folder):
    (folder / "frost2.png").unlink()
    (folder / "frost5.jpg").unlink()
    with pytest.raises(
        UserError, match=r"photographs of frost are missing; found 'no frost2\.png, frost5\.jpg'"
    ):
        check_frost_dir(folder, 32, 32, 0.2)
    with pytest.raises(UserError, match="are missing"):
        frost_textures(0.2, 3, folder)


def test_a_file_that_is_no_picture(folder):
    (folder / "frost4.jpg").write_text("frost")
    with pytest.raises(UserError, match=r"frost4\.jpg: frost_dir: not a picture"):
        check_frost_dir(folder, 32, 32, 0.2)


def test_a_picture_that_is_cut_short(folder):
    path = folder / "frost1.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"frost1\.png: frost_dir: not a picture"):
        frost_textures(0.2, 1, folder)


def test_a_photograph_that_is_too_small(folder):
    with pytest.raises(
        UserError, match=r"frost1\.png: frost_dir: .*too small; found '90x60 .*more than 60x60"
    ):
        check_frost_dir(folder, 60, 60, 0.2)
    check_frost_dir(folder, 59, 59, 0.2)
