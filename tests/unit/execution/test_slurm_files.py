"""Messages between jobs and driver: whole lines arrive, whatever happens to the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugbench.execution import events
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.slurm_files import (
    Begun,
    GaveUp,
    Inbox,
    Ledger,
    Mailbox,
    Trouble,
    decode,
    encode,
)

ALL = [
    events.SuiteStarted("s", 3, 2, "results", 4),
    events.RunStarted("id", "hug", 0, 5, 2),
    events.EpochDone("id", 1, 5, float("inf"), 0.25, 1e3, 0.5),
    events.Evaluated("id", "accuracy", "accuracy", 0.5, ({"value": None, "n": 3}, {"value": 0.1})),
    events.RunDone("id", "hug", 0, 1.5, True),
    events.RunFailed("id", "hug", 0, "ValueError: no\nsuch thing"),
    events.RunWaiting("id", "hug", 0, "process 4 on x"),
    events.Notice("a ± sign"),
    events.Printed("a line"),
    Begun("node1", 7),
    Ended("waiting"),
    GaveUp("why"),
    Trouble("text", True),
]


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    box = Mailbox(tmp_path / "messages" / "run.0", tmp_path / "stop" / "run.0")
    box.open()
    return box


@pytest.mark.parametrize("message", ALL)
def test_every_message_arrives_as_it_was(message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message


def test_messages_arrive_once_and_in_order(mailbox: Mailbox) -> None:
    inbox = Inbox(mailbox)
    assert inbox.read() == []
    for message in ALL:
        mailbox.say(message)
        assert inbox.read() == [message]
    assert inbox.read() == []
    assert Inbox(mailbox).read() == ALL


def test_an_inbox_without_a_file_is_empty(tmp_path: Path) -> None:
    assert Inbox(Mailbox(tmp_path / "none", tmp_path / "stop")).read() == []


@pytest.mark.parametrize("cut", [1, 9, 20, -2, -1])
def test_a_line_cut_short_waits_or_is_passed_over(mailbox: Mailbox, cut: int) -> None:
    inbox, line = Inbox(mailbox), encode(ALL[1])
    mailbox.say(ALL[0])
    with mailbox.messages.open("ab") as stream:
        stream.write(line[:cut])
    assert inbox.read() == [ALL[0]]
    with mailbox.messages.open("ab") as stream:
        stream.write(line[cut:])
    assert inbox.read() == [ALL[1]], "the rest came, and it is not heard"
    with mailbox.messages.open("ab") as stream:
        stream.write(line[:cut])
    mailbox.open()  # killed; the job goes on in another process
    mailbox.say(ALL[2])
    heard = inbox.read()
    assert heard == ([ALL[1], ALL[2]] if cut == -1 else [ALL[2]])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"\x00" * 40,
        b"00000000 {}",
        b"zzzzzzzz " + encode(ALL[0])[9:-1],
        encode(ALL[0])[:-1].replace(b"results", b"resultz"),
        b"\xff\xfe",
    ],
)
def test_damaged_lines_are_passed_over(mailbox: Mailbox, line: bytes) -> None:
    assert decode(line) is None
    with mailbox.messages.open("ab") as stream:
        stream.write(line + b"\n")
    mailbox.say(ALL[3])
    assert Inbox(mailbox).read() == [ALL[3]]


@pytest.mark.parametrize(
    "text",
    [b'{"kind": "Unheard"}', b'{"kind": "Notice", "text": "x", "new": 1}', b'{"kind": "Notice"}', b"3"],
)
def test_messages_of_another_version_are_passed_over(text: bytes) -> None:
    import zlib

    assert decode(b"%08x %s" % (zlib.crc32(text), text)) is None


def test_what_one_driver_submits_another_reads(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path, "slurm"), Ledger(tmp_path, "slurm")
    first.own.note({"a.0": "1_0"})
    first.own.note({"b.1": "2"})
    (found,) = second.others()
    assert (found.cluster, found.jobs) == ("slurm", {"a.0": "1_0", "b.1": "2"})
    assert Ledger(tmp_path, "elsewhere").others() == []
    second.discard(found)
    assert found.path.exists(), "its driver lives"
    first.close()
    second.discard(found)
    assert not found.path.exists()
