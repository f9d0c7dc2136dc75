"""What can go wrong, in words a user can act on.

A `UserError` is one message without a traceback and exit code 2. Everything else that
escapes is a bug in hugbench or in a loss of the user's own, and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class HugbenchError(Exception):
    """Base of every error that hugbench raises on purpose; it may cross a process boundary."""

    exit_code = 1

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.args), self.__dict__


class UserError(HugbenchError):
    """Bad input: what is wrong, where it stands, what was found and what was expected.

    Args:
        message: what is wrong, one clause.
        where: file, `file:line:column` or command-line option.
        key: dotted path of the offending key.
        found: the offending value (its `repr` is shown).
        expected: what would have been right.
        nearest: the nearest valid name, if there is one.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        where: str | Path | None = None,
        key: str | None = None,
        found: object = None,
        expected: str | None = None,
        nearest: str | None = None,
    ) -> None:
        self.message = " ".join(message.split())  # what others raise may have several lines
        self.where = None if where is None else str(where)
        self.key = key
        self.found = found
        self.expected = expected
        self.nearest = nearest
        super().__init__(str(self))

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.where, self.key, self.message) if part)
        tail = []
        if self.found is not None:
            tail.append(f"found {_shorten(repr(self.found))}")
        if self.expected is not None:
            tail.append(f"expected {self.expected}")
        if self.nearest is not None:
            tail.append(f"did you mean {self.nearest!r}?")
        return "; ".join([head, *tail])


@contextmanager
def standing(where: str) -> Iterator[None]:
    """Where a `UserError` that names no place is to say that it stands."""
    try:
        yield
    except UserError as error:
        if error.where is not None:
            raise
        details = {key: getattr(error, key) for key in ("key", "found", "expected", "nearest")}
        raise UserError(error.message, where=where, **details) from None


class NonFiniteLoss(HugbenchError):
    """The training loss became NaN or infinite: the run has failed, the others go on.

    Args:
        epoch: epoch, counted from 0.
        step: step of the whole run, counted from 0.
        losses: the last losses up to and including the offending one.
        learning_rate: learning rate at that step.
    """

    def __init__(self, epoch: int, step: int, losses: list[float], learning_rate: float) -> None:
        self.epoch, self.step = epoch, step
        self.losses, self.learning_rate = losses, learning_rate
        trail = ", ".join(f"{loss:.6g}" for loss in losses)
        super().__init__(
            f"the training loss is not finite at step {step} (epoch {epoch}, "
            f"learning rate {learning_rate:.6g}); the losses up to it: {trail}"
        )


class CorruptFile(HugbenchError):
    """A stored file does not match its checksum (cut short, or bits flipped)."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: {reason}")


class ChangedInUse(CorruptFile):
    """A file that is mapped into memory was changed under whoever reads it: what it read does not count."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name`, or None where nothing is near."""
    candidates = list(valid)
    folded = {candidate.lower(): candidate for candidate in reversed(candidates)}
    matches = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def _again(kind: type[HugbenchError], args: tuple[object, ...]) -> HugbenchError:
    """An error of a kind, whatever its constructor asks for."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _shorten(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
