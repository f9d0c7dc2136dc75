from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hugbench.api import run
from hugbench.errors import UserError
from hugbench.execution import together
from hugbench.execution.preparation import check
from hugbench.execution.where import Local
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Run, make_plan

SUITE = """\
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {name: digits, max_train: 100, max_test: 50}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 8}
recipe: {epochs: 1, batch_size: 32, lr: 0.1, drop_last: false}
seeds: [0]
evaluations: [accuracy]
"""


def planned(tmp_path: Path, *settings: str) -> Run:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return make_plan(load_suite(path, settings=settings)).runs[0].run


@pytest.mark.parametrize(
    ("settings", "ranks", "said"),
    [
        (["recipe.batch_size=6"], 8, "recipe.batch_size: 8 processes share a batch; found 6"),
        ([], 8, "recipe.drop_last: 8 processes share a batch, and an epoch's last one would hold 4 images"),
        (
            ["protocol={continual: {experiences: 5, strategies: [naive]}}", "recipe.batch_size=16"],
            2,
            "protocol: 2 processes cannot train a class-incremental stream together",
        ),
    ],
)
def test_what_cannot_be_trained_together_is_refused_before_the_start(
    tmp_path: Path, settings: list[str], ranks: int, said: str
) -> None:
    made = planned(tmp_path, *settings)
    with pytest.raises(UserError, match=said):
        check(made, (), tmp_path, lambda text: None, ranks)
    assert check(made, (), tmp_path, lambda text: None, 1) >= 1


@pytest.mark.parametrize(("name", "found"), [("cuda:1", "cuda:1"), ("auto", "mps")])
def test_a_device_that_is_not_each_process_s_own(
    monkeypatch: pytest.MonkeyPatch, name: str, found: str
) -> None:
    monkeypatch.setattr(together, "find_device", lambda name: torch.device(found))
    with pytest.raises(
        UserError, match=f"--device: several processes train .* found '{found}'; expected auto"
    ):
        together._device(name, 0)


def test_the_gpu_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [str(together._device("auto", place)) for place in (0, 3)] == ["cuda:0", "cuda:3"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # a scheduler shows each its own
    assert str(together._device("cuda", 3)) == "cuda:0"


def test_another_executor_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planned(tmp_path)
    told = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    for name, value in {**told, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"--executor: 2 processes .* found 'local'; expected serial"):
        run(tmp_path / "suite.yaml", results=tmp_path / "results", executor=Local())
    assert not (tmp_path / "results").exists()
