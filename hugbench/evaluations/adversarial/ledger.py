"""What has been tried on which image: an append-only file per evaluation, in which a kill loses one batch.

A file's first line is its head: whose weights, which images, which classes are in play, and the plan.
Under another plan of the same weights it is read, too, so that a later evaluation pays only for what
nobody has tried; of other weights or images it is removed. A line is one finished batch:

    {"round": 3, "batch": 0, "attack": ..., "norm": "Linf", "eps": "1/255", "steps": 20,
     "images": [...], "fooled": [...], "margins": [...]}

or a round that begins, with what other files know of its images, or a note. A file is complete without
the others: an evaluation that is repeated finds its own answers there, whatever has been asked since.
Every line ends with a checksum of what stands before it; what follows one that is damaged does not count.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hugbench.types import eps_value

BASE = ("version", "weights", "images", "classes")
"""Whose every answer of a file is, and of what: with another of these it means nothing."""


class Trial(NamedTuple):
    """What was tried: the attack's identity, the norm and the radius as it is written."""

    attack: str
    norm: str
    eps: str


@dataclass(frozen=True)
class Answers:
    """What a trial came to: images int64 (n,), fooled bool (n,), margins float32 (n,), on the CPU."""

    images: Tensor
    fooled: Tensor
    margins: Tensor

    @classmethod
    def none(cls) -> Answers:
        """Of no image."""
        return cls(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool), torch.empty(0))

    @classmethod
    def joined(cls, parts: Iterable[Answers]) -> Answers:
        """One after the other."""
        several = [cls.none(), *parts]
        return cls(
            torch.cat([part.images for part in several]),
            torch.cat([part.fooled for part in several]),
            torch.cat([part.margins for part in several]),
        )

    def of(self, chosen: Tensor) -> Answers:
        """Those at `chosen`, bool (n,) or int64."""
        return Answers(self.images[chosen], self.fooled[chosen], self.margins[chosen])

    def to_json(self) -> dict[str, Any]:
        """Plain data; a margin that is no number is null."""
        margins = [value if math.isfinite(value) else None for value in self.margins.tolist()]
        return {"images": self.images.tolist(), "fooled": self.fooled.int().tolist(), "margins": margins}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Answers:
        """The reverse of `to_json`."""
        margins = [math.nan if value is None else value for value in row["margins"]]
        return cls(
            torch.tensor(row["images"], dtype=torch.int64),
            torch.tensor(row["fooled"], dtype=torch.bool),
            torch.tensor(margins, dtype=torch.float32),
        )


@dataclass
class _Round:
    """One trial on a pool of images: what was known when it began, and its batches."""

    known: Answers
    batches: list[Answers] = field(default_factory=list)


