from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hugbench.data.decode import Decoder, fitting, look, resized
from hugbench.errors import UserError
from tests.unit.data.make import pixels

SIZE = (6, 5)


def save(path: Path, mode: str, seed: int = 0, size: tuple[int, int] = SIZE) -> str:
    image = Image.fromarray(pixels(seed, size))
    if mode in {"RGBA", "LA"}:
        image.putalpha(Image.fromarray(pixels(seed + 1, size, 1)))
    image.convert(mode).save(path)
    return path.name


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *((mode, "a.png") for mode in ("RGB", "RGBA", "P", "L", "LA", "1")),
        *((mode, "a.jpg") for mode in ("RGB", "CMYK")),
        *(("L", "a.jpeg"), ("RGB", "a.webp"), ("RGBA", "a.webp")),
    ],
)
def test_every_mode_becomes_greyscale_or_colour(tmp_path: Path, mode: str, name: str) -> None:
    save(tmp_path / name, mode)
    with Image.open(tmp_path / name) as image:
        stored = image.convert("RGBA") if image.mode == "P" else image.copy()
    colour, grey = np.asarray(stored.convert("RGB")), np.asarray(stored.convert("L"))
    found = fitting(tmp_path, [name], None, None)
    assert found.shape == ((1 if mode in {"L", "LA", "1"} else 3), 5, 6)
    assert np.array_equal(found(name), grey[None] if found.shape[0] == 1 else colour.transpose(2, 0, 1))
    assert np.array_equal(fitting(tmp_path, [name], 1, None)(name)[0], grey)
    assert np.array_equal(fitting(tmp_path, [name], 3, None)(name), colour.transpose(2, 0, 1))


def test_one_colour_image_makes_the_set_colour(tmp_path: Path) -> None:
    files = [
        save(tmp_path / f"{index}.png", mode, index) for index, mode in enumerate(["L", "L", "RGB", "L"])
    ]
    assert fitting(tmp_path, files, None, None).shape == (3, 5, 6)
    assert fitting(tmp_path, [*files[:2], files[3]], None, None).shape == (1, 5, 6)
    grey = fitting(tmp_path, files, None, None)(files[0])
    assert np.array_equal(grey[0], grey[1])
    assert np.array_equal(grey[0], grey[2])


def test_other_sizes_are_refused_by_both_names_or_resized(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", "RGB"), save(tmp_path / "b.png", "RGB", 1, (7, 5))]
    found = fitting(tmp_path, files, None, None)
    with pytest.raises(
        UserError, match=r"b\.png: images of different sizes; found '7x5'; expected 6x5 as .*a\.png"
    ):
        found(files[1])
    resizing = fitting(tmp_path, files, None, 4)
    assert resizing.shape == (3, 4, 4)
    for file in files:
        with Image.open(tmp_path / file) as image:
            expected = np.asarray(image.resize((4, 4), Image.Resampling.BICUBIC))
        assert np.array_equal(resizing(file), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [3, 8, 11])
def test_arrays_and_files_are_resized_to_the_same_pixels(tmp_path: Path, channels: int, size: int) -> None:
    images, files = [], []
    for index in range(4):
        image = pixels(index, (8, 8), channels)
        files.append(f"{index}.png")
        Image.fromarray(image).save(tmp_path / files[-1])
        images.append(image[None] if channels == 1 else image.transpose(2, 0, 1))
    decoder = fitting(tmp_path, files, None, size)
    decoded = np.empty((4, channels, size, size), np.uint8)
    decoder.into(files, decoded)
    assert np.array_equal(resized(np.stack(images), size), decoded)
    if size == 8:
        assert np.array_equal(decoded, np.stack(images))


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((1, 1, 64, 64), np.uint8)
    stripes[..., ::2] = 255
    assert np.abs(resized(stripes, 8)[..., 1:-1].astype(int) - 127).max() <= 1


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cut", "crc"],
    ids=["empty", "text", "no header", "cut", "flipped"],
)
def test_a_damaged_image_is_named(tmp_path: Path, content: bytes | str) -> None:
    save(tmp_path / "good.png", "RGB", size=(40, 40))
    whole = (tmp_path / "good.png").read_bytes()
    if content == "cut":
        content = whole[: len(whole) // 2]
    elif content == "crc":
        content = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    assert isinstance(content, bytes)
    (tmp_path / "bad.png").write_bytes(content)
    decoder = fitting(tmp_path, ["good.png"], None, None)
    with pytest.raises(UserError, match=r"bad\.png: this image cannot be read \(\w+: ") as caught:
        decoder("bad.png")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"missing\.png: .*FileNotFoundError"):
        look(tmp_path / "missing.png")


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(5, 6) * 2000).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: an image of more than 8 bits"):
        fitting(tmp_path, ["a.png"], None, None)("a.png")


def test_into_keeps_the_order_and_names_the_first_bad_file(tmp_path: Path, monkeypatch) -> None:
    from hugbench.data import decode

    monkeypatch.setattr(decode, "_CHUNK", 3)
    files = [save(tmp_path / f"{index:02}.png", "RGB", index) for index in range(20)]
    decoder = Decoder(tmp_path, files[0], (3, 5, 6), False)
    out = np.empty((20, 3, 5, 6), np.uint8)
    decoder.into(files, out)
    for index in range(20):
        assert np.array_equal(out[index], pixels(index, SIZE).transpose(2, 0, 1))
    for index in (4, 15):
        (tmp_path / files[index]).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"04\.png"):
        decoder.into(files, out)


@pytest.mark.parametrize(
    "size", [(50, 37), (37, 50), (40, 40), (25, 24), (24, 24), (31, 64), (7, 9), (3, 30), (500, 375)]
)
@pytest.mark.parametrize(("shorter_side", "image_size"), [(28, 24), (24, 24), (29, 24), (30, 1)])
def test_the_centre_is_that_of_torchvision(
    tmp_path: Path, size: tuple[int, int], shorter_side: int, image_size: int
) -> None:
    from torchvision import transforms

    name = save(tmp_path / "a.png", "RGB", size=size)
    decoder = fitting(tmp_path, [name], None, image_size, shorter_side)
    found = decoder(name)
    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [transforms.Resize(shorter_side, bicubic), transforms.CenterCrop(image_size)]
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(transforms.Compose(steps)(image)).transpose(2, 0, 1)
    assert np.array_equal(found, expected)
    whole = pixels(0, size).transpose(2, 0, 1)[None]
    assert np.array_equal(resized(whole, image_size, shorter_side)[0], found)


def test_a_square_of_the_shorter_side_is_left_as_it_is(tmp_path: Path) -> None:
    name = save(tmp_path / "a.png", "RGB", size=(24, 24))
    found = fitting(tmp_path, [name], None, 24, 24)(name)
    assert np.array_equal(found, pixels(0, (24, 24)).transpose(2, 0, 1))
