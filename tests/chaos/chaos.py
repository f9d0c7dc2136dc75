"""The suite, undisturbed and disturbed: a deck of faults, shuffled by a seed, is dealt while it runs."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.chaos.checks import problems
from tests.chaos.damage import DAY, HARM, WHERE, damage, misdate
from tests.chaos.exits import redone, verdict
from tests.chaos.ground import Ground
from tests.chaos.kills import Kills
from tests.chaos.processes import Driver, Watch, marked, start
from tests.chaos.suites import LATER, Form, images

LOG = "chaos.jsonl"

PATIENCE = 6.0
"""Seconds, at least, that are waited for a moment to come; what strikes then, strikes whatever there is."""


class Chaos:
    """One suite and what happens to it.

    Args:
        folder: new; everything lies there.
        form: how much of everything.
        seed: of which fault strikes when. The machine's own timing is not seeded.
        tell: is called with a line for everything that happens.

    Attributes:
        problems: what is wrong.
    """

    def __init__(self, folder: Path, form: Form, seed: int, tell: Callable[[str], None] = print) -> None:
        folder.mkdir(parents=True)
        self.folder, self.form, self.tell = folder, form, tell
        self.draw = random.Random(seed)
        self.mark = f"{folder}-{seed}"
        self.began = time.monotonic()
        self.ground = Ground(folder / "disk")
        self.kills = Kills(Watch(self.ground.results), self.draw)
        self.data, self.clock = folder / "data", folder / "clock"
        self.log = (folder / LOG).open("w", buffering=1)
        self.drivers: list[Driver] = []
        self.all: list[Driver] = []
        self.faults: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.problems: list[str] = []
        self.disk_was_bad = self.cache_was_cut = False
        self.patience = PATIENCE
        self.seconds: dict[str, float] = {}
        images(self.data, form.images)
        self.suite, self.later = folder / "suite.yaml", folder / "later.yaml"
        self.suite.write_text(form.suite)
        self.later.write_text(form.suite + LATER)
        self.expected = folder / "undisturbed"

    def run(self) -> list[str]:
        """All of it; what is wrong, which is nothing."""
        try:
            undisturbed = self._undisturbed()
            begun = time.monotonic()
            deck = self._deck()
            while deck and not self.problems:
                self._session(deck)
                if time.monotonic() - self.began > 60 * self.form.minutes:
                    self.problems.append(f"not done after {self.form.minutes} minutes, left: {deck}")
            self._settle()
            self.seconds["disturbed"] = time.monotonic() - begun
            if undisturbed.process.wait() != 0:
                raise RuntimeError(undisturbed.output.read_text(errors="replace"))
            found = problems(self.later, self.ground.results, self.expected, self.data, self.mark)
            self.problems += found
        finally:
            for driver in self.all:
                driver.send(signal.SIGKILL)
                driver.process.wait()
            self.ground.make_room([])
            self.ground.leave()
            self.log.close()
        return self.problems

    def _undisturbed(self) -> Driver:
        """Start the same, with a later question, in peace: on a disk, with data and a clock of its own.

        How long the start takes says what patience is. The long form lets it end before anything else begins.
        """
        begun = time.monotonic()
        data = self.folder / "undisturbed-data"
        images(data, self.form.images)
        driver = self._start(self.later, "--executor", "serial", data=data, results=self.expected)
        while driver.alive and not any(self.expected.glob("runs/*/train.jsonl")):
            time.sleep(0.05)
        self.patience = max(PATIENCE, 3 * (time.monotonic() - begun))
        if self.form.rounds > 1:
            driver.process.wait()
            self.seconds["undisturbed"] = time.monotonic() - begun
        return driver

    def _deck(self) -> list[str]:
        """Names of what happens, in the order in which it does."""
        times = self.form.rounds
        drivers = self.form.kills // 4  # each takes its workers along
        deck = ["kill a driver"] * drivers + ["kill a worker"] * (self.form.kills - drivers)
        deck += ["fill the disk", "close the folder", "wrong clock", "wrong times", "rivals"] * times
        deck += ["interrupt"] * times
        for place, what in enumerate(WHERE):
            harms = list(HARM) if times > 1 else [list(HARM)[place % len(HARM)]]
            deck += [f"{what} {harm}" for harm in harms]
        self.draw.shuffle(deck)
        return deck

    def _session(self, deck: list[str]) -> None:
        """Drivers from their start to the end of the last; what could not strike goes back into the deck."""
        self.disk_was_bad, self.cache_was_cut = self.ground.full or self.ground.closed, False
        self.drivers = [self._start(self.suite)]
        while any(driver.alive for driver in self.drivers):
            time.sleep(self.draw.uniform(0.0, 1.0))
            if deck:
                fault = deck.pop()
                if not self._strike(fault):
                    deck.insert(0, fault)
        done = False
        for driver in self.drivers:
            how, wrong = verdict(driver, disk=self.disk_was_bad, cut=self.cache_was_cut)
            self.ends[how] += 1
            self._note("end", how=how, output=driver.output.name)
            if wrong:
                self.problems.append(f"{driver.output.name}: {wrong}")
            done = done or driver.process.returncode == 0
        if self.ground.full or self.ground.closed:
            self.ground.make_room(marked(self.mark))
            self.ground.open()
        if done and deck:
            self._reopen()

    def _start(
        self, suite: Path, *options: str, data: Path | None = None, results: Path | None = None
    ) -> Driver:
        """A driver; without folders of its own it is one that is disturbed."""
        output = self.folder / f"output-{len(self.all):03}.txt"
        arguments = ["run", suite, "--data", data or self.data, "--results", results or self.ground.results]
        arguments += [*options, "--device", "cpu"]
        if results is None:
            arguments += ["--executor", "local", "--workers", "2"]
            driver = start(arguments, output, self.mark, self.clock)
        else:
            driver = start(arguments, output, f"{self.mark}-in-peace")
        self.all.append(driver)
        return driver

    def _strike(self, fault: str) -> bool:
        """Do it; whether it could be done."""
        match fault.split():
            case ["kill", _, victim]:
                struck = self._kill(victim)
            case ["interrupt"]:
                struck = self._interrupt()
            case ["fill", *_]:
                struck = self._starve()
            case ["close", *_]:
                struck = self._close()
            case ["wrong", "clock"]:
                self.clock.write_text(str(self.draw.choice([-400, -3, -1, 1, 3, 400]) * DAY))
                struck = True
            case ["wrong", "times"]:
                struck = misdate([self.ground.results, self.data], self.draw) > 0
            case ["rivals"]:
                self.drivers += [
                    self._start(self.suite) for _ in range(self.draw.randint(1, min(2, self.form.rounds)))
                ]
                struck = True
            case [what, harm]:
                path = damage(self.ground.results, self.data, what, harm, self.draw)
                self.cache_was_cut |= path is not None and what == "cache" and harm in ("cut", "emptied")
                struck = path is not None
            case _:
                raise ValueError(fault)
        if struck and not fault.startswith("kill"):
            self.faults[fault] += 1
            self._note(fault)
        return struck

    def _kill(self, kind: str) -> bool:
        phase = self.kills.strike(self.drivers, kind, self.patience)
        if phase is not None:
            self._note(f"kill a {kind}", phase=phase)
        return phase is not None

    def _interrupt(self) -> bool:
        """Ctrl-C, once some work is under way."""
        driver = self.kills.at_work(self.drivers, self.patience)
        if driver is not None:
            driver.send(signal.SIGINT)
        return driver is not None

    def _starve(self) -> bool:
        """Fill the disk, mostly while runs are going on, until all drivers have seen it."""
        if self.draw.random() < 0.75:
            self.kills.at_work(self.drivers, self.patience)
        self.disk_was_bad = True
        self.ground.fill(marked(self.mark))
        self._wait()
        self.ground.make_room(marked(self.mark))
        return True

    def _close(self) -> bool:
        """Let nothing be written, as with a full disk."""
        if self.draw.random() < 0.75:
            self.kills.at_work(self.drivers, self.patience)
        self.disk_was_bad = True
        if not self.ground.close():
            return True
        self._wait()
        self.ground.open()
        return True

    def _wait(self) -> None:
        """Until the drivers have ended, in the long form one more that starts now, or some seconds."""
        self._await_ends()
        if self.form.rounds > 1 and not any(driver.alive for driver in self.drivers):
            self.drivers.append(self._start(self.suite))
            self._await_ends()

    def _await_ends(self) -> None:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and any(driver.alive for driver in self.drivers):
            time.sleep(0.05)

    def _reopen(self) -> None:
        """The suite is done before the deck is: some finished runs lose their status, others records."""
        for what in ["status"] * (2 + 2 * self.form.rounds) + ["records"] * (1 + self.form.rounds):
            harm = self.draw.choice(list(HARM))
            path = damage(self.ground.results, self.data, what, harm, self.draw)
            self.faults[f"{what} {harm}, to reopen finished runs"] += 1
            self._note("reopen", path=str(path))

    def _settle(self) -> None:
        """Let it end: with a later question, whose answer needs all weights, until all is done."""
        self.clock.write_text("0")
        for _ in range(4):
            driver = self._start(self.later)
            self.drivers = [driver]
            code = driver.process.wait()
            how, wrong = verdict(driver, disk=False, cut=False)
            if wrong:
                self.problems.append(f"{driver.output.name}: {wrong}")
            if code == 0:
                break
        else:
            self.problems.append(f"does not come to its end: {how}, {driver.output.name}")
        deadline = time.monotonic() + self.patience
        while marked(self.mark) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _note(self, what: str, **more: object) -> None:
        seconds = round(time.monotonic() - self.began, 2)
        self.log.write(json.dumps({"seconds": seconds, "what": what, **more}) + "\n")
        self.tell(f"{seconds:8.2f} {what} {more or ''}")

    def summary(self) -> str:
        """Kills by victim and phase, faults, ends, what was redone, seconds."""
        outputs = [driver.output.read_text(errors="replace") for driver in self.all]
        lines = [f"{sum(self.kills.counts.values())} kills by SIGKILL"]
        lines += [
            f"  {count:4} {kind}, {phase}" for (kind, phase), count in sorted(self.kills.counts.items())
        ]
        lines += [f"{sum(self.faults.values())} other faults (disk: {self.ground.filling}; "]
        lines[-1] += f"no permission: {self.ground.closing}; clock: sitecustomize, os.utime)"
        lines += [f"  {count:4} {fault}" for fault, count in sorted(self.faults.items())]
        lines += [f"{sum(self.ends.values())} disturbed drivers ended"]
        lines += [f"  {count:4} {how}" for how, count in self.ends.most_common()]
        lines += ["redone, by what the drivers said"]
        lines += [f"  {count:4} {what}" for what, count in redone(outputs).most_common()]
        times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        lines += [f"wall time: {times}", f"problems: {len(self.problems)}", *self.problems]
        return "\n".join(lines)