class Ledger:
    """The answers of one evaluation, and what it takes from those of others.

    Args:
        folder: where the files lie; None keeps nothing on disk.
        head: the plan, JSON, with the keys of `BASE` and `seed`: equal for what may go on from the
            same file.
    """

    def __init__(self, folder: Path | None, head: Mapping[str, Any]) -> None:
        self._head = dict(head)
        self._rounds: dict[int, _Round] = {}
        self._notes: dict[str, Any] = {}
        self._others: dict[tuple[str, str], list[tuple[float, Answers]]] = {}
        self._path = None if folder is None else folder / f"{fingerprint(head)}.jsonl"
        if folder is not None and self._path is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._sort_out(folder)
            self._take_up(self._path)

    def begin(self, number: int, trial: Trial, pool: Tensor) -> tuple[Answers, int]:
        """What is known of a pool's images, and how many batches of the round are finished.

        An image that the same attack fooled at the same or a smaller radius is fooled; one that it did
        not fool at the same radius has had its try. The first time a round begins, what other files
        know goes into this one, and is not looked for again.

        Args:
            number: of the round within the plan.
            trial: what is tried.
            pool: the images to answer, int64 (n,), ascending.
        """
        if number not in self._rounds:
            known = self._known(trial, pool)
            self._write({"round": number, **trial._asdict(), "known": known.to_json()})
            self._rounds[number] = _Round(known)
        found = self._rounds[number]
        return Answers.joined([found.known, *found.batches]), len(found.batches)

    def cost(self, number: int) -> dict[str, int]:
        """How many images of a round other evaluations had answered, and its own batches and their images."""
        found = self._rounds[number]
        attacked = sum(len(batch.images) for batch in found.batches)
        return {"known": len(found.known.images), "batches": len(found.batches), "attacked": attacked}

    def add(self, number: int, trial: Trial, steps: int | None, answers: Answers) -> None:
        """Write down a finished batch of a round that has begun.

        Args:
            number: of the round.
            trial: what was tried.
            steps: how many the attack takes, for the reader; None where it has none.
            answers: what it came to.
        """
        batches = self._rounds[number].batches
        place = {"round": number, "batch": len(batches), **trial._asdict(), "steps": steps}
        self._write({**place, **answers.to_json()})
        batches.append(answers)

    def noted(self, name: str) -> Any:
        """What was noted under a name; None if nothing was."""
        return self._notes.get(name)

    def note(self, name: str, value: Any) -> None:
        """Write down plain data under a name."""
        self._write({"note": name, "value": value})
        self._notes[name] = value

    def _sort_out(self, folder: Path) -> None:
        """Remove the files of other weights or images; read those that answer for the same seed."""
        for path in sorted(folder.glob("*.jsonl")):
            head = _head(path)
            if any(head.get(key) != self._head[key] for key in BASE):
                path.unlink()
            elif path != self._path and head["seed"] == self._head["seed"]:
                self._learn(path)

    def _learn(self, path: Path) -> None:
        """Read the batches of another file."""
        with path.open("rb") as stream:
            for row, _ in _rows(stream):
                if "batch" in row:
                    answers = eps_value(row["eps"]), Answers.from_json(row)
                    self._others.setdefault((row["attack"], row["norm"]), []).append(answers)

    def _take_up(self, path: Path) -> None:
        """Read this file's rounds and notes; start it if it is not there."""
        if not path.exists():
            self._write({"head": self._head})
            return
        with path.open("r+b") as stream:
            end = 0
            for row, upto in _rows(stream):
                if "note" in row:
                    self._notes[row["note"]] = row["value"]
                elif "known" in row:
                    self._rounds[row["round"]] = _Round(Answers.from_json(row["known"]))
                elif "batch" in row:
                    self._rounds[row["round"]].batches.append(Answers.from_json(row))
                end = upto
            stream.truncate(end)

    def _known(self, trial: Trial, pool: Tensor) -> Answers:
        """What other files know of a pool's images: each once, the successes first."""
        eps, found = eps_value(trial.eps), []
        for tried, answers in self._others.get((trial.attack, trial.norm), []):
            if tried <= eps:
                found.append(answers if tried == eps else answers.of(answers.fooled))
        answers = Answers.joined(found)
        answers = answers.of(torch.isin(answers.images, pool))
        order = torch.argsort(answers.fooled.int(), descending=True, stable=True)
        order = order[torch.argsort(answers.images[order], stable=True)]
        images = answers.images[order]
        first = torch.ones_like(images, dtype=torch.bool)
        first[1:] = images[1:] != images[:-1]
        return answers.of(order[first])

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("ab") as stream:
                stream.write(_line(row))


def fingerprint(value: Any) -> str:
    """The first 10 hex digits of the sha256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


_MARK = b',"sha256":"'


def _line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON, its checksum last."""
    body = json.dumps(row, separators=(",", ":"), allow_nan=False).encode()[:-1]
    return body + _MARK + _checksum(body) + b'"}\n'


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()


def _rows(stream: Iterable[bytes]) -> Iterator[tuple[dict[str, Any], int]]:
    """Every row and where its line ends, up to the first line that is not what was written."""
    end = 0
    for line in stream:
        end += len(line)
        body, _, rest = line.rpartition(_MARK)
        if rest != _checksum(body) + b'"}\n':
            return
        yield json.loads(body + b"}"), end


def _head(path: Path) -> dict[str, Any]:
    """A file's head; empty if it has none."""
    with path.open("rb") as stream:
        row = next((row for row, _ in _rows(stream)), {})
    head: dict[str, Any] = row.get("head", {})
    return head
