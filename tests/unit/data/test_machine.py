from __future__ import annotations

import os

from hugbench.data import machine


def test_what_is_available_is_a_part_of_what_there_is() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1 << 20 < machine.available_memory() <= total
    assert 1 <= machine.available_cpus() <= (os.cpu_count() or 1)


def test_the_limit_of_a_control_group_counts(monkeypatch) -> None:
    free = machine.available_memory()
    monkeypatch.setattr(machine, "_group_limits", lambda: [free * 2, 1000])
    assert machine.available_memory() == 1000


def test_limits_are_read_from_the_group_and_those_above_it(tmp_path, monkeypatch) -> None:
    own = tmp_path / "user" / "job"
    own.mkdir(parents=True)
    (tmp_path / "user" / "memory.max").write_text("12345\n")
    (own / "memory.max").write_text("max\n")
    (tmp_path / "user" / "cpu.max").write_text("max 100000\n")
    (own / "cpu.max").write_text("150000 100000\n")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/user/job\n")
    monkeypatch.setattr(machine, "GROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", membership)
    assert machine._group_limits() == [12345]
    assert machine._group_shares() == [2]
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "nothing")
    assert machine._group_limits() == machine._group_shares() == []


def test_a_containers_time_and_a_workers_part_bound_the_processors(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(machine, "_group_shares", lambda: [])
    monkeypatch.setattr(machine, "_share", None)
    assert machine.available_cpus() == 64
    machine.share(16)
    assert machine.available_cpus() == 16
    monkeypatch.setattr(machine, "_group_shares", lambda: [8, 4])
    assert machine.available_cpus() == 4
