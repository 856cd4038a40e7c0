"""Hosts in network namespaces of this machine, on a bridge of their own that no packet leaves."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

import launch_local

from tests.helpers import commands

# In namespaces of its own for the host's name and the file of names, and at last the command itself.
ENTER = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
ON_BRIDGE = "bridge"  # alone in its namespace


def obstacle() -> str:
    """Why this machine cannot make such hosts, or an empty text."""
    missing = [name for name in ("ip", "unshare", "mount", "hostname") if not shutil.which(name)]
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing:
        return f"the PATH lacks {', '.join(missing)}"
    try:
        with Network(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """A context of `count` hosts 10.x.y.1, 10.x.y.2, ... that reach one another and nothing else.

    The bridge stands in a namespace too. No namespace has a route beyond its 10.x.y.0/24, and all names
    hold this process's id.
    """

    def __init__(self, count: int):
        tag, self._net = (
            f"vprjax{os.getpid()}",
            f"10.{os.getpid() // 250 % 250}.{os.getpid() % 250}",
        )
        self.names = [f"{tag}-{n}" for n in range(count)]
        self._switch = f"{tag}-switch"

    def __enter__(self) -> "Network":
        with contextlib.ExitStack() as made:
            made.callback(self.remove)
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", ON_BRIDGE, "type", "bridge")
            _ip("-n", self._switch, "link", "set", ON_BRIDGE, "up")
            for n, name in enumerate(self.names):
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
                end = ("type", "veth", "peer", "name", f"port{n}", "netns", self._switch)
                _ip("-n", name, "link", "add", "eth0", *end)
                _ip("-n", name, "addr", "add", f"{self._net}.{n + 1}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
                _ip("-n", self._switch, "link", "set", f"port{n}", "master", ON_BRIDGE, "up")
            made.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self.remove()

    def remove(self) -> None:
        """Deletes every namespace, and with it the links inside, once no process holds it."""
        for name in (*self.names, self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def cut(self, number: int) -> None:
        """Takes host `number`'s link down."""
        _ip("-n", self._switch, "link", "set", f"port{number}", "down")

    def slow(self, number: int) -> str:
        """Delays what host `number` sends by 20 ms, else lets 4 Mbit/s of it pass; returns which."""
        out = [
            "ip",
            "netns",
            "exec",
            self.names[number],
            "tc",
            "qdisc",
            "add",
            "dev",
            "eth0",
            "root",
        ]
        for how in ("netem delay 20ms", "tbf rate 4mbit burst 16kb latency 400ms"):
            done = subprocess.run([*out, *how.split()], capture_output=True, check=False)
            if done.returncode == 0:
                return how
        return ""

    def start(
        self, number: int, devices: int, folder: pathlib.Path, *flags: str
    ) -> subprocess.Popen:
        """`python -m vprjax.main --hosts=... flags` on host `number`; stderr and stdout in `folder`."""
        lines = [f"{self._net}.{n + 1} {name}" for n, name in enumerate(self.names)]
        table = folder / "hosts"
        table.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        name = self.names[number]
        room = [
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "--uts",
            "sh",
            "-c",
            ENTER,
            name,
            str(table),
        ]
        main = [sys.executable, "-m", "vprjax.main", f"--hosts={','.join(self.names)}", *flags]
        with (folder / f"said{number}").open("w") as said:
            return subprocess.Popen(
                [*room, *main],
                cwd=commands.ROOT,
                env=_environment(devices),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _environment(devices: int) -> dict[str, str]:
    """A user's environment: JAX, which the tests import, has set its own level of C++ lines in this one."""
    out = {**os.environ, **commands.ENVIRONMENT, **launch_local.virtual(devices)}
    out.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return out
