"""What this process may use of its machine."""

from __future__ import annotations

import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


_share: int | None = None


def share(cpus: int) -> None:
    """Tell this process, one of several, how many processors are its part."""
    global _share
    _share = cpus


def available_cpus() -> int:
    """Processors that this process may use: its part of those that it may run on.

    Where its control group, a container's for one, has time for fewer, that many.
    """
    everything = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([everything, *_group_shares(), *([] if _share is None else [_share])]))


def available_memory() -> int:
    """Bytes of memory that can still be taken without swapping.

    On Linux what the kernel calls available (the file cache counts, for it can be dropped), at
    most the limit of the control group; elsewhere half of the machine's memory.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        free = int(table["MemAvailable"][0]) * 1024
    except (OSError, KeyError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return min([free, *_group_limits()])


def _group_limits() -> list[int]:
    """Limits in bytes of the control group (version 2) of this process and of those above it."""
    return [int(limit) for limit in _of_groups("memory.max") if limit.isdigit()]


def _group_shares() -> list[int]:
    """Processors whose time the control groups of this process have, parts of one rounded up."""
    pairs = [quota.split() for quota in _of_groups("cpu.max")]
    return [-(-int(time) // int(period)) for time, period in pairs if time.isdigit()]


def _of_groups(name: str) -> list[str]:
    """What a file says in the control group of this process and in those above it, where it is."""
    try:
        own = GROUPS / MEMBERSHIP.read_text().strip().rpartition("::/")[2]
        files = [group / name for group in (own, *own.parents)]
        return [file.read_text().strip() for file in files if file.is_file()]
    except OSError:
        return []
