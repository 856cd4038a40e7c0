"""Runs a command as N processes that train together on this machine, like a small pod.

    python experiments/launch_local.py --processes=2 --devices=4 -- \
        python -m vprjax.main --config=configs/synthetic.py --workdir=runs/two

`--devices` is the number of virtual CPU devices per process; without it they see the machine's own. The
command ends with the first process that fails, and kills the others. It passes SIGTERM on to all, which
save and end; its exit status is theirs.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

from grid import child


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def virtual(devices: int) -> dict[str, str]:
    """The environment that splits the CPU into `devices` devices; XLA's other flags stay.

    XLA aborts where one device is a minute behind the others, as on a busy machine; here it waits ten.
    """
    flags = f"--xla_force_host_platform_device_count={devices}"
    patience = "--xla_cpu_collective_call_terminate_timeout_seconds=600"
    own = os.environ.get("XLA_FLAGS", "").split()
    kept = [
        flag for flag in own if not flag.startswith(("--xla_force_host", "--xla_cpu_collective"))
    ]
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join([*kept, flags, patience])}


def environment(number: int, processes: int, port: int, devices: int) -> dict[str, str]:
    """The environment in which process `number` finds the others (`vprjax/runtime/distributed.py`)."""
    hosts = ",".join([f"localhost:{port}"] + ["localhost"] * (processes - 1))
    out = {**os.environ, "VPRJAX_HOSTS": hosts, "VPRJAX_PROCESS_ID": str(number)}
    return out | (virtual(devices) if devices else {})


def wait(running: list[subprocess.Popen], came: list[int]) -> int:
    """Waits for all and returns the first exit status that is not 0, else 0; passes SIGTERM on."""
    while any(process.poll() is None for process in running):
        failed = [p.returncode for p in running if p.poll() not in (None, 0)]
        if failed:
            for process in running:
                process.kill()
            return failed[0]
        if came:
            came.clear()
            for process in running:
                process.terminate()
        time.sleep(0.1)
    return next((process.returncode for process in running if process.returncode), 0)


def main() -> int:
    """Starts the processes and waits for them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=0, help="virtual CPU devices per process")
    parser.add_argument("command", nargs="+", help="after --")
    args = parser.parse_args()
    port, came = free_port(), []
    # The handler only notes the signal, which may come before all have started.
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    running = [
        subprocess.Popen(
            args.command,
            env=environment(n, args.processes, port, args.devices),
            preexec_fn=child.die_with_parent,
        )
        for n in range(args.processes)
    ]
    try:
        return wait(running, came)
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        return 130


if __name__ == "__main__":
    sys.exit(main())
