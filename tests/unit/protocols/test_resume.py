"""A stream that is killed and taken up again ends as if it had not been, bit for bit, whatever the strategy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hugbench.errors import CorruptFile
from hugbench.training.metrics import EpochMetrics
from tests.unit.protocols.streams import (
    STRATEGIES,
    Killed,
    classifier,
    files,
    learn,
    recipe,
    same,
    spec,
)

HOW = recipe(augment={"crop": 1, "flip": True}, clip_grad=5.0, weight_decay=0.01)


def killing(epoch: int) -> Callable[[EpochMetrics], None]:
    def kill(row: EpochMetrics) -> None:
        if row.epoch == epoch:
            raise Killed

    return kill


def timeless(log: Path) -> list[dict[str, Any]]:
    """The rows of a log without what differs from one execution to the next."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in rows]


@pytest.mark.parametrize("text", STRATEGIES)
def test_killed_twice_and_resumed_is_uninterrupted(text: str, tmp_path: Path, device: torch.device) -> None:
    """Killed within the second experience, at its end, where no epoch of it is left, and in the third."""
    whole = classifier(drop=0.2)
    (tmp_path / "whole").mkdir()
    options: dict[str, Any] = {"recipe": HOW, "device": device}
    _, accounts = learn(whole, spec(text), log=tmp_path / "whole.jsonl", **options)
    last = len(accounts) * 2 - 1
    for epoch in (last - 1, last) if len(accounts) == 1 else (2, 3, 4):
        with pytest.raises(Killed):
            learn(classifier(drop=0.2), spec(text), on_epoch=killing(epoch), **files(tmp_path), **options)
    torch.rand(5)
    resumed = classifier(drop=0.2)
    kept, found = learn(resumed, spec(text), **files(tmp_path), **options)
    assert kept == [3]
    if device.type == "cpu":
        assert same(whole, resumed)
        assert found == accounts
        assert timeless(tmp_path / "train.jsonl") == timeless(tmp_path / "whole.jsonl")


def test_killed_before_the_first_epoch_ends_begins_again(tmp_path: Path) -> None:
    made = classifier()
    with pytest.raises(Killed):
        learn(made, spec("naive"), on_epoch=killing(0))
    assert not (tmp_path / "resume.pt").exists()
    assert learn(classifier(), spec("naive"), **files(tmp_path))[0] == [1, 2, 3]


def test_a_finished_stream_keeps_its_last_experience_again(tmp_path: Path) -> None:
    first, second = classifier("hug"), classifier("hug")
    learn(first, spec("replay: {memory: 20}"), **files(tmp_path))
    kept, accounts = learn(second, spec("replay: {memory: 20}"), **files(tmp_path))
    assert kept == [3]
    assert len(accounts) == 3
    assert same(first, second)


def test_a_damaged_checkpoint_is_not_trained_from(tmp_path: Path) -> None:
    learn(classifier(), spec("naive"), **files(tmp_path))
    stored = tmp_path / "resume.pt"
    stored.write_bytes(stored.read_bytes()[:-40] + b"x" * 40)
    with pytest.raises(CorruptFile):
        learn(classifier(), spec("naive"), **files(tmp_path))


@pytest.mark.parametrize("text", ["replay: {memory: 100}", "gem: {memory: 100}", "icarl: {memory: 100}"])
def test_a_checkpoint_holds_rows_not_images(text: str, tmp_path: Path) -> None:
    """Memories of a hundred images cost less than a kilobyte of numbers each."""
    sizes = []
    for memory in (20, 100):
        (tmp_path / str(memory)).mkdir()
        learn(
            classifier(),
            spec(text.replace("100", str(memory))),
            recipe=recipe(batch_size=6),
            **files(tmp_path / str(memory)),
        )
        sizes.append((tmp_path / str(memory) / "resume.pt").stat().st_size)
    assert sizes[1] - sizes[0] < 80 * 16 + 500
