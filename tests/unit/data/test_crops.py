from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as transforms

from hugbench.data import folders, streaming
from hugbench.data.crops import Crops, crops_of
from hugbench.data.images import Images
from hugbench.data.sources import load
from hugbench.seeding import derive
from hugbench.suite.schema import Augment, DatasetSpec
from hugbench.suite.schema import RandomResizedCrop as Spec
from tests.unit.data.make import write_idx, write_photographs

CPU = torch.device("cpu")
CROPS = Crops(Spec(), flip=True, seed=5)


def slow(crops: Crops, row: int, width: int, height: int) -> tuple[int, int, int, int, bool]:
    """Top, left, height and width as torchvision names them, in its order and from the same numbers."""
    draw = np.random.Generator(np.random.Philox(key=np.array([crops.seed, row], np.uint64)))
    mirrored = bool(draw.random() < 0.5)
    for _ in range(10):
        u = [draw.random() for _ in range(4)]
        scale = crops.spec.scale[0] * (1 - u[0]) + crops.spec.scale[1] * u[0]
        low, high = np.log(crops.spec.ratio)
        aspect = np.exp(low * (1 - u[1]) + high * u[1])
        w = round((height * width * scale * aspect) ** 0.5)
        h = round((height * width * scale / aspect) ** 0.5)
        if w < 1 or h < 1 or w > width or h > height:
            continue
        left = max(x for x in range(width - w + 1) if x <= u[2] * (width - w + 1))
        top = max(y for y in range(height - h + 1) if y <= u[3] * (height - h + 1))
        return top, left, h, w, mirrored and crops.flip
    w, h = width, height
    if width / height < crops.spec.ratio[0]:
        h = round(width / crops.spec.ratio[0])
    elif width / height > crops.spec.ratio[1]:
        w = round(height * crops.spec.ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w, mirrored and crops.flip


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (32, 32), (3, 2), (1, 1), (900, 20), (7, 400)])
@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.5), (1.0, 1.0)), ((1.0, 1.0), (0.1, 9.0))]
)
def test_the_cut_is_that_of_a_slow_derivation(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    for row in range(60):
        crops = Crops(Spec(scale=scale, ratio=ratio), flip=row % 2 == 0, seed=derive(1, "x", row % 3))
        found = crops.cut(row, *size)
        told = (found.top, found.left, found.height, found.width, found.mirrored)
        assert told == slow(crops, row, *size)
        left, top, right, bottom = found.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


def test_the_cuts_are_distributed_as_torchvisions() -> None:
    count, image = 6000, torch.zeros(1, 375, 500)
    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    cuts = [CROPS.cut(row, 500, 375) for row in range(count)]
    ours = [(cut.top, cut.left, cut.height, cut.width) for cut in cuts]
    for mine, other in zip(np.array(ours, float).T, np.array(theirs, float).T, strict=True):
        gap = np.abs(np.quantile(mine, np.arange(0.1, 1, 0.1)) - np.quantile(other, np.arange(0.1, 1, 0.1)))
        assert gap.max() < 0.1 * other.std()
    assert abs(sum(cut.mirrored for cut in cuts) - count / 2) < 5 * math.sqrt(count / 4)


def test_seeds_epochs_and_images_have_cuts_of_their_own() -> None:
    spec = Augment(flip=True, random_resized_crop=Spec())
    epochs = [crops_of(spec, seed, "experience", 2, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert epochs[0] == Crops(Spec(), True, derive(0, "experience", 2, "resized crop", 0))
    assert len({crops.cut(row, 500, 375) for crops in epochs for row in range(50)}) == 200
    assert crops_of(Augment(flip=True), 0, 3) is None
    assert Crops(Spec(), False, 5).cut(9, 500, 375) == replace(CROPS.cut(9, 500, 375), mirrored=False)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    write_photographs(tmp_path / "photos", ["a", "b", "c"], train=7, test=2)
    return tmp_path


def loaded(root: Path, resident: str, **options: object) -> Images:
    spec = DatasetSpec(name="photos", image_size=24, resident=resident, **options)
    return load(spec, root, notify=lambda sentence: None).train


def test_parts_are_those_that_torchvision_would_cut(photographs: Path, device) -> None:
    train = loaded(photographs, "never")
    files = sorted((photographs / "photos" / "train").glob("*/*"))
    for pixels, _, indices in train.cropped(CROPS).batches(4, device):
        for image, index in zip(pixels, indices.tolist(), strict=True):
            with Image.open(files[index]) as file:
                whole = file.convert("RGB")
            top, left, height, width, mirrored = slow(CROPS, index, *whole.size)
            size = [24, 24]
            part = transforms.resized_crop(
                whole, top, left, height, width, size, interpolation=InterpolationMode.BICUBIC
            )
            expected = np.asarray(transforms.hflip(part) if mirrored else part).transpose(2, 0, 1)
            assert np.array_equal(image.cpu().numpy(), expected)


def by_row(images: Images, size: int, device: torch.device, order: torch.Tensor | None = None) -> dict:
    found = {}
    for pixels, targets, indices in images.batches(size, device, order):
        for image, target, index in zip(pixels.cpu(), targets.cpu(), indices, strict=True):
            found[int(images.rows[index])] = (image.numpy().tobytes(), int(target))
    return found


def test_a_part_depends_on_its_image_alone(photographs: Path, device, monkeypatch) -> None:
    streamed = loaded(photographs, "never").cropped(CROPS)
    expected = by_row(streamed, 21, device)
    assert len(set(expected.values())) == 21
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 2 * 3 * 24 * 24)
    for workers, size in ((0, 4), (1, 5), (2, 8)):
        monkeypatch.setattr(streaming, "_workers", lambda chunks, workers=workers: workers)
        assert by_row(streamed, size, device, order) == expected
    resident = loaded(photographs, "always")
    assert resident.can_be_cut
    assert by_row(resident.cropped(CROPS), 5, device, order) == expected
    mine = by_row(resident.subset(order[:6]).cropped(CROPS), 4, device)  # as one of several processes
    assert mine == {int(row): expected[int(row)] for row in order[:6]}
    fewer = loaded(photographs, "never", max_train=9)
    assert by_row(fewer.cropped(CROPS), 2, device).items() <= expected.items()
    picked = resident.cropped(CROPS).picker(device)(order[:3].to(device)).cpu().numpy()
    assert [image.tobytes() for image in picked] == [expected[int(row)][0] for row in order[:3]]


def test_images_in_their_own_size_are_cut_in_memory(tmp_path: Path, device) -> None:
    arrays = write_idx(tmp_path / "FashionMNIST" / "raw")["train-images-idx3-ubyte"]
    train = load(DatasetSpec(name="fashion_mnist"), tmp_path, notify=lambda sentence: None).train
    found = torch.cat([pixels for pixels, *_ in train.cropped(CROPS).batches(6, device)]).cpu().numpy()
    for row, image in enumerate(arrays):
        cut = CROPS.cut(row, 28, 28)
        part = Image.fromarray(image).crop(cut.box)
        part = part.resize((28, 28), Image.Resampling.BICUBIC)
        assert np.array_equal(found[row, 0], np.asarray(part)[:, ::-1] if cut.mirrored else np.asarray(part))
    chosen = train.subset(torch.tensor([7, 2])).cropped(CROPS)
    again = next(chosen.subset(torch.tensor([1])).batches(1, device))[0].cpu().numpy()
    assert np.array_equal(again[0], found[2])


def test_resized_images_without_files_cannot_be_cut(tmp_path: Path) -> None:
    write_idx(tmp_path / "FashionMNIST" / "raw")
    spec = DatasetSpec(name="fashion_mnist", image_size=14)
    train = load(spec, tmp_path, notify=lambda sentence: None).train
    assert not train.can_be_cut
    with pytest.raises(ValueError, match="not at hand in their own size"):
        train.cropped(CROPS)


def test_streaming_is_no_question_of_memory(photographs: Path, monkeypatch) -> None:
    resident = by_row(loaded(photographs, "auto").cropped(CROPS), 5, CPU)
    monkeypatch.setattr(folders, "available_memory", lambda: 1)
    assert by_row(loaded(photographs, "auto").cropped(CROPS), 5, CPU) == resident
    shutil.rmtree(photographs / "photos")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": (1.0, 0.1)}, "scale must rise"),
        ({"ratio": (2.0, 1.0)}, "ratio must rise"),
        ({"scale": (0.5, 1.5)}, "more than the whole image"),
        ({"scale": (0.0, 1.0)}, "greater than 0"),
        ({"ratio": (1.0,)}, "Field required"),
    ],
)
def test_ranges_that_are_none(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Spec(**options)


def test_one_crop_at_a_time_and_what_is_left_for_the_device() -> None:
    with pytest.raises(ValueError, match="crop or random_resized_crop, not both"):
        Augment(crop=4, random_resized_crop=Spec())
    whole = Augment(flip=True, cutout=8, random_resized_crop=Spec())
    assert whole.batched == Augment(cutout=8)
    assert Augment(flip=True, crop=4).batched == Augment(flip=True, crop=4)
