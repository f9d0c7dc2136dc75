"""A run's classifier as a folder that stands on its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
import yaml

from hugbench import Classifier, api
from hugbench.errors import CorruptFile, UserError
from hugbench.execution.preparation import dataset_of, untrained
from hugbench.models import load_weights
from hugbench.results.store import RunFolder

LOSS = """
from hugbench.criteria.softmax import CrossEntropy


class Mine(CrossEntropy):
    pass
"""

SUITE = """
criteria: [hug, {mine}:Mine]
baseline: hug
dataset: {{name: digits, max_train: 64, max_test: 40}}
model: {{backbone: test_resnet, stem: {stem}, embedding_dim: 8}}
recipe: {{epochs: 2, batch_size: 32, lr: 0.1, snapshot_every: 1}}
seeds: [0]
"""


class Finished:
    """A finished suite of two runs."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.loss, self.results, self.data = folder / "mine.py", folder / "results", folder / "data"
        self.loss.write_text(LOSS)
        suite = folder / "suite.yaml"
        suite.write_text(SUITE.format(mine=self.loss, stem=stem))
        outcome = api.run(suite, results=self.results, data=self.data, device="cpu")
        assert not outcome.failed
        self.hug, self.mine = (planned.run for planned in outcome.plan.runs)

    def classifier(self, run, file: str = "model.safetensors") -> Classifier:
        dataset = dataset_of(run.dataset, self.data, print)
        classifier = untrained(run, dataset)
        load_weights(classifier, self.results / "runs" / run.run_id / file)
        return classifier.eval()

    def export(self, run, to: Path, **options) -> Path:
        return api.export(run.run_id, to, data=self.data, results=self.results, **options)


@pytest.fixture(scope="module", params=["default", "cifar"])
def finished(request, tmp_path_factory) -> Finished:
    return Finished(tmp_path_factory.mktemp("export"), request.param)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_what_is_loaded_is_what_was_trained(finished, tmp_path, images) -> None:
    loaded = Classifier.load(finished.export(finished.hug, tmp_path / "out"))
    assert not loaded.training
    assert torch.equal(loaded(images), finished.classifier(finished.hug)(images))


def test_a_moment_before_the_end(finished, tmp_path, images) -> None:
    loaded = Classifier.load(finished.export(finished.hug, tmp_path / "out", moment="epoch-1"))
    then = finished.classifier(finished.hug, "snapshots/epoch-1.safetensors")
    assert torch.equal(loaded(images), then(images))
    assert not torch.equal(loaded(images), finished.classifier(finished.hug)(images))


def test_timm_reads_the_backbone(finished, tmp_path, images) -> None:
    folder = finished.export(finished.hug, tmp_path / "out")
    config = json.loads((folder / "backbone" / "config.json").read_text())
    if config["stem"] == "cifar":
        pytest.skip("timm cannot make a cifar stem, as the card says")
    backbone = timm.create_model(f"local-dir:{folder / 'backbone'}", pretrained=True).eval()
    assert torch.equal(backbone(images), finished.classifier(finished.hug).backbone(images))
    assert backbone.pretrained_cfg["input_size"] == (1, 8, 8)


def test_a_loss_of_ones_own_comes_along_and_is_not_run_unasked(finished, tmp_path, images) -> None:
    folder = finished.export(finished.mine, tmp_path / "out")
    with pytest.raises(UserError, match="trust_code=True"):
        Classifier.load(folder)
    loaded = Classifier.load(folder, trust_code=True)
    assert torch.equal(loaded(images), finished.classifier(finished.mine)(images))
    assert (folder / "criterion.py").read_text() == LOSS


def test_the_card_tells_the_numbers(finished, tmp_path) -> None:
    card = (finished.export(finished.hug, tmp_path / "out") / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "hugbench"
    folder = RunFolder(finished.results, finished.hug.run_id)
    status = folder.status()
    for row in folder.records(status, status.evaluations[0]):
        if row["subset"] == "all":
            assert f"| {row['metric']} | clean |  | {row['value']:.6g} | 40 |" in card
    assert "seed 0" in card
    assert f"torch {torch.__version__.split('+')[0]}" in card


def test_bad_input(finished, tmp_path) -> None:
    wrong = finished.hug.run_id[:-1] + "x"
    with pytest.raises(UserError, match="no such run") as error:
        api.export(wrong, tmp_path / "a", data=finished.data, results=finished.results)
    assert error.value.nearest == finished.hug.run_id
    with pytest.raises(UserError, match="no such moment"):
        finished.export(finished.hug, tmp_path / "b", moment="epoch-7")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        finished.export(finished.hug, tmp_path / "full")
    with pytest.raises(UserError, match="holds no exported classifier"):
        Classifier.load(tmp_path / "full")
    folder = finished.export(finished.hug, tmp_path / "out")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CorruptFile):
        Classifier.load(folder)
    config = json.loads((folder / "hugbench.json").read_text())
    (folder / "hugbench.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(UserError, match="another version"):
        Classifier.load(folder)
    (folder / "hugbench.json").write_text("[")
    with pytest.raises(CorruptFile):
        Classifier.load(folder)


def test_an_edited_loss_is_noticed(finished, tmp_path) -> None:
    finished.loss.write_text(LOSS + "# edited\n")
    try:
        with pytest.raises(UserError, match="edited since"):
            finished.export(finished.mine, tmp_path / "out")
    finally:
        finished.loss.write_text(LOSS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.yaml", "criterion: ["),
        ("run.yaml", "[]"),
        ("environment.json", "{"),
        ("environment.json", '{"sessions": []}'),
        ("records", "damaged"),
    ],
)
def test_a_damaged_run_is_said_and_nothing_is_written(finished, tmp_path, name: str, text: str) -> None:
    shutil.copytree(finished.results, tmp_path / "results")
    path = tmp_path / "results" / "runs" / finished.hug.run_id / name
    if path.is_dir():
        (path,) = [file for file in path.iterdir() if file.name.count(".") == 1]
    path.write_text(text)
    with pytest.raises(CorruptFile, match=path.name):
        api.export(finished.hug.run_id, tmp_path / "out", data=finished.data, results=tmp_path / "results")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["model", "criterion", "classes", "channels", "image_size"])
def test_a_configuration_that_lacks_something_is_said(finished, tmp_path, key: str) -> None:
    path = finished.export(finished.hug, tmp_path / "out") / "hugbench.json"
    known = json.loads(path.read_text())
    for changed in ({**known, key: "other"}, {name: value for name, value in known.items() if name != key}):
        path.write_text(json.dumps(changed))
        with pytest.raises(CorruptFile, match=key):
            Classifier.load(tmp_path / "out")
