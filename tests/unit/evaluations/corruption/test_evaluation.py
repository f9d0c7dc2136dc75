"""The corruption evaluation: its numbers by a slow loop, whose images they are of, what it leaves alone."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from hugbench.data.images import ResidentImages
from hugbench.errors import UserError
from hugbench.evaluations.base import Setting
from hugbench.evaluations.corruption.evaluation import corruption
from hugbench.evaluations.corruption.kinds import corrupt
from hugbench.evaluations.corruption.names import EXTRA, KINDS
from hugbench.evaluations.corruption.origin import preflight
from hugbench.types import Corruption
from tests.unit.evaluations.corruption.make import CPU, classifier, dataset, images, published

ASKED = {"kinds": ("fog", "zoom_blur", "glass_blur"), "severities": (1, 4)}
GROUPS = {"many": torch.tensor([0, 1]), "few": torch.tensor([3])}


def setting(device, of=None, **changes) -> Setting:
    return Setting(dataset() if of is None else of, device, **{"seed": 0, "batch_size": 5, **changes})


def values(findings) -> dict[tuple, float]:
    return {(m.metric, m.condition, m.severity, m.subset): m.value for m in findings.measurements}


def slow_hits(model, split, kind: str | None, severity: int, seed: int = 0) -> np.ndarray:
    """Whether each image is recognised, one at a time."""
    hits = []
    for pixels, target, index in split.batches(1, CPU):
        if kind is not None:
            pixels = corrupt(pixels, kind, severity, seed=seed, indices=index)
        with torch.no_grad():
            hits.append(int(model.eval()(pixels.float() / 255).argmax()) == int(target))
    return np.array(hits)


def test_every_number_by_a_slow_loop(device) -> None:
    model, split = classifier(), images()
    found = corruption(model.to(device), setting(device, subsets=GROUPS), seed=3, **ASKED)
    model.cpu()
    targets = split.targets.numpy()
    expected = {}
    for subset, labels in {"all": [0, 1, 2, 3], "many": [0, 1], "few": [3]}.items():
        inside = np.isin(targets, labels)
        expected["accuracy", "clean", None, subset] = slow_hits(model, split, None, 0)[inside].mean()
        means = []
        for kind in ASKED["kinds"]:
            of_kind = []
            for severity in ASKED["severities"]:
                of_kind.append(slow_hits(model, split, kind, severity, seed=3)[inside].mean())
                expected["accuracy", kind, severity, subset] = of_kind[-1]
            expected["accuracy", kind, None, subset] = np.mean(of_kind)
            means.append(np.mean(of_kind))
        expected["accuracy", "corrupted", None, subset] = np.mean(means)
        expected["mean_corruption_error", "corrupted", None, subset] = 1 - np.mean(means)
    assert values(found) == pytest.approx(expected)
    first = found.measurements[0]
    assert (first.metric, first.subset, first.n) == ("mean_corruption_error", "all", 24)
    assert {m.n for m in found.measurements if m.subset == "few"} == {6}


def test_predictions_are_small_columns_of_every_image_and_condition(device) -> None:
    found = corruption(classifier().to(device), setting(device), **ASKED)
    table = found.predictions
    assert {len(column) for column in table.values()} == {7 * 24}
    assert [str(table[name].dtype) for name in ("index", "severity", "target", "prediction")] == [
        "int32",
        "int8",
        "int32",
        "int32",
    ]
    assert list(dict.fromkeys(zip(table["condition"], table["severity"].tolist(), strict=True))) == [
        ("clean", 0),
        *((kind, severity) for kind in ASKED["kinds"] for severity in ASKED["severities"]),
    ]
    chosen = (table["condition"] == "fog") & (table["severity"] == 4)
    assert table["index"][chosen].tolist() == list(range(24))
    share = (table["target"] == table["prediction"])[chosen].mean()
    assert share == pytest.approx(values(found)["accuracy", "fog", 4, "all"])


def test_neither_the_runs_seed_nor_the_batches_change_the_images(device) -> None:
    model = classifier().to(device)
    found = [
        corruption(model, setting(device, seed=seed, batch_size=size), **ASKED)
        for seed, size in ((0, 5), (1, 5), (0, 24), (0, 1))
    ]
    for other in found[1:]:
        assert np.array_equal(other.predictions["prediction"], found[0].predictions["prediction"])
    changed = corruption(model, setting(device), seed=1, **ASKED)
    assert not np.array_equal(changed.predictions["prediction"], found[0].predictions["prediction"])


def test_a_subset_is_asked_about_the_same_corrupted_images(device) -> None:
    model, chosen = classifier().to(device), torch.tensor([20, 3, 11, 6])
    whole = corruption(model, setting(device), **ASKED).predictions["prediction"].reshape(7, 24)
    subset = setting(device, dataset(images().subset(chosen)))
    found = corruption(model, subset, **ASKED).predictions
    assert np.array_equal(found["prediction"].reshape(7, 4), whole[:, chosen.numpy()])
    assert found["index"][:4].tolist() == [0, 1, 2, 3]


def test_a_stream_is_told_by_experience_at_the_mean_over_severities(device) -> None:
    experiences = (torch.tensor([2, 0]), torch.tensor([1, 3]))
    model = classifier().to(device)
    places = {}
    for experience in (0, 1, 2):
        where = setting(device, experiences=experiences, experience=experience, subsets=GROUPS)
        places[experience] = values(corruption(model, where, **ASKED))
    subsets = {subset for *_, subset in places[0]}
    assert subsets == {"all", "many", "few", "experience:1", "experience:2"}
    assert {subset for *_, subset in places[1]} == {*subsets, "seen"}
    with_severity = {subset for _, _, severity, subset in places[2] if severity is not None}
    assert with_severity == {"all", "many", "few"}
    error = "mean_corruption_error", "corrupted", None
    assert places[1][*error, "seen"] == places[1][*error, "experience:1"]
    assert places[2][*error, "seen"] == pytest.approx(places[2][*error, "all"])


def test_the_classifier_and_the_generators_are_left_as_they_were(device) -> None:
    model = classifier().to(device).train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    corruption(model, setting(device), **ASKED)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_fetched_once(device) -> None:
    class Counted(ResidentImages):
        passes = 0

        def batches(self, *arguments, **options):
            Counted.passes += 1
            return super().batches(*arguments, **options)

    split = Counted(images()._pool._pixels.view(-1, *images().shape), images().targets)
    corruption(classifier().to(device), setting(device, dataset(split)), **ASKED)
    assert Counted.passes == 1


def test_what_the_mean_is_over_and_of_which_images_is_said(device) -> None:
    found = corruption(classifier().to(device), setting(device), seed=2, **ASKED)
    told = " ".join(found.notes)
    assert (
        "only fog, zoom_blur, glass_blur (not the 15 corruptions of CIFAR-C) at only severities 1, 4" in told
    )
    assert "corrupted by hugbench" in told
    assert "seed 2" in told
    assert (found.details["source"], found.details["seed"]) == ("own", 2)
    assert found.details["kinds"] == list(ASKED["kinds"])


def test_published_images_are_used_where_they_lie(device, tmp_path: Path) -> None:
    files = published(tmp_path / "CIFAR-10-C", images())
    data = dataset(name="cifar10")
    asked = {"kinds": ("fog", "brightness"), "severities": (5, 2)}
    found = corruption(classifier().to(device), setting(device, data, data=tmp_path), **asked)
    model = classifier().eval()
    for kind in asked["kinds"]:
        for severity in asked["severities"]:
            part = torch.from_numpy(files[kind][24 * (severity - 1) : 24 * severity]).permute(0, 3, 1, 2)
            with torch.no_grad():
                hits = model(part.float() / 255).argmax(1) == images().targets
            assert values(found)["accuracy", kind, severity, "all"] == pytest.approx(hits.double().mean())
    assert "from CIFAR-10-C (sha256 " in found.notes[1]
    assert set(found.details["sha256"]) == {"fog.npy", "brightness.npy", "labels.npy"}
    own = corruption(
        classifier().to(device), setting(device, data, data=tmp_path), kinds=("fog",), source="own"
    )
    assert own.details["source"] == "own"


def test_the_default_is_the_fifteen_and_the_types_are_all() -> None:
    assert inspect.signature(corruption).parameters["kinds"].default == KINDS
    assert get_args(Corruption) == (*KINDS, *EXTRA)


def test_without_test_images_or_photographs_nothing_starts(device, tmp_path: Path) -> None:
    empty = dataset(images().subset(torch.empty(0, dtype=torch.int64)))
    with pytest.raises(UserError, match="no test images"):
        corruption(classifier().to(device), setting(device, empty))
    where = replace(setting(device), data=tmp_path)
    with pytest.raises(UserError, match=r"frost1\.png"):
        corruption(classifier().to(device), where, kinds=("frost",), frost_dir="photographs")
    arguments = {"kinds": KINDS, "severities": (1,), "seed": 0, "source": "auto", "folder": None}
    with pytest.raises(UserError, match=r"frost1\.png"):
        preflight(dataset(), tmp_path, **arguments, frost_dir="photographs")


class Stop(Exception):
    """What `pause` raises."""


class TestStopped:
    """After some batches, and taken up again."""

    def attempt(self, model, device, scratch: Path, batches: int | None = None, **changes):
        """The findings (None if it was stopped after so many batches), and how many images were looked at."""
        looked, left = 0, iter(range(batches or 1000))

        def count(module, arguments, result) -> None:
            nonlocal looked
            looked += len(result)

        def pause() -> None:
            if batches is not None and next(left) == batches - 1:
                raise Stop

        hook = model.register_forward_hook(count)
        try:
            where = setting(device, scratch=scratch, pause=pause, **changes)
            return corruption(model, where, **ASKED), looked
        except Stop:
            return None, looked
        finally:
            hook.remove()

    def same(self, one, other) -> bool:
        tables = one.predictions, other.predictions
        return one.measurements == other.measurements and all(
            np.array_equal(tables[0][name], tables[1][name]) for name in tables[0]
        )

    def test_it_goes_on_after_the_last_batch_and_leaves_nothing(self, device, tmp_path: Path) -> None:
        model, each = classifier().to(device), 7
        whole, looked = self.attempt(model, device, tmp_path / "whole")
        assert looked == 24 * each
        assert self.attempt(model, device, tmp_path / "parts", 2) == (None, 10 * each)
        assert self.attempt(model, device, tmp_path / "parts", 1) == (None, 5 * each)
        found, looked = self.attempt(model, device, tmp_path / "parts")
        assert looked == 9 * each
        assert self.same(found, whole)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_at_the_last_batch(self, device, tmp_path: Path) -> None:
        model = classifier().to(device)
        whole, _ = self.attempt(model, device, tmp_path / "whole")
        assert self.attempt(model, device, tmp_path / "parts", 5)[0] is None
        found, looked = self.attempt(model, device, tmp_path / "parts")
        assert looked == 0
        assert self.same(found, whole)

    @pytest.mark.parametrize("other", ["weights", "batches", "data"])
    def test_not_from_what_is_of_something_else(self, device, tmp_path: Path, other: str) -> None:
        assert self.attempt(classifier().to(device), device, tmp_path, 2)[0] is None
        model = classifier(seed=2 if other == "weights" else 1).to(device)
        changes = {
            "weights": {},
            "batches": {"batch_size": 4},
            "data": {"of": dataset(images(seed=3), checksum="1" * 64)},
        }[other]
        whole, _ = self.attempt(model, device, tmp_path / "whole", **changes)
        found, looked = self.attempt(model, device, tmp_path, **changes)
        assert looked == 24 * 7
        assert self.same(found, whole)

    @pytest.mark.parametrize("harm", ["flip", "cut", "empty", "other"])
    def test_damage_starts_over(self, device, tmp_path: Path, harm: str) -> None:
        model = classifier().to(device)
        whole, _ = self.attempt(model, device, tmp_path / "whole")
        assert self.attempt(model, device, tmp_path / "parts", 3)[0] is None
        (path,) = (tmp_path / "parts").rglob("*.npz")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"flip": bytes(content), "cut": content[:200], "empty": b"", "other": b"PK"}[harm])
        found, looked = self.attempt(model, device, tmp_path / "parts")
        assert looked == 24 * 7
        assert self.same(found, whole)
