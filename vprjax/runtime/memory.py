"""Memory of device and machine: bytes held, free and at the peak, and a guard for running out."""

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
    """A context that raises ConfigError with the advice `change` when the device runs out of memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not ran_out(error):
            raise
        first = str(error).splitlines()[0]
        raise ConfigError(f"{what} does not fit the device ({first}): {change}") from error


def ran_out(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether the device ran out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


def beyond_arguments(compiled, further: int = 0) -> int:
    """Bytes that a compiled mapped function takes beside its arguments, and `further` ones of a process.

    On a CPU the count is over all of its devices, else it is one device's.
    """
    plan = compiled.memory_analysis()
    own = plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes
    if jax.local_devices()[0].platform == "cpu":
        return own * jax.local_device_count() + further
    return own + further // jax.local_device_count()


def free_for_devices() -> tuple[int | None, str]:
    """Bytes free for `beyond_arguments`, None where the device does not report them, and whose they are."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return available(), "this machine's memory"
    return held_and_free(device)[1], f"{device.device_kind}'s memory"


def held_and_free(device) -> tuple[int, int | None]:
    """Bytes in use and free on a device; free is None if the device does not report it."""
    stats = device.memory_stats() or {}
    held, limit = stats.get("bytes_in_use", 0), stats.get("bytes_limit")
    return held, None if limit is None else limit - held


def measured_peak() -> int:
    """Peak bytes so far: this process's on a CPU, else its first device's (0: unknown)."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    # Not ru_maxrss, which starts at the parent process's peak.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def resident() -> int:
    """Resident bytes of this process."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# A control group counts these, yet gives them back on demand, as MemAvailable assumes too.
RECLAIMED = ("active_file", "inactive_file", "slab_reclaimable")


def available(
    meminfo: pathlib.Path = pathlib.Path("/proc/meminfo"),
    membership: pathlib.Path = pathlib.Path("/proc/self/cgroup"),
    cgroups: pathlib.Path = CGROUPS,
) -> int:
    """Bytes that this process may still take, within the machine and each of its control groups."""
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
