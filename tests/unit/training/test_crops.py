"""Training on parts of images: what an epoch sees, and that stopping changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hugbench.data import streaming
from hugbench.data.crops import crops_of
from hugbench.data.images import Images
from hugbench.data.sources import load
from hugbench.seeding import generator
from hugbench.suite.schema import DatasetSpec, RandomResizedCrop
from hugbench.training.loop import train
from tests.unit.data.make import write_photographs
from tests.unit.training.standin import SoftmaxHead, recipe, same, tiny

AUGMENT = {"flip": True, "cutout": 2, "random_resized_crop": {}}


class Killed(BaseException):
    """Stands for a process that ends."""


@pytest.fixture(params=["never", "always"])
def photographs(tmp_path: Path, request) -> Images:
    write_photographs(tmp_path / "photos", ["a", "b", "c"], train=16, test=1)
    spec = DatasetSpec(name="photos", image_size=4, shorter_side=5, resident=request.param)
    return load(spec, tmp_path, notify=lambda sentence: None).train


def trained(images: Images, device: torch.device, **arguments):
    classifier = tiny(0.0, SoftmaxHead).eval()
    classifier.backbone[0] = nn.Conv2d(3, 4, 3, padding=1)
    train(classifier, images, recipe(augment=AUGMENT, batch_size=16), seed=3, device=device, **arguments)
    return classifier


def test_an_epoch_sees_the_parts_that_are_drawn_for_it(photographs: Images, device, monkeypatch) -> None:
    seen = []
    original = type(photographs).cropped

    def cropped(self: Images, crops) -> Images:
        seen.append(crops)
        return original(self, crops)

    monkeypatch.setattr(type(photographs), "cropped", cropped)
    trained(photographs, device)
    made = recipe(augment=AUGMENT)
    assert made.augment.random_resized_crop == RandomResizedCrop()
    drawn = [crops for index, crops in enumerate(seen) if index == 0 or crops != seen[index - 1]]
    assert drawn == [crops_of(made.augment, 3, epoch) for epoch in range(3)]


def test_a_killed_training_ends_bit_for_bit_whatever_the_workers(
    photographs: Images, device, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(streaming, "_workers", lambda chunks: 0)
    whole = trained(photographs, device, log=tmp_path / "whole.jsonl")
    monkeypatch.setattr(streaming, "_workers", lambda chunks: 2)
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * 3 * 4 * 4)

    def kill(row) -> None:
        if row.epoch == 0:
            raise Killed

    files = {"checkpoint": tmp_path / "resume.pt", "log": tmp_path / "resumed.jsonl"}
    with pytest.raises(Killed):
        trained(photographs, device, on_epoch=kill, **files)
    resumed = trained(photographs, device, **files)
    if device.type == "cpu":
        assert same(whole, resumed)
        rows = [
            [json.loads(line)["loss"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
            for name in ("whole", "resumed")
        ]
        assert rows[0] == rows[1]
        assert len(rows[0]) == 3


def test_the_order_of_an_epoch_is_drawn_as_without_parts(photographs: Images, device, monkeypatch) -> None:
    orders = []
    original = streaming.StreamedImages.batches

    def batches(self, batch_size, device, order=None, drop_last=False):
        orders.append(order)
        return original(self, batch_size, device, order, drop_last)

    monkeypatch.setattr(streaming.StreamedImages, "batches", batches)
    trained(photographs, device)
    for epoch, order in enumerate(orders):
        assert torch.equal(order, torch.randperm(48, generator=generator(3, "data order", epoch)))
    assert len(orders) == 3
