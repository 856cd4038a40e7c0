"""Start of a run of several processes: TPU pod, SLURM, Open MPI, or a plain list of hosts."""

import os
import signal
import socket

import jax

from vprjax import console
from vprjax.errors import ConfigError

AUTO = "auto"
PORT = 8476  # of the first host, where the others ask for it
PATIENCE = 300  # seconds to wait for one another


def start(hosts: str, process_id: int | None) -> bool:
    """Joins the other processes, if there are any, before any other use of JAX.

    With `hosts`, a comma list with one entry a process, the first one (`name` or `name:port`) is the
    coordinator; a process finds itself by `process_id` or, with one process a host, by its name. With
    "auto" JAX asks the cluster, a Cloud TPU pod its metadata server. Without `hosts` so do SLURM, Open MPI
    and GKE, which say in the environment that there are several processes. Of SLURM and Open MPI a process
    gets one GPU, the one of its number on its node; of a list all that its host has. Returns whether it
    has joined others.

    Raises:
      ConfigError: this host is not in the list, the number is outside it, or there is no cluster to ask.
    """
    names = [name.strip() for name in hosts.split(",") if name.strip()]
    if len(names) > 1:
        number = _own_number(names) if process_id is None else process_id
        if not 0 <= number < len(names):
            raise ConfigError(
                f"--process_id={number} must be 0 to {len(names) - 1}: --hosts={hosts}"
            )
        first = names[0] if ":" in names[0] else f"{names[0]}:{PORT}"
        console.log(
            f"process {number} of {len(names)} joins at {first}, which it tries for {PATIENCE} s"
        )
        # Not SLURM's way: a list that `srun` started would have one GPU a process.
        jax.distributed.initialize(
            first,
            num_processes=len(names),
            process_id=number,
            initialization_timeout=PATIENCE,
            cluster_detection_method="deactivate",
        )
    elif names == [AUTO] or (not names and _announced()):
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ConfigError(
                f"no cluster was found to join ({error}): name the hosts of all processes with --hosts and "
                "this one's number with --process_id"
            ) from error
    if jax.distributed.is_initialized():
        # JAX has taken it for itself, and would swallow it until training begins (`preemption`).
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        console.speak(jax.process_index() == 0)
        console.log(
            f"{jax.process_count()} processes with {jax.device_count()} devices, of which this one has "
            f"{jax.local_device_count()}"
        )
    return jax.distributed.is_initialized()


def check_joined() -> None:
    """Raises ConfigError where there are other processes that this one was never told to join."""
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise ConfigError(
            f"this is one of {jax.process_count()} processes that have not joined: give each --hosts={AUTO}"
        )


def _own_number(names: list[str]) -> int:
    """The place of this host in the list, by its full or short name."""
    own = {socket.gethostname(), socket.gethostname().split(".")[0], socket.getfqdn()}
    found = [number for number, name in enumerate(names) if name.split(":")[0] in own]
    if len(found) != 1:
        raise ConfigError(
            f"this host, {socket.gethostname()}, is {len(found)} times in --hosts={','.join(names)}; "
            "give --process_id"
        )
    return found[0]


def _announced() -> bool:
    """Whether the environment tells of a job of several processes, of which this is one.

    A SLURM batch script itself is not, but what its `srun` starts.
    """
    sizes = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
    several = any(int(os.environ.get(name) or 1) > 1 for name in sizes)
    own = any(name in os.environ for name in ("SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_RANK"))
    workers = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")  # of GKE
    return (several and own) or any("," in os.environ.get(name, "") for name in workers)
