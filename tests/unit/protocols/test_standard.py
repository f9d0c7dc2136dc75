from __future__ import annotations

from pathlib import Path

import torch

from hugbench.data.images import Dataset
from hugbench.protocols.standard import standard
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Run
from hugbench.suite.plugins import CriterionSpec
from hugbench.suite.protocols import Standard
from hugbench.suite.schema import DatasetSpec, ModelSpec, Recipe
from hugbench.training.checkpoint import read_epoch
from hugbench.training.loop import EpochMetrics, train
from tests.unit.training.standin import images, recipe, same, tiny

DATA = Dataset("toy", ("a", "b", "c"), images(50), images(4), images(5), (0.5,), (0.2,), "0")
QUIET = {"checkpoint": None, "log": None, "on_epoch": lambda row: None, "note": None}


def a_run(training: Recipe) -> Run:
    criterion = CriterionSpec("cross_entropy", "registered", "", "{}", "{}")
    dataset, model = DatasetSpec(name="toy"), ModelSpec(backbone="test_resnet")
    return Run("id", criterion, dataset, model, Standard(), training, seed=3)


def test_it_trains_on_the_training_images(device: torch.device, tmp_path: Path) -> None:
    rows: list[EpochMetrics] = []
    kept: list[Moment] = []
    classifier, expected, untrained = tiny(), tiny(), tiny()
    standard(
        classifier,
        DATA,
        a_run(recipe()),
        device=device,
        checkpoint=tmp_path / "resume.pt",
        log=tmp_path / "train.jsonl",
        on_epoch=rows.append,
        keep=lambda moment, now: kept.append(moment),
        note=lambda name, told: None,
    )
    assert [row.epoch for row in rows] == [0, 1, 2]
    assert read_epoch(tmp_path / "resume.pt") == len((tmp_path / "train.jsonl").read_text().splitlines()) == 3
    assert kept == [Moment()]
    train(expected, DATA.train, recipe(), seed=3, device=device)
    assert not same(classifier, untrained)
    assert device.type != "cpu" or same(classifier, expected)


def test_snapshots_are_the_model_of_a_shorter_training_with_a_constant_rate(device: torch.device) -> None:
    kept: dict[str, dict[str, torch.Tensor]] = {}

    def keep(moment: Moment, now: torch.nn.Module) -> None:
        kept[moment.name] = {name: value.detach().clone() for name, value in now.state_dict().items()}

    long, short = recipe(epochs=5, snapshot_every=2), recipe(epochs=2)
    classifier, expected = tiny(), tiny()
    standard(classifier, DATA, a_run(long), device=device, keep=keep, **QUIET)
    train(expected, DATA.train, short, seed=3, device=device)
    assert list(kept) == ["epoch-2", "epoch-4", "end"]
    for name, value in expected.state_dict().items():
        assert device.type != "cpu" or torch.equal(value, kept["epoch-2"][name]), name


def test_snapshots_are_of_the_moving_average(device: torch.device) -> None:
    kept: list[torch.nn.Module] = []
    classifier = tiny()
    averaged = recipe(epochs=2, snapshot_every=1, ema=0.9)
    standard(classifier, DATA, a_run(averaged), device=device, keep=lambda _, now: kept.append(now), **QUIET)
    assert kept[0] is not classifier
    assert kept[1] is classifier
    assert same(kept[0], classifier)  # the average goes on to the end, where the classifier takes it over
