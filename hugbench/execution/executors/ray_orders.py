"""What a run takes on a Ray cluster, and what its task is told."""

from __future__ import annotations

import contextlib
import pickle
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from hugbench import __version__
from hugbench.data.machine import available_cpus, available_memory
from hugbench.errors import UserError
from hugbench.execution.events import Notice, Observer
from hugbench.execution.executors.claims import claimed, sweep
from hugbench.execution.executors.parcels import Parcel, pack, pack_weights
from hugbench.execution.executors.ray_cluster import Needs, Room
from hugbench.execution.executors.ray_worker import Order
from hugbench.execution.executors.seats import WORKER_MEMORY
from hugbench.execution.place import Place, names_in
from hugbench.execution.preparation import dataset_of
from hugbench.execution.schedule import Work
from hugbench.execution.where import Ray
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun

TOKEN = ".hugbench-ray-"


def place_for(where: Ray, place: Place) -> Place:
    """Where runs compute as a worker is told: whole paths, and the GPU that Ray shows it.

    Raises:
        UserError: the device is one of several GPUs, or none that Ray knows.
    """
    device = torch.device("cuda") if where.gpus_per_run else place.device
    if device not in (torch.device("cpu"), torch.device("cuda")):
        raise UserError(
            "Ray chooses the GPU of each run", where="--device", found=str(device), expected="cpu or cuda"
        )
    return replace(place, data=place.data.absolute(), results=place.results.absolute(), device=device)


def needs_of(where: Ray, work: Work) -> Needs:
    """What a local cluster has: this machine, and at least room for the largest run."""
    if work.place.device.type == "cuda":
        gpus = torch.cuda.device_count()
        return Needs(max(available_cpus(), int(gpus / min(where.gpus_per_run or 1.0, 1.0))), gpus)
    room = min(available_cpus(), max(1, available_memory() // WORKER_MEMORY))
    return Needs(max(where.workers or room, *work.threads.values(), 1), 0)


@contextlib.contextmanager
def token_in(place: Place) -> Iterator[tuple[str, str]]:
    """A file in the results folder by which a worker knows it; its name and content."""
    place.results.mkdir(parents=True, exist_ok=True)
    sweep(place.results, f"{TOKEN}*")
    name, content = f"{TOKEN}{secrets.token_hex(8)}", secrets.token_hex(16)
    with claimed(place.results / name, content):
        yield name, content


class Orders:
    """From planned runs to what their tasks take and are told.

    Args:
        where: the executor's options.
        work: the runs, their place as workers see it.
        token: see `token_in`.
        room: of all nodes together.
        largest: room on the largest node.
        observe: is told if data are decoded.

    Raises:
        UserError: no node is large enough for a run.
    """

    def __init__(
        self,
        where: Ray,
        work: Work,
        token: tuple[str, str],
        room: Room,
        largest: Room,
        observe: Observer,
    ) -> None:
        self._work, self._token, self._observe = work, token, observe
        self._room, self._largest = room, largest
        self._names = names_in(work.place.data)
        self.gpus = (where.gpus_per_run or 1.0) if work.place.device.type == "cuda" else 0.0
        if largest.gpus < self.gpus:
            raise UserError(
                "no node of the cluster has as many GPUs",
                where="--gpus-per-run",
                found=self.gpus,
                expected=f"at most {largest.gpus:g}"
                if largest.gpus
                else "a cluster with GPUs, or --device cpu",
            )
        if largest.cpus < 1:
            raise UserError("no node of the cluster has a processor for runs", where="--ray-address")

    def cpus(self, planned: PlannedRun) -> int:
        """Processors that a run claims; where no node has as many as it has threads, all of the largest."""
        return 1 if self.gpus else min(self._threads(planned), int(self._largest.cpus))

    def order(self, planned: PlannedRun) -> bytes:
        """What the task of a run is told, pickled."""
        work, cpus, threads = self._work, self.cpus(planned), self._threads(planned)
        if self.gpus:
            cpus = max(1, int(self._room.cpus / self._room.gpus * self.gpus))
        dataset = dataset_of(planned.run.dataset, work.place.data, lambda text: self._observe(Notice(text)))
        return pickle.dumps(
            Order(
                planned,
                work.evaluations,
                work.place,
                self._token,
                None if self.gpus else threads,
                cpus,
                self._names,
                dataset.checksum,
                __version__,
            )
        )

    def parcels(self, planned: PlannedRun) -> Mapping[str, Parcel]:
        """What a run needs to go on: its files, and the model of the paired baseline."""
        results = self._work.place.results
        parcels = {planned.run.run_id: pack(RunFolder(results, planned.run.run_id))}
        if planned.reference is not None and any(spec.paired for spec in self._work.evaluations):
            reference = RunFolder(results, planned.reference.run_id)
            if reference.status().state in ("trained", "failed"):
                parcels[reference.run_id] = pack_weights(reference)
        return parcels

    def _threads(self, planned: PlannedRun) -> int:
        return self._work.threads.get(planned.run.run_id, 1)
