from __future__ import annotations

import os
import shutil
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from hugbench.data import folders, sources
from hugbench.data.decode import Decoder
from hugbench.data.images import Dataset, Images, ResidentImages
from hugbench.data.known import KNOWN
from hugbench.data.listing import list_folder
from hugbench.data.longtail import class_counts, kept_counts
from hugbench.data.samples import contents
from hugbench.data.sources import load
from hugbench.data.streaming import StreamedImages
from hugbench.errors import UserError
from hugbench.seeding import generator
from hugbench.suite.schema import DatasetSpec, LongTail
from tests.unit.data.make import pixels, write_folder, write_idx, write_photographs

CPU = torch.device("cpu")


def get(name: str, root: Path, said: list[str] | None = None, **options: object) -> Dataset:
    return load(DatasetSpec(name=name, **options), root, notify=[].append if said is None else said.append)


def all_of(images: Images) -> torch.Tensor:
    return torch.cat([batch for batch, _, _ in images.batches(7, CPU)])


def assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.classes, one.mean, one.std, one.checksum) == (
        other.classes,
        other.mean,
        other.std,
        other.checksum,
    )
    for mine, theirs in (
        (one.train, other.train),
        (one.validation, other.validation),
        (one.test, other.test),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert torch.equal(mine.targets, theirs.targets)
            assert torch.equal(all_of(mine), all_of(theirs))


@pytest.fixture
def undecodable(monkeypatch):
    """From its call on no image can be decoded, so that only a cache can give any."""

    def refuse(*_: object) -> None:
        raise AssertionError("an image was decoded")

    return lambda: monkeypatch.setattr(Decoder, "into", refuse)


def test_digits_need_no_folder(tmp_path: Path) -> None:
    found = get("digits", tmp_path / "nowhere", validation=0.1)
    assert found.classes == tuple("0123456789")
    assert found.validation is not None
    assert (len(found.train), len(found.validation), len(found.test)) == (1437 - 143, 143, 360)
    assert found.train.shape == (1, 8, 8)
    assert list(tmp_path.iterdir()) == []
    assert found.checksum == get("digits", tmp_path).checksum
    assert get("digits", tmp_path, image_size=16).train.shape == (1, 16, 16)


def test_mean_and_std_are_of_the_images_trained_on(tmp_path: Path) -> None:
    found = get("digits", tmp_path, validation=0.3, max_train=200)
    values = all_of(found.train).double() / 255
    assert found.mean == pytest.approx((float(values.mean()),), rel=1e-12)
    assert found.std == pytest.approx((float(values.std(correction=0)),), rel=1e-12)
    assert found.mean != get("digits", tmp_path).mean


def test_the_validation_images_do_not_depend_on_max_train(tmp_path: Path) -> None:
    whole, small = (get("digits", tmp_path, validation=0.2, max_train=count) for count in (None, 50))
    assert whole.validation is not None
    assert small.validation is not None
    assert torch.equal(all_of(whole.validation), all_of(small.validation))
    assert torch.bincount(small.train.targets).tolist() == [5] * 10
    held = {image.numpy().tobytes() for image in all_of(small.validation)}
    assert not held & {image.numpy().tobytes() for image in all_of(small.train)}


def test_a_long_tail_is_cut_from_what_validation_leaves(tmp_path: Path) -> None:
    whole = get("digits", tmp_path, validation=0.2)
    tail = LongTail(imbalance_factor=20.0)
    found = get("digits", tmp_path, validation=0.2, long_tail=tail)
    smallest = int(torch.bincount(whole.train.targets).min())
    assert torch.bincount(found.train.targets).tolist() == list(class_counts(smallest, 10, tail))
    assert found.validation is not None
    assert whole.validation is not None
    assert torch.equal(all_of(found.validation), all_of(whole.validation))
    assert torch.equal(all_of(found.test), all_of(whole.test))
    values = all_of(found.train).double() / 255
    assert found.mean == pytest.approx((float(values.mean()),), rel=1e-12)
    assert found.std == pytest.approx((float(values.std(correction=0)),), rel=1e-12)
    small = get("digits", tmp_path, validation=0.2, long_tail=tail, max_train=200)
    assert torch.bincount(small.train.targets).tolist() == list(kept_counts(smallest, 10, tail, 200))


def test_a_long_tail_streams_the_same_bits(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", ["a", "b", "c"], train=9, test=2)
    options = {"long_tail": LongTail(imbalance_factor=4.0, class_order="seeded", seed=5)}
    resident, streamed = (get("set", tmp_path, resident=kind, **options) for kind in ("always", "never"))
    assert sorted(torch.bincount(resident.train.targets).tolist()) == [2, 4, 9]
    assert_same(streamed, resident)


def test_a_folder_gives_the_pixels_of_its_files(tmp_path: Path) -> None:
    written = write_folder(tmp_path / "flowers", ["rose", "aster", "tulip"], train=4, test=2)
    said: list[str] = []
    found = get("flowers", tmp_path, said)
    assert found.classes == ("aster", "rose", "tulip")
    assert found.train.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for images, part in ((found.train, "train"), (found.test, "test")):
        expected = np.stack([image.transpose(2, 0, 1) for image in written[part]])
        assert np.array_equal(all_of(images).numpy(), expected)
    assert said == ["flowers: decoding 18 images, once"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [None, 7])
def test_resident_streamed_and_cached_are_the_same_bits(
    tmp_path: Path, channels: int, image_size: int | None
) -> None:
    write_folder(tmp_path / "set", ["a", "b", "c"], train=9, test=4, channels=channels)
    options = {"image_size": image_size, "validation": 0.25, "max_train": 15, "max_test": 7}
    resident = get("set", tmp_path, resident="always", **options)
    streamed = get("set", tmp_path, resident="never", **options)
    assert isinstance(resident.train, ResidentImages)
    assert isinstance(streamed.train, StreamedImages)
    assert resident.train.shape == streamed.train.shape == (channels, image_size or 5, image_size or 6)
    for resident_or_not in ("always", "never", "auto"):
        assert_same(get("set", tmp_path, resident=resident_or_not, **options), resident)


def test_auto_streams_what_takes_more_than_half_of_the_memory(tmp_path: Path, monkeypatch) -> None:
    write_folder(tmp_path / "set", ["a", "b"], train=3, test=2)
    size = 10 * 3 * 6 * 5
    for memory, kind in ((2 * size, ResidentImages), (2 * size - 1, StreamedImages)):
        monkeypatch.setattr(folders, "available_memory", lambda memory=memory: memory)
        assert type(get("set", tmp_path).train) is kind
    assert type(get("set", tmp_path, image_size=3).train) is ResidentImages
    assert type(get("set", tmp_path, image_size=9).train) is StreamedImages


def test_the_second_time_nothing_is_decoded(tmp_path: Path, undecodable) -> None:
    write_folder(tmp_path / "set", ["a", "b"])
    first, resized = get("set", tmp_path), get("set", tmp_path, image_size=4)
    undecodable()
    said: list[str] = []
    assert_same(get("set", tmp_path, said), first)
    assert_same(get("set", tmp_path, said, image_size=4), resized)
    assert said == []
    with pytest.raises(AssertionError, match="an image was decoded"):
        get("set", tmp_path, image_size=5)


@pytest.mark.parametrize("resident", ["always", "never"])
def test_a_changed_file_is_decoded_again(tmp_path: Path, resident: str) -> None:
    write_folder(tmp_path / "set", ["a", "b"])
    before = get("set", tmp_path, resident=resident)
    file = tmp_path / "set" / "train" / "b" / "001.png"
    Image.fromarray(pixels(99)).save(file)
    after = get("set", tmp_path, resident=resident)
    assert after.checksum != before.checksum
    assert np.array_equal(all_of(after.train)[4].numpy(), pixels(99).transpose(2, 0, 1))
    os.utime(file, ns=(1, 1))
    assert get("set", tmp_path, resident=resident).checksum == after.checksum


@pytest.mark.parametrize("resident", ["always", "never"])
def test_a_damaged_cache_is_told_and_mended(tmp_path: Path, resident: str) -> None:
    write_folder(tmp_path / "set", ["a", "b"])
    before = get("set", tmp_path, resident=resident)
    (cache,) = (tmp_path / ".hugbench").iterdir()
    whole = cache.read_bytes()
    for damaged in (whole[:-9], whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:]):
        cache.unlink()  # `before` is mapped from it
        cache.write_bytes(damaged)
        said: list[str] = []
        assert_same(get("set", tmp_path, said, resident=resident), before)
        assert "damaged" in said[0]
        assert cache.read_bytes() == whole


def test_a_data_folder_that_cannot_be_written_is_told_and_used(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", ["a", "b"])
    (tmp_path / ".hugbench").write_text("a file in the way")
    said: list[str] = []
    found = get("set", tmp_path, said)
    assert len(found.train) == 6
    assert len(said) == 2
    assert "cannot be written" in said[1]


def test_a_known_set_in_folders_has_its_labels_and_channels(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar100", KNOWN["cifar100"].classes, train=1, test=1, size=(4, 4), channels=1)
    found = get("cifar100", tmp_path)
    assert found.classes == KNOWN["cifar100"].classes
    assert found.train.shape == (3, 4, 4)
    assert found.train.targets.tolist() == list(range(100))
    with Image.open(tmp_path / "cifar100" / "train" / "worm" / "000.png") as image:
        worm = np.asarray(image)
    assert all(np.array_equal(plane, worm) for plane in all_of(found.train)[99].numpy())
    assert_same(get("cifar100", tmp_path / "cifar100"), found)


def test_torchvisions_files_are_cached_and_resized(tmp_path: Path, monkeypatch) -> None:
    arrays = write_idx(tmp_path / "FashionMNIST" / "raw")
    found = get("fashion_mnist", tmp_path, max_test=10)
    assert found.classes[0] == "T-shirt/top"
    assert np.array_equal(all_of(found.train)[:, 0].numpy(), arrays["train-images-idx3-ubyte"])
    assert np.array_equal(all_of(found.test)[:, 0].numpy(), arrays["t10k-images-idx3-ubyte"])
    small = get("fashion_mnist", tmp_path, image_size=10)
    image = Image.fromarray(arrays["train-images-idx3-ubyte"][3]).resize((10, 10), Image.Resampling.BICUBIC)
    assert np.array_equal(all_of(small.train)[3, 0].numpy(), np.asarray(image))
    monkeypatch.delattr(sources.published, "read")
    assert_same(get("fashion_mnist", tmp_path, max_test=10), found)
    assert_same(get("fashion_mnist", tmp_path, image_size=10), small)


def test_only_folders_can_stream(tmp_path: Path) -> None:
    for name in ("digits", "mnist"):
        with pytest.raises(UserError, match=r"dataset\.resident: only images in folders.*found 'never'"):
            get(name, tmp_path, resident="never")


def test_what_is_nowhere_is_refused(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(UserError, match=r"unknown data set.*did you mean 'digits'"):
        get("digit", tmp_path)
    with pytest.raises(UserError, match="cifar10 is not here and cannot be downloaded"):
        get("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resident", ["always", "never"])
def test_errors_in_a_folder_name_the_file_and_leave_no_cache(tmp_path: Path, resident: str) -> None:
    write_folder(tmp_path / "set", ["a", "b"])
    file = tmp_path / "set" / "test" / "b" / "001.png"
    Image.fromarray(pixels(0, (7, 5))).save(file)
    with pytest.raises(UserError, match=r"b/001\.png: images of different sizes; found '7x5'; expected 6x5"):
        get("set", tmp_path, resident=resident)
    assert get("set", tmp_path, resident=resident, image_size=4).test.shape == (3, 4, 4)
    shutil.rmtree(tmp_path / ".hugbench")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match=r"b/001\.png: this image cannot be read"):
        get("set", tmp_path, resident=resident, image_size=4)
    assert not (tmp_path / ".hugbench").exists()


def test_too_few_images_for_what_is_asked(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", ["a", "b", "c"], train=2, test=1)
    for options, key in (
        ({"max_train": 2}, "max_train"),
        ({"max_test": 2}, "max_test"),
        ({"validation": 0.9}, "validation"),
        ({"long_tail": LongTail(imbalance_factor=3.0)}, r"long_tail\.imbalance_factor"),
    ):
        with pytest.raises(UserError, match=rf"dataset\.{key}"):
            get("set", tmp_path, **options)


def test_a_survey_measures_some_and_reads_a_little_of_all(tmp_path: Path, undecodable) -> None:
    write_photographs(tmp_path / "photos", ["a", "b", "c"], train=9, test=3)
    options = {"image_size": 12, "shorter_side": 14, "validation": 0.2, "survey": 10}
    exact = get("photos", tmp_path, resident="never", image_size=12, shorter_side=14, validation=0.2)
    said: list[str] = []
    found = get("photos", tmp_path, said, resident="never", **options)
    assert said == ["photos: measuring 10 training images, once"]
    order = torch.randperm(21, generator=generator(0, "survey"))
    values = all_of(found.train)[order[:10]].double() / 255
    assert found.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert found.std == pytest.approx(values.permute(1, 0, 2, 3).flatten(1).std(1, False).tolist(), rel=1e-12)
    assert found.mean != exact.mean
    assert torch.equal(all_of(found.train), all_of(exact.train))
    assert found.checksum == contents(list_folder(tmp_path / "photos"))
    assert_same(get("photos", tmp_path, resident="always", **options), found)
    for survey in (21, 1000):
        whole = get("photos", tmp_path, resident="never", **{**options, "survey": survey})
        assert (whole.mean, whole.std) == (exact.mean, exact.std)
    undecodable()  # and the other surveys have not taken this one's place
    again = get("photos", tmp_path, said, resident="never", **options)
    assert (again.mean, again.checksum) == (found.mean, found.checksum)
    assert len(said) == 1


def test_a_survey_of_published_files_is_of_their_pixels(tmp_path: Path) -> None:
    found = get("digits", tmp_path, survey=100)
    order = torch.randperm(1437, generator=generator(0, "survey"))
    assert found.mean == pytest.approx((float(all_of(found.train)[order[:100]].double().mean()) / 255,))
    assert found.checksum == get("digits", tmp_path).checksum


def test_files_that_change_are_surveyed_again(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photos", ["a", "b"], train=5, test=1)
    options = {"image_size": 8, "survey": 8, "resident": "never"}
    before = get("photos", tmp_path, **options)
    for file in (tmp_path / "photos" / "train" / "b").iterdir():
        Image.fromarray(np.full((30, 30, 3), 250, np.uint8)).save(file)
    after = get("photos", tmp_path, **options)
    assert after.checksum != before.checksum
    assert min(after.mean) > max(before.mean)


@pytest.mark.parametrize("resident", ["always", "never"])
def test_the_centre_of_the_shorter_side_is_kept_apart_from_the_square(tmp_path: Path, resident: str) -> None:
    write_photographs(tmp_path / "photos", ["a", "b"], train=3, test=2)
    square = get("photos", tmp_path, image_size=12, resident=resident)
    for _ in range(2):
        centre = get("photos", tmp_path, image_size=12, shorter_side=15, resident=resident)
        assert centre.checksum != square.checksum
        assert_same(get("photos", tmp_path, image_size=12, resident=resident), square)
    assert get("digits", tmp_path, image_size=6, shorter_side=8).train.shape == (1, 6, 6)


def test_imagenet_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"imagenet is not here.*expected images in .*imagenet/\{train,val\}/CLASS"
    ):
        get("imagenet", tmp_path, image_size=8)


def test_a_broken_exif_is_nobodys_business(tmp_path: Path, recwarn) -> None:
    write_photographs(tmp_path / "photos", ["a", "b"], train=5, test=5)
    get("photos", tmp_path, image_size=8, resident="never")
    assert not [warning for warning in recwarn if "EXIF" in str(warning.message)]
