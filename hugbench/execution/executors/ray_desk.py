"""How workers on a Ray cluster speak with the driver: through a desk, an actor of its own."""

from __future__ import annotations

import pickle
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

from hugbench.execution.events import Event

SEND_SECONDS = 0.2
"""How long events are gathered before they are sent."""

ASK_SECONDS = 1.0
"""How often a worker with nothing to say asks whether it is to stop."""

PATIENCE = 5.0
"""Seconds that a worker waits for the desk at its start and at its end."""


@dataclass(frozen=True)
class Begun:
    """A worker has everything imported and is at a run."""

    run_id: str


class Desk:
    """Keeps what workers say until the driver takes it, and what the driver wants of them."""

    def __init__(self) -> None:
        self._said: list[bytes] = []
        self._stopping = False

    def say(self, batch: bytes | None) -> bool:
        """From a worker: pickled events, if there are any; whether it is to stop."""
        if batch is not None:
            self._said.append(batch)
        return self._stopping

    def take(self, stopping: bool) -> list[bytes]:
        """From the driver: whether workers are to stop; what they have said since."""
        self._stopping = stopping
        said, self._said = self._said, []
        return said


class Line:
    """A worker's line to the desk while it is at a run: events leave in batches, from a thread.

    A desk that is gone is no reason to end: Ray starts it again, or the driver is gone, too.
    """

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._events: list[Event | Begun] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._attend, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._closed.set()
        self._thread.join(PATIENCE)

    def begin(self, run_id: str) -> bool:
        """Say at once that a run begins; whether the driver wants it to."""
        self.say(Begun(run_id))
        self._send(PATIENCE)
        return not self._stopping

    def say(self, event: Event | Begun) -> None:
        """Have an event sent."""
        with self._lock:
            self._events.append(event)

    def stopping(self) -> bool:
        """Whether the driver wanted an end when it was asked last."""
        return self._stopping

    def unsent(self) -> list[Event | Begun]:
        """What has not been sent yet, which then is not."""
        with self._lock:
            events, self._events = self._events, []
        return events

    def _attend(self) -> None:
        asked = time.monotonic()
        while not self._closed.wait(SEND_SECONDS):
            if self._events or time.monotonic() - asked >= ASK_SECONDS:
                self._send()
                asked = time.monotonic()

    def _send(self, patience: float | None = None) -> None:
        """Say what there is to say. Whoever waits in `ray.get` gives its processors to another task."""
        from ray.exceptions import RayError

        events = self.unsent()
        try:
            said = self._desk.say.remote(pickle.dumps(events) if events else None)
            self._stopping = said.future().result(patience)
        except (RayError, TimeoutError):
            with self._lock:
                self._events = [*events, *self._events]
