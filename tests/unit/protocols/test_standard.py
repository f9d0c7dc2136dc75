from __future__ import annotations

from pathlib import Path

import torch

from hugbench.data.images import Dataset
from hugbench.protocols.standard import standard
from hugbench.training.checkpoint import read_epoch
from hugbench.training.loop import EpochMetrics, train
from tests.unit.training.standin import images, recipe, same, tiny


def test_it_trains_on_the_training_images_and_yields_once(device: torch.device, tmp_path: Path) -> None:
    data = Dataset("toy", ("a", "b", "c"), images(50), images(4), images(5), (0.5,), (0.2,), "0")
    rows: list[EpochMetrics] = []
    classifier, expected, untrained = tiny(), tiny(), tiny()
    experiences = standard(
        classifier,
        data,
        recipe(),
        seed=3,
        device=device,
        checkpoint=tmp_path / "resume.pt",
        log=tmp_path / "train.jsonl",
        on_epoch=rows.append,
    )
    assert same(classifier, untrained)
    assert next(experiences) is None
    assert [row.epoch for row in rows] == [0, 1, 2]
    assert read_epoch(tmp_path / "resume.pt") == len((tmp_path / "train.jsonl").read_text().splitlines()) == 3
    assert next(experiences, "the end") == "the end"
    train(expected, data.train, recipe(), seed=3, device=device)
    assert not same(classifier, untrained)
    assert device.type != "cpu" or same(classifier, expected)
