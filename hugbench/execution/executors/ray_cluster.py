"""The connection to a Ray cluster: to one that runs, or to a local one that lives as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hugbench.errors import HugbenchError, UserError
from hugbench.execution.executors.claims import OWNER, claimed, sweep
from hugbench.execution.where import RAY_ADDRESS, Ray

CONNECT_SECONDS = 15.0
"""How long a cluster may take to answer."""

GONE_SECONDS = 20.0
"""How long the head of a cluster may not be reachable before the cluster is gone. After 60 Ray ends the
process that waits for it."""

OBJECT_STORE = 100 << 20
"""Bytes of a local cluster's object store: nothing large passes through it."""

LONGEST_FOLDER = 22
"""Characters of the folder for temporary files; Ray's sockets lie below, and have 107 for their paths."""

FOLDER = "hugbench-"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_local_fs_capacity_threshold": "0.999",  # objects are few and small: no reason to fail at 95 %
}
_OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
_REHEARSAL = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"


@dataclass(frozen=True)
class Room:
    """Processors and GPUs: of all nodes together, or of the one that has most."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Needs:
    """What a local cluster must have room for: runs at a time, processors of a run, GPUs."""

    cpus: int
    gpus: int


class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        ray: the library.
        own: whether it was started here.
        silent: whether its head did not answer when `gone` asked last; whoever asks it more, waits.
    """

    def __init__(self, ray: ModuleType, own: bool) -> None:
        self.ray, self.own = ray, own
        context = ray.get_runtime_context()
        self._node = context.get_node_id()
        self._head = None if ray.util.client.ray.is_connected() else _split(context.gcs_address)
        self._heard, self.silent = time.monotonic(), False

    def rooms(self) -> tuple[Room, Room]:
        """Of all nodes that are alive, and of the largest."""
        nodes = [Room(n.get("CPU", 0.0), n.get("GPU", 0.0)) for n in self._alive().values()]
        total = Room(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes))
        return total, max(nodes, key=lambda node: (node.gpus, node.cpus), default=Room(0, 0))

    def has_room(self, cpus: float, gpus: float) -> bool:
        """Whether a node could take this much if it did nothing else."""
        nodes = self._alive().values()
        return any(node.get("CPU", 0.0) >= cpus and node.get("GPU", 0.0) >= gpus for node in nodes)

    def gone(self) -> bool:
        """Whether there is no cluster any more. Ray itself would wait for it without an end."""
        self.silent = self._head is not None and not _answers(self._head)
        if self.silent:
            return time.monotonic() - self._heard > GONE_SECONDS
        self._heard = time.monotonic()
        try:
            return self._node not in self._alive()
        except (ConnectionError, RuntimeError):
            return True

    def near(self) -> Any:
        """Where an actor is placed that is to live as long as this process."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._node, soft=True)

    def _alive(self) -> dict[str, dict[str, float]]:
        """The resources of each node that is alive, by its id."""
        return {node["NodeID"]: node["Resources"] for node in self.ray.nodes() if node["Alive"]}


@contextlib.contextmanager
def connected(where: Ray, needs: Needs) -> Iterator[Cluster]:
    """A cluster, left at the end as it was found; a local one is stopped, and leaves nothing behind.

    A driver that has called `ray.init` itself keeps its Ray.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
        HugbenchError: a local cluster does not start.
    """
    ray = _library()
    address = where.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    if ray.is_initialized():
        yield _same(Cluster(ray, own=False), where)
        return
    with _own_folder() if address == "local" else contextlib.nullcontext() as folder:
        with _keeping_signals():
            if folder is None:
                _join(ray, address, "--ray-address" if where.ray_address else "RAY_ADDRESS")
            else:
                _start(ray, needs, folder)
        try:
            yield Cluster(ray, own=folder is not None)
        finally:
            with _keeping_signals():
                ray.shutdown()


def _library() -> ModuleType:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"Ray cannot be imported ({error})", where="--executor", expected="pip install 'hugbench[ray]'"
        ) from None
    library: ModuleType = ray
    return library


def _start(ray: ModuleType, needs: Needs, folder: str) -> None:
    try:
        ray.init(
            address="local",
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            _temp_dir=folder,
            **_OPTIONS,
        )
    except (Exception, SystemExit) as error:
        told = f"a local Ray cluster does not start ({type(error).__name__}: {error})"
        raise HugbenchError(f"{told}; `--executor local` does without") from error


def _join(ray: ModuleType, address: str, option: str) -> None:
    """Connect; before that a process of its own does, since Ray cannot be told to give up.

    Raises:
        UserError: nobody answers there, or it is no Ray that fits to this one.
    """
    expected = "the address of a running cluster, as `ray start --head` tells it"
    if not re.fullmatch(RAY_ADDRESS, address):
        raise UserError("is no address", where=option, found=address, expected="auto, or HOST:PORT")
    head = _split(address.removeprefix("ray://")) if address != "auto" else None
    if head is not None and (reason := _refusal(head)):
        raise UserError(f"cannot be reached ({reason})", where=option, found=address, expected=expected)
    if reason := _rehearse(address):
        raise UserError(f"no Ray cluster ({reason})", where=option, found=address, expected=expected)
    ray.init(address, **_OPTIONS)


def _rehearse(address: str) -> str | None:
    """Connect in another process; why that fails, or None."""
    command = [sys.executable, "-c", _REHEARSAL, address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            told = process.communicate(timeout=CONNECT_SECONDS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            told = process.communicate()[1] + b"\nnobody answers as Ray does within %.0f s" % CONNECT_SECONDS
    if process.returncode == 0:
        return None
    lines = told.decode(errors="replace").strip().splitlines()
    if any("InvalidAuthToken" in line for line in lines):
        return "it asks for a token; RAY_AUTH_MODE and RAY_AUTH_TOKEN tell Ray of it"
    return lines[-1] if lines else f"exit code {process.returncode}"


def _same(cluster: Cluster, where: Ray) -> Cluster:
    """The cluster, if no other one is asked for."""
    asked = where.ray_address
    here = cluster.ray.get_runtime_context().gcs_address
    if asked not in (None, "auto") and asked != here:
        raise UserError(
            "this process is connected to another Ray cluster",
            where="--ray-address",
            found=asked,
            expected=f"{here}, or none",
        )
    return cluster


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _refusal(head: tuple[str, int]) -> str | None:
    """Why nothing listens there, or None."""
    try:
        socket.create_connection(head, timeout=5).close()
    except (OSError, OverflowError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _answers(head: tuple[str, int]) -> bool:
    return _refusal(head) is None


@contextlib.contextmanager
def _own_folder() -> Iterator[str]:
    """A folder for a local cluster's sockets and logs; those of killed drivers are removed, too."""
    above = tempfile.gettempdir()
    above = above if len(above) <= LONGEST_FOLDER else "/tmp"
    sweep(Path(above), f"{FOLDER}*")
    folder = tempfile.mkdtemp(prefix=FOLDER, dir=above)
    try:
        with claimed(Path(folder, OWNER), str(os.getpid())):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _keeping_signals() -> Iterator[None]:
    """Ray puts a handler of its own in the place of whoever listens."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
