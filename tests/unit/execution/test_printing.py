from __future__ import annotations

import sys
from contextlib import suppress

from hugbench.execution.executors.printing import LONGEST_LINE, shown


def printed(*parts: str, where: str = "stdout") -> list[str]:
    told: list[str] = []
    with shown(told.append):
        for part in parts:
            getattr(sys, where).write(part)
    return told


def test_lines_are_told_whole_and_without_what_moves_a_cursor() -> None:
    assert printed("a\nb", "c\n\n", "\x1b[31mred\x1b[0m\x1b[2A\n", " 10%\r 20%\n") == [
        "a",
        "bc",
        "red",
        " 20%",
    ]
    assert printed("a\n", where="stderr") == ["a"]


def test_the_last_line_needs_no_end() -> None:
    assert printed("a\nno end") == ["a", "no end"]
    told: list[str] = []
    with suppress(SystemExit), shown(told.append):
        print("last words", end="")
        sys.exit(1)
    assert told == ["last words"]


def test_a_line_without_an_end_is_told_in_parts() -> None:
    told = printed(*["." * 1000] * 20)
    assert "".join(told) == "." * 20000
    assert len(told) == 3
    assert all(len(line) <= LONGEST_LINE + 1000 for line in told)


def test_what_is_logged_too_is_so_as_it_is(capsys) -> None:
    told: list[str] = []
    with shown(told.append, logged=True):
        print("\x1b[31mred\x1b[0m", end="", flush=True)
    assert told == ["red"]
    assert capsys.readouterr().out == "\x1b[31mred\x1b[0m"


def test_who_cannot_be_told_stops_nothing(capsys) -> None:
    def say(line: str) -> None:
        raise OSError("disk full")

    with shown(say, logged=True):
        print("on")
    assert capsys.readouterr().out == "on\n"
