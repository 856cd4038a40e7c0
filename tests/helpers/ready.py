"""Starts commands from a process that has imported JAX already: most of a small command's time is imports.

A command is a process of its own, as `python -m MODULE FLAGS` is: exit status, output, folder, environment.
"""

import contextlib
import importlib
import json
import os
import random
import runpy
import socket
import subprocess
import sys

# What the commands import, but for no module that defines flags: a command does that once.
IMPORTS = "cv2", "jax", "flax", "optax", "orbax.checkpoint", "tensorflow_datasets", "vprjax.run"
LONGEST = 1 << 16  # bytes of a request
servers = {}  # by environment and folder: the process and the socket to it


def run(environment: dict, cwd, module: str, flags, out, err) -> int:
    """Exit status of `python -m module flags`, which writes to the files `out` and `err`.

    The first command of an environment starts from nothing, later ones from a process that imported.
    """
    words = [module, *map(str, flags)]
    key = (*sorted(environment.items()), cwd)
    if key not in servers:
        servers[key] = None
        command = [sys.executable, "-m", *words]
        return subprocess.call(command, cwd=cwd, env=environment, stdout=out, stderr=err)
    servers[key] = servers[key] or _begin(environment, cwd)
    answer, theirs = socket.socketpair()
    with answer:
        with theirs:
            passed = [theirs.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(servers[key][1], [json.dumps(words).encode()], passed)
        return int(answer.recv(16))


def _begin(environment, cwd):
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return process, ours


def end():
    """Ends the processes that wait for commands."""
    for process, control in filter(None, servers.values()):
        control.close()
        process.wait()
    servers.clear()


def _await_command(control: socket.socket) -> list[str]:
    """Returns the words of each command, in a process of its own; another one tells its exit status."""
    while True:
        message, passed, _, _ = socket.recv_fds(control, LONGEST, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if not message else os.WNOHANG)[0]:
                pass
        if not message:
            os._exit(0)
        if os.fork() == 0:
            command = os.fork()
            if command == 0:
                control.close()
                _, out, err = passed
                os.dup2(out, 1)
                os.dup2(err, 2)
                for file in passed:
                    os.close(file)
                random.seed()
                return json.loads(message)
            os.close(passed[1])
            os.close(passed[2])
            _, status = os.waitpid(command, 0)
            os.write(passed[0], str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        for file in passed:
            os.close(file)


if __name__ == "__main__":
    for name in IMPORTS:
        importlib.import_module(name)
    sys.argv = _await_command(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
