"""The executors by name, and what each lets a user choose. Imports neither torch nor Ray nor submitit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from hugbench.errors import UserError, nearest
from hugbench.execution.processes import processes
from hugbench.execution.sbatch import parameters
from hugbench.registry import load_target
from hugbench.types import Frozen, Positive, PositiveInt

if TYPE_CHECKING:
    from hugbench.execution.schedule import Work


class Where(Frozen):
    """An executor and its options; `target` is its function, see `hugbench.execution.executors`."""

    name: ClassVar[str]
    target: ClassVar[str]

    @property
    def ranks(self) -> int:
        """How many processes train a run together."""
        return 1

    def at_once(self, work: Work) -> int:
        """How many of the runs go on at a time, at most, as far as is known before they start."""
        return 1


class Serial(Where):
    """One run after the other, in this process."""

    name = "serial"
    target = "hugbench.execution.executors.serial:serial"


class Local(Where):
    """Several processes on this machine, one for each GPU, or as many on the CPU as pay."""

    name = "local"
    target = "hugbench.execution.executors.local:local"

    workers: PositiveInt | None = Field(
        None, description="processes; null: one for each GPU, or as many as pay"
    )

    def at_once(self, work: Work) -> int:
        """See `Where.at_once`."""
        return len(load_target("hugbench.execution.executors.seats:seats_for")(self, work))


RAY_ADDRESS = r"auto|local|(ray://)?([^\s:/\[\]]+|\[[0-9a-fA-F:.%]+\]):\d{1,5}"


def _address(given: str) -> str:
    port = int(given.rpartition(":")[2]) if re.fullmatch(RAY_ADDRESS, given) and ":" in given else 1
    if not re.fullmatch(RAY_ADDRESS, given) or not 0 < port < 1 << 16:
        raise PydanticCustomError("address", "is no address; expected auto, HOST:PORT or ray://HOST:PORT")
    return given


def _shares(given: float) -> float:
    if given < 1e-4 or (given > 1 and not given.is_integer()):
        raise PydanticCustomError("shares", "Ray gives a run a part of one GPU, or whole ones")
    return given


class Ray(Where):
    """A Ray cluster: one that runs, or a local one that is started and stopped again."""

    name = "ray"
    target = "hugbench.execution.executors.ray:ray"

    ray_address: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="of a running cluster, auto, or local; null: RAY_ADDRESS, else local: one is started",
    )
    gpus_per_run: Annotated[Positive, AfterValidator(_shares)] | None = Field(
        None, description="GPUs of a run, a part of one too; null: 1 on GPUs"
    )
    workers: PositiveInt | None = Field(
        None, description="runs at a time at most; null: as many as have room"
    )

    def at_once(self, work: Work) -> int:
        """See `Where.at_once`; the room on the cluster is not known."""
        return min(self.workers or len(work.runs), len(work.runs))


def _whole(given: Any) -> Any:
    """A whole number that came as 2.0, as 2."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _sbatch(given: tuple[str, ...]) -> tuple[str, ...]:
    """Parameters of sbatch, looked at."""
    parameters(given)
    return given


class Slurm(Where):
    """An array of Slurm jobs, a run each."""

    name = "slurm"
    target = "hugbench.execution.executors.slurm:slurm"

    partition: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Slurm's partition; null: its default"
    )
    time: Positive = Field(
        4 * 3600.0, description="seconds that a job may take; then it is requeued and goes on"
    )
    gpus_per_run: Annotated[PositiveInt, BeforeValidator(_whole)] | None = Field(
        None, description="GPUs of a job; null: 1 on GPUs"
    )
    workers: PositiveInt = Field(256, description="jobs of the array that may run at a time")
    array_size: PositiveInt = Field(
        1000, description="jobs of an array at most; Slurm's MaxArraySize, often 1001, bounds it"
    )
    sbatch: Annotated[tuple[str, ...], AfterValidator(_sbatch)] = Field(
        (), description="further parameters of sbatch, NAME=VALUE; setup=COMMAND runs before the job"
    )
    slurm_cluster: Literal["slurm", "local"] = Field(
        "slurm", description="slurm, or local: submitit's processes on this machine, to try it out"
    )

    @property
    def ranks(self) -> int:
        """See `Where.ranks`: one for each GPU of a job."""
        return self.gpus_per_run or 1

    def at_once(self, work: Work) -> int:
        """See `Where.at_once`."""
        return min(self.workers, len(work.runs))


EXECUTORS: dict[str, type[Where]] = {kind.name: kind for kind in (Serial, Local, Ray, Slurm)}


def executor(name: str | None, options: Mapping[str, Any] | None = None) -> Where:
    """The executor of a name with its options; those that are None keep their defaults.

    Without a name it is the one that HUGBENCH_EXECUTOR names, or local, or
    serial where several processes carry out one command.

    Raises:
        UserError: no such executor, an option that it does not take, or a value that it does not.
    """
    where = "HUGBENCH_EXECUTOR" if name is None else "--executor"
    usual = Local.name if processes().count == 1 else Serial.name
    if name is None:
        name = os.environ.get("HUGBENCH_EXECUTOR") or usual
    if name not in EXECUTORS:
        raise UserError(
            "unknown executor",
            where=where,
            found=name,
            expected=f"one of: {', '.join(EXECUTORS)}",
            nearest=nearest(name, EXECUTORS),
        )
    kind = EXECUTORS[name]
    given = {key: value for key, value in (options or {}).items() if value is not None}
    for key in given:
        if key not in kind.model_fields:
            takers = [other for other, spec in EXECUTORS.items() if key in spec.model_fields]
            raise UserError(
                f"is no option of --executor {name}",
                where=f"--{key.replace('_', '-')}",
                expected=f"--executor {' or '.join(takers)}" if takers else None,
            )
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise UserError(first["msg"], where=f"--{key.replace('_', '-')}", found=given[key]) from None
