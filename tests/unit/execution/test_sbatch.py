"""What `--sbatch` and the other options of the Slurm executor take."""

from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.execution.sbatch import parameters
from hugbench.execution.where import Slurm, executor


def test_parameters_by_name() -> None:
    given = ("account=me", "mem_per_cpu=2GB", "exclusive", "setup=module load cuda", "setup=ulimit -n 4096")
    found = parameters(given)
    assert found.options == {"account": "me", "mem-per-cpu": "2GB", "exclusive": True}
    assert found.setup == ("module load cuda", "ulimit -n 4096")
    assert parameters(["comment=a=b", "exclusive=user"]).options == {"comment": "a=b", "exclusive": "user"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("acount=me",), "did you mean 'account'?"),
        (("--account=me",), "expected NAME=VALUE such as"),
        (("",), "no parameter of sbatch"),
        (("=3",), "no parameter of sbatch"),
        (("partition=gpu",), "has an option of its own; found 'partition=gpu'; expected --partition"),
        (("array=0-3",), "expected --workers and --array-size"),
        (("time=4:00:00",), "expected --time"),
        (("wrap=ls",), "no parameter of sbatch that can be set"),
        (("no-requeue",), "no parameter of sbatch that can be set"),
        (("output=/tmp/x",), "no parameter of sbatch that can be set"),
        (("qos",), "a value is missing; found 'qos'; expected qos=VALUE"),
        (("setup",), "a value is missing"),
        (("hold=yes",), "takes no value; found 'hold=yes'; expected hold"),
        (("mem=",), "no value of one line"),
        (("mem=  ",), "no value of one line"),
        (("comment=a\n#SBATCH --uid=0",), "no value of one line"),
        (("mem=1GB", "mem=2GB"), "mem: comes twice"),
        (("mem-per-cpu=1GB", "mem_per_cpu=2GB"), "mem-per-cpu: comes twice"),
    ],
)
def test_bad_parameters(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError) as caught:
        executor("slurm", {"sbatch": given})
    assert words in str(caught.value)
    assert str(caught.value).startswith("--sbatch: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"array_size": 0}, "--array-size: "),
        ({"slurm_cluster": "debug"}, "--slurm-cluster: "),
        ({"gpus_per_run": 0.5}, "--gpus-per-run: "),
        ({"gpus_per_run": 0}, "--gpus-per-run: "),
        ({"time": 0.0}, "--time: "),
        ({"workers": -1}, "--workers: "),
        ({"ray_address": "auto"}, "--ray-address: is no option of --executor slurm"),
    ],
)
def test_bad_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as caught:
        executor("slurm", options)
    assert words in str(caught.value)


def test_options_of_slurm_are_of_slurm_only() -> None:
    for key, value in (("sbatch", ("mem=1GB",)), ("array_size", 3), ("slurm_cluster", "local")):
        with pytest.raises(UserError, match="expected --executor slurm"):
            executor("local", {key: value})


def test_whole_numbers_of_gpus() -> None:
    where = executor("slurm", {"gpus_per_run": 2.0})
    assert isinstance(where, Slurm)
    assert where.gpus_per_run == 2
