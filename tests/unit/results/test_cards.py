"""Cards are found with the run that their figure is of, and not where a file is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hugbench import api
from hugbench.errors import CorruptFile
from hugbench.results.cards import collect_cards
from hugbench.results.store import RunFolder, Status
from hugbench.storage import write_atomic

SUITE = """\
criteria: [cross_entropy, hug]
baseline: cross_entropy
dataset: {name: digits}
model: {backbone: test_resnet, embedding_dim: 8}
recipe: {epochs: 1, batch_size: 32, lr: 0.1}
seeds: [0]
evaluations: [accuracy]
"""
CARD = {"norm": "Linf", "eps": "8/255", "images": 100, "verdict": "WARN", "checks": []}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def store(plan, root: Path, details: dict | None) -> tuple[RunFolder, str]:
    """As if the first run's evaluation had told these details."""
    planned = plan.runs[0]
    folder, key = RunFolder(root, planned.run.run_id), plan.keys(planned)[0]
    status = Status("trained", evaluations=[key])
    if details is not None:
        write_atomic(folder.details_file(key), json.dumps(details).encode())
        folder.sealed(status, folder.details_file(key))
    folder.write_status(status)
    return folder, key


def test_cards_say_whose_they_are(suite: Path, tmp_path: Path) -> None:
    root = tmp_path / "results"
    plan = api.plan(suite, results=root).plan
    store(plan, root, {"cards": [CARD, {**CARD, "eps": "1/255"}], "other": 1})
    found = api.cards(suite, results=root)
    assert [card["eps"] for card in found] == ["8/255", "1/255"]
    assert found[0] == {
        "run_id": plan.runs[0].run.run_id,
        "criterion": "cross_entropy",
        "dataset": "digits",
        "protocol": "standard",
        "variant": "",
        "seed": 0,
        "evaluation": "accuracy",
        "experience": None,
        "epoch": None,
        **CARD,
    }


@pytest.mark.parametrize("details", [None, {}, {"bins": [1]}])
def test_evaluations_without_cards_have_none(suite: Path, tmp_path: Path, details: dict | None) -> None:
    plan = api.plan(suite, results=tmp_path).plan
    folder, key = store(plan, tmp_path, details)
    assert folder.details(folder.status(), key) == (details or {})
    assert collect_cards(plan, tmp_path) == ([], [])


def test_damaged_cards_are_said_and_left_out(suite: Path, tmp_path: Path) -> None:
    plan = api.plan(suite, results=tmp_path).plan
    folder, key = store(plan, tmp_path, {"cards": [CARD]})
    folder.details_file(key).write_text(json.dumps({"cards": [{**CARD, "verdict": "PASS"}]}))
    with pytest.raises(CorruptFile):
        folder.details(folder.status(), key)
    cards, damaged = collect_cards(plan, tmp_path)
    assert cards == []
    assert len(damaged) == 1
    assert "checksum" in damaged[0]
    assert api.cards(suite, results=tmp_path) == []
