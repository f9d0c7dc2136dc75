"""`corrupt`: the layout, that an interruption costs one kind, and what is refused."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

import hugbench
from hugbench.data.sources import load
from hugbench.errors import UserError
from hugbench.evaluations.base import Setting
from hugbench.evaluations.corruption import writing
from hugbench.evaluations.corruption.evaluation import corruption
from hugbench.evaluations.corruption.kinds import corrupt
from hugbench.suite.schema import DatasetSpec
from tests.unit.data.make import write_folder
from tests.unit.evaluations.corruption.make import CPU, classifier

ASKED = {"kinds": ["fog", "zoom_blur"], "severities": [4, 1], "seed": 5, "device": "cpu"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with 3 classes of 4 test images in colour, 9 wide and 8 high."""
    write_folder(tmp_path / "data" / "tiny", ["a", "b", "c"], test=4, size=(9, 8))
    return tmp_path / "data"


def tiny(data: Path, **options):
    return load(DatasetSpec(name="tiny", **options), data, notify=print)


def written(data: Path, out: Path, **changes):
    return hugbench.corrupt("tiny", out, data=data, **{**ASKED, **changes})


def states(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.npy") if path.name != "labels.npy"}


def test_the_layout_is_that_of_cifar_c(data: Path, tmp_path: Path) -> None:
    done = written(data, tmp_path / "out")
    assert done.to_json() == {
        "folder": str(tmp_path / "out"),
        "written": ["fog", "zoom_blur"],
        "kept": [],
        "severities": [1, 4],
        "images": 12,
    }
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names == {"fog.npy", "zoom_blur.npy", "labels.npy", "corruption.json"}
    split = tiny(data).test
    assert np.load(tmp_path / "out" / "labels.npy").tolist() == [*split.targets.tolist()] * 2
    for kind in ASKED["kinds"]:
        found = np.load(tmp_path / "out" / f"{kind}.npy", allow_pickle=False)
        assert (found.dtype, found.shape) == (np.uint8, (24, 8, 9, 3))
        for place in range(24):
            pixels, _, index = list(split.batches(1, CPU))[place % 12]
            severity = (1, 4)[place // 12]
            expected = corrupt(pixels, kind, severity, seed=5, indices=index)[0].permute(1, 2, 0).numpy()
            assert np.array_equal(found[place], expected)
    told = json.loads((tmp_path / "out" / "corruption.json").read_text())
    assert told["data_sha256"] == tiny(data).checksum
    assert (told["seed"], told["severities"], told["image_shape"]) == (5, [1, 4], [3, 8, 9])
    assert told["hugbench"] == hugbench.__version__


@pytest.mark.parametrize("max_test", [None, 6])
def test_an_evaluation_of_the_folder_finds_the_same_records(
    data: Path, tmp_path: Path, max_test, device
) -> None:
    written(data, data / "tiny-C")
    dataset = tiny(data, image_size=None, max_test=max_test)
    with torch.random.fork_rng(devices=[]):
        model = classifier(side=8, classes=3)
        model.criterion = type(model.criterion)(3 * 8 * 9, 3)
    where = Setting(dataset, device, seed=0, batch_size=5, data=data)
    asked = {"kinds": ("zoom_blur", "fog"), "severities": (1, 4), "seed": 5}
    own = corruption(model.to(device), where, **asked, source="own")
    read = corruption(model, where, **asked, folder="tiny-C")
    assert read.measurements == own.measurements
    for name, column in own.predictions.items():
        assert np.array_equal(column, read.predictions[name])
    assert "written by hugbench" in read.notes[1]
    assert read.details["made_by"]["seed"] == 5


def test_what_is_finished_is_kept_and_an_interruption_leaves_nothing_by_halves(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    out, real = tmp_path / "out", writing.corrupt

    def interrupted(images, kind, severity, **options):
        if kind == "zoom_blur" and severity == 4:
            raise KeyboardInterrupt
        return real(images, kind, severity, **options)

    monkeypatch.setattr(writing, "corrupt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(data, out)
    before = states(out)
    assert set(before) == {"fog.npy"}
    (out / ".zoom_blur.npy.x.tmp").write_text("what a kill leaves behind")
    monkeypatch.setattr(writing, "corrupt", real)
    again = written(data, out)
    assert (again.written, again.kept) == (("zoom_blur",), ("fog",))
    assert states(out)["fog.npy"] == before["fog.npy"]
    assert not list(out.glob(".*.tmp"))
    more = written(data, out, kinds=["fog", "snow"])
    assert (more.written, more.kept) == (("snow",), ("fog",))
    written(data, tmp_path / "at once", kinds=["fog", "zoom_blur", "snow"])
    for name in states(out):
        assert (out / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 6}, "seed 5 where 6 is asked for"),
        ({"severities": [1, 2]}, r"severities \[1, 4\] where \[1, 2\]"),
        ({"split": "train"}, "split test where train"),
        ({"image_size": 8}, "image_shape"),
    ],
)
def test_a_folder_made_in_another_way_is_not_mixed(data: Path, tmp_path: Path, changes, words: str) -> None:
    written(data, tmp_path / "out", kinds=["fog"])
    before = states(tmp_path / "out")
    with pytest.raises(UserError, match=f"corrupted in another way.*{words}"):
        written(data, tmp_path / "out", **changes)
    assert states(tmp_path / "out") == before


def test_other_data_of_the_same_name_is_noticed(data: Path, tmp_path: Path) -> None:
    written(data, tmp_path / "out", kinds=["fog"])
    write_folder(tmp_path / "others" / "tiny", ["a", "b", "d"], test=4, size=(9, 8), train=2)
    with pytest.raises(UserError, match="data_sha256"):
        written(tmp_path / "others", tmp_path / "out")
    (tmp_path / "out" / "corruption.json").write_text("[]")
    with pytest.raises(UserError, match="corrupted in another way"):
        written(data, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    with pytest.raises(UserError, match="holds other files"):
        written(data, tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
    (tmp_path / "file").write_text("words")
    with pytest.raises(UserError, match="file: cannot be written"):
        written(data, tmp_path / "file")


def test_a_disk_that_is_too_small_is_noticed_at_once(data: Path, tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage(10, 9, 2 * 24 * 8 * 9 * 3 - 1))
    with pytest.raises(UserError, match="the disk is too small"):
        written(data, tmp_path / "out")
    assert not states(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kinds": ["fogg"]}, "--kinds: unknown corruption; found 'fogg'.*did you mean 'fog'"),
        ({"kinds": []}, "--kinds: an empty list"),
        ({"kinds": ["fog", "snow", "fog"]}, "--kinds: the same value twice; found 'fog'"),
        ({"severities": [0]}, "--severities: no such severity; found 0"),
        ({"severities": [6]}, "--severities: no such severity; found 6"),
        ({"severities": [2, 2]}, "--severities: the same value twice"),
        ({"severities": []}, "--severities: an empty list"),
        ({"seed": -1}, "--seed: not a seed; found -1"),
        ({"split": "tset"}, "--split: no such split.*did you mean 'test'"),
        ({"image_size": 0}, "dataset.image_size: not a valid value"),
        ({"device": "tpu"}, "--device: unknown device"),
        ({"frost_dir": "nowhere", "kinds": ["frost"]}, "nowhere"),
        ({"data": "elsewhere"}, "unknown data set; found 'tiny'"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(data: Path, tmp_path: Path, changes, words) -> None:
    with pytest.raises(UserError, match=words):
        written(**{"data": data, "out": tmp_path / "out", **changes})
    assert not (tmp_path / "out").exists()


def test_greyscale_keeps_its_channel_and_training_images_can_be_asked_for(tmp_path: Path) -> None:
    done = hugbench.corrupt("digits", tmp_path, kinds=["fog"], severities=[3], split="train", device="cpu")
    assert done.images == 1437
    assert np.load(tmp_path / "fog.npy", mmap_mode="r").shape == (1437, 8, 8, 1)
