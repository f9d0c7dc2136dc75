"""How a disturbed driver may end, and what it says that it did again."""

from __future__ import annotations

import re
import signal
from collections import Counter

from tests.chaos.processes import Driver

ALLOWED = {
    0: "done",
    2: "the disk, in a line",
    3: "some runs failed",
    4: "a paired baseline is trained again, by another",
    130: "interrupted",
}

DISK = re.compile(
    r"^error: .*(No space left|File too large|Operation not permitted|Permission denied|Read-only|cannot be written)"
)

REDONE = {
    r"(accuracy|adversarial|corruption|collapse) is redone": "evaluation redone",
    r"the model is trained again": "model trained again",
    r"training starts over": "training started over",
    r"the run is redone": "run redone, its status was damaged",
    r"goes on after epoch": "training gone on with",
    r"was changed while it was in use": "data read again, changed in use",
    r"decoding again": "data decoded again, cache damaged",
    r"decoding [\d,]+ images, once": "data decoded",
    r"its worker was killed": "run given to another worker",
    r"the baseline is trained again": "paired baseline found damaged",
    r"waiting for process": "run in another driver's hands",
    r"FAILED": "run failed, to be taken up again",
}
"""What is looked for in the output, and what it is called in the summary."""


def verdict(driver: Driver, *, disk: bool, cut: bool) -> tuple[str, str | None]:
    """How a driver ended, and what is wrong with that, if anything is.

    Args:
        driver: one that has ended.
        disk: the disk was full or closed in its time.
        cut: a file that it may have mapped was cut short in its time: the kernel answers with SIGBUS.
    """
    code, output = driver.process.returncode, driver.output.read_text(errors="replace")
    if "Traceback (most recent call last)" in output:
        return f"exit code {code}", "a traceback"
    if code < 0:
        name = signal.Signals(-code).name
        ours = -code in driver.signals or (cut and -code == signal.SIGBUS)
        return name, None if ours else f"{name}, which we did not send"
    if code not in ALLOWED:
        return f"exit code {code}", "an exit code that it must not have"
    if code == 4 and "a baseline is not trained" not in output:
        return ALLOWED[code], "it stopped early"
    if code == 130 and signal.SIGINT not in driver.signals:
        return ALLOWED[code], "nobody interrupted it"
    if code == 2:
        lines = [line for line in output.splitlines() if line.startswith("error:")]
        if not disk or len(lines) != 1 or not DISK.match(lines[0]):
            return ALLOWED[code], f"not the one clear line: {lines}"
    return ALLOWED[code], None


def redone(outputs: list[str]) -> Counter[str]:
    """What drivers say that they did again."""
    found: Counter[str] = Counter()
    for pattern, name in REDONE.items():
        found[name] = sum(len(re.findall(pattern, text)) for text in outputs)
    return +found
