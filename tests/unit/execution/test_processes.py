from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.execution.processes import VARIABLES, Processes, processes, speaks
from hugbench.execution.where import Local, Serial, Slurm, executor

GIVEN = {
    "WORLD_SIZE": "8",
    "RANK": "5",
    "LOCAL_WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    def tell(**changed: str | None) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {**GIVEN, **changed}.items():
            if value is not None:
                monkeypatch.setenv(name, value)

    return tell


def test_what_torchrun_tells(told) -> None:
    told()
    assert processes() == Processes(count=8, rank=5, here=4, place=1)
    assert not speaks()
    told(RANK="0", LOCAL_RANK="0")
    assert processes().rank == 0
    assert speaks()


@pytest.mark.parametrize("size", [None, "1"])
def test_a_process_of_its_own(told, size: str | None) -> None:
    told(WORLD_SIZE=size, RANK=None)
    assert processes() == Processes()
    assert speaks()


@pytest.mark.parametrize("name", [name for name in VARIABLES if name != "WORLD_SIZE"])
def test_a_variable_that_is_missing(told, name: str) -> None:
    told(**{name: None})
    with pytest.raises(UserError, match=f"WORLD_SIZE: {name} not set; found '8'; expected all that torchrun"):
        processes()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORLD_SIZE", "many", "a whole number of at least 1"),
        ("WORLD_SIZE", "0", "a whole number of at least 1"),
        ("RANK", "8", "a whole number from 0 to 7"),
        ("RANK", "-1", "a whole number from 0 to 7"),
        ("LOCAL_RANK", "4", "a whole number from 0 to 3"),
        ("LOCAL_WORLD_SIZE", "4.0", "a whole number of at least 1"),
    ],
)
def test_a_variable_that_is_no_such_number(told, name: str, value: str, expected: str) -> None:
    told(**{name: value})
    with pytest.raises(UserError, match=f"{name}: not a valid value; found '{value}'; expected {expected}"):
        processes()


def test_the_executor_of_several_processes_is_serial(told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUGBENCH_EXECUTOR", raising=False)
    told()
    assert isinstance(executor(None), Serial)
    told(WORLD_SIZE=None)
    assert isinstance(executor(None), Local)


def test_how_many_processes_train_a_run() -> None:
    assert (Serial().ranks, Local().ranks, Slurm().ranks, Slurm(gpus_per_run=4).ranks) == (1, 1, 1, 4)
