"""A small Slurm on this machine: sbatch, srun, squeue, scancel, scontrol and sacct, with arrays and requeues.

Its state is a folder, FAKE_SLURM: `ID.state`, `ID.pid` (of the batch script) and `ID.step` (of what srun
started) for every job, `calls` with a line for each command. A daemon for each submission starts the
jobs of an array, no more at a time than its limit, and starts those again that were requeued. There is
no accounting: sacct fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ.get("FAKE_SLURM", "."))
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sacct")


def install(folder: Path) -> dict[str, str]:
    """Put the commands into `folder/bin`; the environment in which they are found."""
    binaries, state = folder / "bin", folder / "state"
    for path in (binaries, state):
        path.mkdir(parents=True)
    for name in COMMANDS:
        script = binaries / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {name} "$@"\n')
        script.chmod(0o755)
    return {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(state)}


def file(job: str, kind: str) -> Path:
    return STATE / f"{job}.{kind}"


def set_state(job: str, state: str) -> None:
    written = file(job, f"new{os.getpid()}")
    written.write_text(state)
    written.replace(file(job, "state"))


def states() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(STATE.glob("*.state"))}


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    (STATE / "script.sh").write_text(text)
    number = 1 + sum(1 for _ in STATE.glob("*.array"))
    (STATE / f"{number}.array").touch()
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    count, limit = (int(array[1]) + 1, int(array[2])) if array else (1, 1)
    jobs = [f"{number}_{index}" for index in range(count)] if array else [str(number)]
    for job in jobs:
        set_state(job, "PENDING")
    subprocess.Popen(
        [sys.executable, "-S", __file__, "daemon", script, str(limit), *jobs],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(f"Submitted batch job {number}")


def daemon(script: str, limit: str, *jobs: str) -> None:
    running: dict[str, subprocess.Popen[bytes]] = {}
    waiting = list(jobs)
    while waiting or running:
        for job in [job for job in waiting if file(job, "state").read_text() != "PENDING"]:
            waiting.remove(job)  # cancelled
        while waiting and len(running) < int(limit):
            job = waiting.pop(0)
            running[job] = start(job, script)
            file(job, "pid").write_text(str(running[job].pid))
            set_state(job, "RUNNING")
        for job, process in list(running.items()):
            if file(job, "requeue").exists() and process.poll() is None:
                time.sleep(0.2)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if process.poll() is None:
                continue
            del running[job]
            if file(job, "requeue").exists():
                file(job, "requeue").unlink()
                set_state(job, "PENDING")
                waiting.append(job)
            elif file(job, "state").read_text() == "RUNNING":
                set_state(job, "FAILED" if process.returncode else "COMPLETED")
        time.sleep(0.05)


def start(job: str, script: str) -> subprocess.Popen[bytes]:
    number, _, index = job.partition("_")
    text = Path(script).read_text()
    tasks = re.search(r"--ntasks-per-node=(\d+)", text)
    env = {**os.environ, "SLURM_JOB_ID": str(1000 + int(number) * 100 + int(index or 0)), "FAKE_JOB": job}
    env |= {"SLURM_NTASKS": tasks[1] if tasks else "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}
    env |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if index else {}
    output = re.search(r"--output=(\S+)", text)
    assert output is not None
    path = Path(output[1].replace("%A", number).replace("%a", index).replace("%j", job))
    with path.open("ab") as log:
        return subprocess.Popen(["bash", script], env=env, stdout=log, stderr=log, start_new_session=True)


def srun(*arguments: str) -> None:
    """Starts the command as every task; as it is for one."""
    command = [*arguments]
    while command[0].startswith("--"):
        command = command[2:] if command[0] in ("--output", "--error") else command[1:]
    tasks = int(os.environ["SLURM_NTASKS"])
    file(os.environ["FAKE_JOB"], "step").write_text(str(os.getpid()))
    ranks = [{**os.environ, "SLURM_PROCID": str(r), "SLURM_LOCALID": str(r)} for r in range(tasks)]
    if tasks == 1:
        os.execvpe(command[0], command, ranks[0])
    started = [subprocess.Popen(command, env=env) for env in ranks]
    sys.exit(max(process.wait() for process in started))


def squeue(*options: str) -> None:
    if (STATE / "down").exists():
        sys.exit("slurm_load_jobs error: Socket timed out on send/recv operation")
    for job, state in states().items():
        print(job, state)


def scancel(*arguments: str) -> None:
    only = [a.removeprefix("--state=") for a in arguments if a.startswith("--state=")]
    number = [a.removeprefix("--signal=") for a in arguments if a.startswith("--signal=")]
    for job in [argument for argument in arguments if not argument.startswith("--")]:
        state = states().get(job)
        if state not in ("PENDING", "RUNNING") or (only and state not in only):
            continue
        if number:
            os.kill(int(file(job, "step").read_text()), getattr(signal, f"SIG{number[0]}"))
            continue
        set_state(job, "CANCELLED")
        if state == "RUNNING":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(file(job, "pid").read_text()), signal.SIGKILL)


def scontrol(verb: str, job: str) -> None:
    assert verb == "requeue"
    file(job, "requeue").touch()


def sacct(*options: str) -> None:
    sys.exit("Slurm accounting storage is disabled")


if __name__ == "__main__":
    with (STATE / "calls").open("a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    globals()[sys.argv[1]](*sys.argv[2:])
