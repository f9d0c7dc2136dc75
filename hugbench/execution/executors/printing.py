"""What a run prints, told by lines, without what would move a terminal's cursor."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TextIO

LONGEST_LINE = 8192
"""Characters without an end of line after which one is put in: progress bars have none."""

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)?|[\x00-\x08\x0b-\x1f\x7f]")


def plain(line: str) -> str:
    """A line as text; of what overwrote itself the last."""
    return _ESCAPES.sub("", line.rstrip().rpartition("\r")[2])


class Lines(io.TextIOBase):
    """An output that is told by lines, the last one at its `end`.

    Args:
        say: is called with each line that is not empty; an OSError of it is passed over.
        log: where everything goes as it is, too.
    """

    def __init__(self, say: Callable[[str], None], log: TextIO | None = None) -> None:
        self._say, self._log, self._rest = say, log, ""
        self._writing = threading.Lock()

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        if self._log is not None:
            self._log.write(text)
        with self._writing:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > LONGEST_LINE:
                lines, self._rest = [*lines, self._rest], ""
        self._tell(lines)
        return len(text)

    def flush(self) -> None:
        """See `io.IOBase`."""
        if self._log is not None:
            self._log.flush()

    def end(self) -> None:
        """Tell what has no end of line, too."""
        with self._writing:
            rest, self._rest = self._rest, ""
        self._tell([rest])

    def _tell(self, lines: list[str]) -> None:
        for line in filter(None, map(plain, lines)):
            with suppress(OSError):
                self._say(line)


@contextmanager
def shown(say: Callable[[str], None], *, logged: bool = False) -> Iterator[None]:
    """Inside, what Python code prints is told by lines.

    Args:
        say: as `Lines` takes it.
        logged: it goes where it would have gone, too.
    """
    printed = Lines(say, sys.stdout if logged else None)
    complained = Lines(say, sys.stderr if logged else None)
    try:
        with redirect_stdout(printed), redirect_stderr(complained):
            yield
    finally:
        printed.end()
        complained.end()
