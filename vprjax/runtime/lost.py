"""The end, in one sentence, of a process whose run has lost another one; imports no JAX."""

import ctypes
import os
import re
import signal

SILENCE = (
    100  # seconds after which JAX takes a process for lost, unless its connections close before
)
SENTENCE = (
    "another process of this run has ended or cannot be reached ({}); run the same command again on "
    "every host, which goes on from the last checkpoint"
)
# The CPU's and the GPU's collectives, and the service through which the processes find one another.
_SIGNS = re.compile(r"gloo|nccl|coordination|barrier|UNAVAILABLE|DEADLINE_EXCEEDED", re.IGNORECASE)
_GLOO = re.compile(r"Gloo \w+ failed")  # jax.jit raises it as a ValueError too
_WHAT = re.compile(r"\.cc:\d+\] (.+)")  # gloo's own words, which name the address


def announced() -> bool:
    """Whether the environment announces several processes and this is one of them.

    `srun` starts such processes; SLURM's batch script itself is none.
    """
    sizes = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
    several = any(int(os.environ.get(name) or 1) > 1 for name in sizes)
    own = any(name in os.environ for name in ("SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_RANK"))
    workers = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")  # GKE sets these
    return (several and own) or any("," in os.environ.get(name, "") for name in workers)


def hush(argv: list[str]) -> None:
    """Keeps JAX's C++ from printing stacks in a run of several processes; precedes JAX's import.

    JAX aborts a process that has lost another one. `TF_CPP_MIN_LOG_LEVEL=1` shows its lines.
    """
    named = any(word.lstrip("-").startswith("hosts") for word in argv)
    if named or os.environ.get("VPRJAX_HOSTS") or announced():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "4")


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _aborted(_: int) -> None:
    why = f"JAX aborts where that lasts {SILENCE} s; TF_CPP_MIN_LOG_LEVEL=1 shows its own lines"
    os.write(2, f"vprjax: error: {SENTENCE.format(why)}\n".encode())
    os._exit(2)


def speak_on_abort() -> None:
    """Makes an abort end in the sentence and exit status 2: no Python code runs before JAX's abort."""
    ctypes.CDLL(None).signal(signal.SIGABRT, _aborted)


def sentence(error: BaseException | None) -> str:
    """The sentence for an error that the loss of another process caused, else an empty text."""
    import jax  # the command line imports this file before its flags are parsed

    while error is not None:
        signs = _SIGNS if isinstance(error, jax.errors.JaxRuntimeError) else _GLOO
        if signs.search(str(error)):
            what = _WHAT.search(str(error))
            return SENTENCE.format(what[1] if what else str(error).splitlines()[0])
        error = error.__cause__ or error.__context__
    return ""
