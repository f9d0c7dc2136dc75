"""What is known to be on disk of a run, as `status.json` tells it; a bit that is wrong is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, Literal, get_args

DAMAGED = "status.json was damaged"

State = Literal["pending", "training", "trained", "failed"]


@dataclass
class Status:
    """What is known to be on disk.

    Attributes:
        state: of the training.
        files: sha256 of every finished file, by its path within the run's folder.
        evaluations: keys of the finished evaluations.
        error: why the run failed.
        seconds: of training, summed over resumptions.
        notes: sentences of evaluations, by key.
        took: seconds of evaluations, by key, summed over resumptions.
        stamps: size in bytes and time of the last change (ns) of every finished file when it was sealed.
    """

    state: State = "pending"
    files: dict[str, str] = field(default_factory=dict)
    evaluations: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    notes: dict[str, list[str]] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    stamps: dict[str, list[int]] = field(default_factory=dict)

    def lacks(self, keys: list[str]) -> bool:
        """Whether anything of training or of these evaluations is missing."""
        return self.state != "trained" or not set(keys) <= set(self.evaluations)

    @classmethod
    def read(cls, text: bytes) -> Status:
        """The status in a file; one that is damaged, to the bit, is pending and says so."""
        try:
            fields = json.loads(text)
            checksum = fields.pop("sha256", None)  # files of earlier versions have none
            if checksum not in (None, _digest(fields)):
                raise ValueError("its checksum does not match")
            status = cls(**fields)
            status._check()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls(error=DAMAGED)
        return status

    def written(self) -> bytes:
        """What `read` reads."""
        fields = asdict(self)
        return (json.dumps({**fields, "sha256": _digest(fields)}, indent=1) + "\n").encode()

    def _check(self) -> None:
        """Whether fields are what they should be.

        Raises:
            TypeError: they are not.
        """
        fine = (
            self.state in get_args(State)
            and _all(self.files, dict, str)
            and _all(self.evaluations, list, str)
            and isinstance(self.error, str | None)
            and isinstance(self.seconds, int | float)
            and _all(self.notes, dict, list)
            and all(_all(sentences, list, str) for sentences in self.notes.values())
            and _all(self.took, dict, int | float)
            and _all(self.stamps, dict, list)
            and all(_all(stamp, list, int) for stamp in self.stamps.values())
        )
        if not fine:
            raise TypeError("a field is of another type")


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _all(value: object, kind: type, of: type | UnionType) -> bool:
    """Whether a value is a list or a dict of such items."""
    if not isinstance(value, kind):
        return False
    items = value.values() if isinstance(value, dict) else value
    return isinstance(items, Iterable) and all(isinstance(item, of) for item in items)
