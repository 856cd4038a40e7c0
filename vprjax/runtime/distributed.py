"""Start of a run with several processes: TPU pod, SLURM, Open MPI, or a plain list of hosts."""

import signal
import socket

import jax

from vprjax import console
from vprjax.errors import ConfigError
from vprjax.runtime import lost

AUTO = "auto"
PORT = 8476  # the first host listens here for the others
PATIENCE = 300  # seconds that the processes wait for one another


def start(hosts: str, process_id: int | None) -> bool:
    """Joins the other processes, if there are any; returns whether it has. Precedes any use of JAX.

    - `hosts` as a comma list has one entry per process; the first, `name` or `name:port`, coordinates. A
      process finds itself by `process_id` or by its host's name, and uses all devices of its host.
    - `hosts="auto"` makes JAX ask the cluster; a Cloud TPU pod asks its metadata server.
    - Without `hosts`, the environment of SLURM, Open MPI or GKE decides. Under SLURM and Open MPI each
      process uses one GPU, numbered as the process is on its node.

    Raises:
      ConfigError: this host is not in the list, `process_id` is outside it, or JAX finds no cluster.
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
        # Not as SLURM detects it: each process that `srun` starts would get one GPU.
        jax.distributed.initialize(
            first,
            num_processes=len(names),
            process_id=number,
            initialization_timeout=PATIENCE,
            cluster_detection_method="deactivate",
        )
    elif names == [AUTO] or (not names and lost.announced()):
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ConfigError(
                f"no cluster answers ({error}): name the hosts of all processes with --hosts and this "
                "one's number with --process_id"
            ) from error
    if jax.distributed.is_initialized():
        # JAX has taken SIGTERM and swallows it; `preemption` takes it once training begins.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        lost.speak_on_abort()
        console.speak(jax.process_index() == 0)
        console.log(
            f"{jax.process_count()} processes share {jax.device_count()} devices; this one has "
            f"{jax.local_device_count()}"
        )
    return jax.distributed.is_initialized()


def check_joined() -> None:
    """Raises ConfigError if other processes run that this one has not joined."""
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise ConfigError(
            f"this is one of {jax.process_count()} processes that have not joined: give each --hosts={AUTO}"
        )


def _own_number(names: list[str]) -> int:
    """The number of this host in the list, by its full or short name."""
    own = {socket.gethostname(), socket.gethostname().split(".")[0], socket.getfqdn()}
    found = [number for number, name in enumerate(names) if name.split(":")[0] in own]
    if len(found) != 1:
        raise ConfigError(
            f"--hosts={','.join(names)} names this host, {socket.gethostname()}, {len(found)} times; give "
            "--process_id"
        )
    return found[0]
