"""What this process may use of its machine."""

from __future__ import annotations

import os
from pathlib import Path


def available_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that can still be taken without swapping.

    On Linux what the kernel says is available (pages of the file cache count, for they can be
    dropped), within the limit of the control group; elsewhere half of the machine's memory.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        free = int(table["MemAvailable"][0]) * 1024
    except (OSError, KeyError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return min([free, *_group_limits()])


def _group_limits() -> list[int]:
    """Memory limits, in bytes, of the control group (version 2) that this process is in."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
        folder = Path("/sys/fs/cgroup")
        groups = [folder / own, *(folder / own).parents]
        texts = [(group / "memory.max").read_text().strip() for group in groups if (group / "memory.max").is_file()]
    except OSError:
        return []
    return [int(text) for text in texts if text.isdigit()]
