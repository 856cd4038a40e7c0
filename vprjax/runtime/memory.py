"""Memory of the device and the machine: what is held, free and at the peak, and a guard around its use."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import jax

from vprjax.errors import ConfigError

GIB = 2**30
CGROUPS = pathlib.Path("/sys/fs/cgroup")


@contextlib.contextmanager
def fits(what: str, change: str) -> Iterator[None]:
    """Raises ConfigError, which says what to `change`, where the device runs out of memory inside."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        first = str(error).splitlines()[0]
        raise ConfigError(f"{what} does not fit the device ({first}): {change}") from error


def held_and_free(device) -> tuple[int, int | None]:
    """Bytes of a device that are in use, and those that are not, None where it does not tell."""
    stats = device.memory_stats() or {}
    held, limit = stats.get("bytes_in_use", 0), stats.get("bytes_limit")
    return held, None if limit is None else limit - held


def measured_peak() -> int:
    """Bytes at the peak so far: of this process on a CPU, else of its first device (0: unknown)."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def resident() -> int:
    """Bytes of this process in the machine's memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# In a control group's count and given back when it is asked for, as MemAvailable reckons, too.
RECLAIMED = ("active_file", "inactive_file", "slab_reclaimable")


def available(
    meminfo: pathlib.Path = pathlib.Path("/proc/meminfo"),
    membership: pathlib.Path = pathlib.Path("/proc/self/cgroup"),
    cgroups: pathlib.Path = CGROUPS,
) -> int:
    """Bytes that this process may still take: of the machine, and of every control group it is in."""
    rows = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = [int(rows["MemAvailable"].split()[0]) * 1024]
    own = [line[3:] for line in membership.read_text().splitlines() if line.startswith("0::")]
    folder = cgroups / (own[0].strip("/") if own else "")
    for group in (folder, *folder.parents):
        limit = group / "memory.max"
        if limit.is_file() and limit.read_text().strip() != "max":
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            kept = sum(int(stat.get(name, 0)) for name in RECLAIMED)
            used = max(0, int((group / "memory.current").read_text()) - kept)
            free.append(int(limit.read_text()) - used)
    return max(min(free), 0)
