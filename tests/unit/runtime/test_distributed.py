"""Who is who in a run of several processes, and the pod's commands."""

import os
import shlex
import signal
import socket
import subprocess
import sys

import pytest

from tests.helpers.commands import ROOT
from vprjax.errors import ConfigError
from vprjax.runtime import distributed

WORKERS = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")


@pytest.fixture
def joined(monkeypatch):
    """What `jax.distributed.initialize` is called with; nothing is started."""
    for name in ("SLURM_NTASKS", "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE", *WORKERS):
        monkeypatch.delenv(name, raising=False)
    calls = []
    monkeypatch.setattr(
        distributed.jax.distributed, "initialize", lambda *a, **k: calls.append((*a, *k.values()))
    )
    return calls


def test_a_host_finds_itself_in_the_list(joined):
    distributed.start(f"first.example:9000,{socket.gethostname()}", None)
    distributed.start("first.example,other", 0)
    last = (distributed.PATIENCE, "deactivate")
    first = f"first.example:{distributed.PORT}"
    assert joined == [("first.example:9000", 2, 1, *last), (first, 2, 0, *last)]


def test_one_host_or_none_is_a_run_of_its_own(joined):
    distributed.start("", None)
    distributed.start("localhost", None)
    assert joined == []


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "node[1-4]"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"},
        {"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"},
        {"TPU_PROCESS_ADDRESSES": "10.0.0.1:8476,10.0.0.2:8476"},
    ],
)
def test_a_cluster_says_it_in_the_environment(joined, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.start("", None)
    assert joined == [()]


def test_a_batch_script_of_slurm_is_no_task_of_it(joined, monkeypatch):
    for tasks in ("4", ""):
        monkeypatch.setenv("SLURM_NTASKS", tasks)
        monkeypatch.setenv("SLURM_PROCID", "0")
        distributed.start("", None)
    assert joined == []


def test_no_cluster_to_join_is_told(monkeypatch):
    def initialize():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(distributed.jax.distributed, "initialize", initialize)
    with pytest.raises(ConfigError, match=r"no cluster .*coordinator_address .*--process_id"):
        distributed.start("auto", None)


SEEN = """
import os, sys
import jax
from vprjax.runtime import distributed
initialize = jax.distributed.initialize
jax.distributed.initialize = lambda first, **k: initialize(first, **{**k, "num_processes": 1})
distributed.start(sys.argv[1] + ",another", 0)
print(jax.config._read("jax_cuda_visible_devices"))
"""


def test_a_listed_process_sees_all_gpus_under_slurm_too():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    slurm = {"JOB_ID": "1", "STEP_NODELIST": "a", "NTASKS": "2", "PROCID": "0", "LOCALID": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SEEN, address],
        env={**os.environ, **{f"SLURM_{name}": value for name, value in slurm.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "all\n", done.stderr


def test_a_cloud_pod_which_says_nothing_there_is_asked(joined):
    distributed.start("auto", None)
    assert joined == [()]


def test_processes_that_see_others_and_have_not_joined_are_stopped(monkeypatch):
    distributed.check_joined()
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 4)
    with pytest.raises(ConfigError, match=r"one of 4 processes .* --hosts=auto"):
        distributed.check_joined()


@pytest.mark.parametrize(
    ("hosts", "number", "words"),
    [("nowhere,elsewhere", None, "--process_id"), ("a,b", 2, "must be 0 to 1")],
)
def test_a_host_that_is_not_there_is_told(joined, hosts, number, words):
    with pytest.raises(ConfigError, match=words):
        distributed.start(hosts, number)


TERMINATED = """
import os, signal, sys
import jax
from vprjax.runtime import distributed
initialize = jax.distributed.initialize
jax.distributed.initialize = lambda first, **_: initialize(first, num_processes=1, process_id=0)
distributed.start(sys.argv[1] + ",another", 0)
os.kill(os.getpid(), signal.SIGTERM)
print("goes on")
"""


def test_sigterm_before_training_ends_a_process_that_has_joined():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED, address], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, ""), done.stderr


def pod_command(*words, **variables):
    """The words of what `tpu_pod.sh` would run."""
    done = subprocess.run(
        ["experiments/tpu_pod.sh", *words],
        cwd=ROOT,
        env={**os.environ, "DRY": "1", "POD": "pod", "ZONE": "zone", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return shlex.split(done.stdout)


def test_a_pod_is_set_up_with_the_python_one_names():
    assert " && python3 -m venv --clear venv && " in pod_command("setup", REPO="git")[-1]
    told = pod_command("setup", REPO="git", PYTHON="python3.11")[-1]
    assert "[ -d vprjax ] && git -C vprjax pull git || git clone git vprjax;" in told  # again
    assert " && python3.11 -m venv --clear venv && " in told


def test_pod_commands_reach_every_worker_with_their_arguments_whole():
    flags = ["--config=configs/robotcar.py:resnet50,gem,arcface", "--workdir=/mnt/my runs"]
    words = pod_command("run", *flags)
    assert words[1:7] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod"]
    assert "--worker=all" in words and "--zone=zone" in words
    remote = shlex.split(words[-1].removeprefix("--command="))
    assert remote[-5:] == ["-m", "vprjax.main", "--hosts=auto", *flags]
