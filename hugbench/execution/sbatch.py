"""Parameters of Slurm's `sbatch` that a user adds to a job, checked by name before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hugbench.errors import UserError, nearest

SETUP = "setup"
"""No parameter of sbatch, but a shell command that runs before the job; may come several times."""

_VALUED = """
account acctg-freq bb bbf begin comment constraint container core-spec cores-per-socket cpu-freq
cpus-per-gpu cpus-per-task deadline delay-boot dependency distribution exclude exclusive extra
extra-node-info gpu-bind gpu-freq gpus gpus-per-socket gpus-per-task gres gres-flags hint job-name
kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu
mincpus network nice no-kill nodefile nodelist power prefer priority profile propagate qos
reservation sockets-per-node switches thread-spec threads-per-core time-min tmp tres-bind
tres-per-task wait-all-nodes wckey
"""
_FLAGS = """
contiguous exclusive get-user-env hold nice no-kill overcommit oversubscribe reboot spread-job stepmgr
use-min-nodes
"""
VALUED, FLAGS = frozenset(_VALUED.split()), frozenset(_FLAGS.split())
"""Long options of sbatch (its manual page, Slurm 24.05) that hugbench leaves to the user: those that take
a value, and those that do without."""

ELSEWHERE = {
    "array": "--workers and --array-size",
    "partition": "--partition",
    "time": "--time",
    "gpus-per-node": "--gpus-per-run",
    "ntasks": "--gpus-per-run",
    "ntasks-per-node": "--gpus-per-run",
}
"""Those that another option sets."""


@dataclass(frozen=True)
class Parameters:
    """What a user adds to a job: options of sbatch by name (True: without a value), and shell commands."""

    options: dict[str, str | bool] = field(default_factory=dict)
    setup: tuple[str, ...] = ()


def parameters(given: Iterable[str]) -> Parameters:
    """The parameters of `--sbatch`, each `NAME=VALUE`, a bare `NAME`, or `setup=COMMAND`.

    Names are those of sbatch's long options, with hyphens or underscores.

    Raises:
        UserError: an unknown name, one that hugbench sets, one that comes twice, or a value that is
            missing, superfluous or of several lines.
    """
    options: dict[str, str | bool] = {}
    setup: list[str] = []
    for text in given:
        key, equals, value = text.partition("=")
        name = key.strip().replace("_", "-")
        _check(name, bool(equals), value, text)
        if name == SETUP:
            setup.append(value)
        elif name in options:
            raise UserError("comes twice", where="--sbatch", key=name, found=text)
        else:
            options[name] = value if equals else True
    return Parameters(options, tuple(setup))


def _check(name: str, valued: bool, value: str, text: str) -> None:
    if name in ELSEWHERE:
        raise UserError("has an option of its own", where="--sbatch", found=text, expected=ELSEWHERE[name])
    if name not in VALUED | FLAGS | {SETUP}:
        raise UserError(
            "no parameter of sbatch that can be set",
            where="--sbatch",
            found=text,
            expected="NAME=VALUE such as account=me, mem=32GB, qos=long or setup='module load cuda'",
            nearest=nearest(name, VALUED | FLAGS | ELSEWHERE.keys()),
        )
    if not valued and name not in FLAGS:
        raise UserError("a value is missing", where="--sbatch", found=text, expected=f"{name}=VALUE")
    if valued and name not in VALUED | {SETUP}:
        raise UserError("takes no value", where="--sbatch", found=text, expected=name)
    if valued and (not value.strip() or "\n" in value):
        raise UserError("no value of one line", where="--sbatch", found=text, expected=f"{name}=VALUE")
