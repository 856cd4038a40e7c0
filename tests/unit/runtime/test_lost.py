"""Which errors the loss of another process caused, and what they become."""

import os
import subprocess
import sys

import jax
import pytest

from vprjax.runtime import lost

PEER = "Connection closed by peer [10.7.91.3]:21171"
CLOSED = f"INTERNAL: Gloo AllGather failed: [gloo/transport/tcp/pair.cc:547] {PEER}"


@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, ValueError])
def test_an_error_of_the_collectives_becomes_a_sentence_that_names_the_address(kind):
    error = ValueError("wrapped")
    error.__cause__ = kind(CLOSED)
    assert f"({PEER}); run the same" in lost.sentence(error)


@pytest.mark.parametrize(
    "error", [ValueError("gloo"), jax.errors.JaxRuntimeError("INTERNAL: no such kernel")]
)
def test_other_errors_keep_their_traceback(error):
    assert lost.sentence(error) == ""


def test_an_abort_ends_in_the_sentence_and_status_2():
    code = "import os; from vprjax.runtime import lost; lost.speak_on_abort(); os.abort()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "another process of this run has ended or cannot be reached" in done.stderr


@pytest.mark.parametrize(("argv", "level"), [(["--hosts=a,b"], "4"), (["--workdir=r"], None)])
def test_only_a_run_of_several_processes_hides_stacks(argv, level, monkeypatch):
    for name in ("VPRJAX_HOSTS", "TF_CPP_MIN_LOG_LEVEL", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    lost.hush(argv)
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
