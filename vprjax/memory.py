"""Peak memory of training, told before the first step, from XLA's own plan of the compiled step."""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from vprjax import config_check, parallel
from vprjax.data import pipeline
from vprjax.errors import ConfigError

GIB = 2**30
CGROUPS = pathlib.Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes at the peak of a step and what there is for them.

    `where` names that memory: on a CPU the machine's, which the whole process shares, else one device's.
    """

    peak: int
    further: int  # what of the peak is not yet allocated
    free: int | None  # for `further`; None where the device does not tell
    where: str

    def __str__(self) -> str:
        free = "" if self.free is None else f", {self.free / GIB:.2f} GiB are free"
        return (
            f"a step peaks near {self.peak / GIB:.2f} GiB of {self.where} "
            f"({self.further / GIB:.2f} GiB beyond what is held now{free})"
        )


def compile_step(config, step, state: Any, batch: Any):
    """Compiles the mapped `step` for one copy of the state and a split batch.

    Raises:
      ConfigError: the compiler itself finds that it cannot fit the device.
    """
    with fits("a step", remedy(config)):
        return parallel.compile_mapped(step, state, batch, config.model.remat)


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


def _held_and_free(device) -> tuple[int, int | None]:
    """Bytes of a device that are in use, and those that are not, None where it does not tell."""
    stats = device.memory_stats() or {}
    held, limit = stats.get("bytes_in_use", 0), stats.get("bytes_limit")
    return held, None if limit is None else limit - held


def check_state(state: Any) -> None:
    """Raises ConfigError where not even one copy of a state of such shapes fits; says what to change.

    Classes times dimensions of ArcFace's weights, thrice with Adam's moments, are what may be large.
    """
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    free, device = available(), jax.local_devices()[0]
    if device.platform != "cpu" and (own := _held_and_free(device)[1]) is not None:
        free = min(free, own)
    if size > free:
        raise ConfigError(
            f"parameters, class weights and the optimiser's moments take {size / GIB:.2f} GiB, and "
            f"{free / GIB:.2f} GiB are free: set model.projection to fewer dimensions or, with ArcFace, "
            "make fewer classes (enlarge places.cell, raise places.min_images)"
        )


def estimate(compiled, batch: Any, cached: int) -> Estimate:
    """Peak of training with a compiled step whose state is not yet on the devices.

    Args:
      compiled: what `compile_step` gave.
      batch: a split batch; two more wait on the devices, put there ahead of their steps.
      cached: bytes of the descriptors that a mining round or a validation holds.
    """
    plan = compiled.memory_analysis()
    a_device = (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes
    )
    a_device += 2 * sum(x.nbytes for x in jax.tree.leaves(batch)) // jax.local_device_count()
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        held, free = _held_and_free(device)
        return Estimate(held + a_device, a_device, free, f"{device.device_kind}'s memory")
    further = max(jax.local_device_count() * a_device, cached)
    return Estimate(resident() + further, further, available(), "this machine's memory")


def check(config, found: Estimate, mined: int, validated: int) -> None:
    """Raises ConfigError where a step, a mining round or a validation cannot fit; says what to change.

    `mined` and `validated` are bytes of descriptors that the host holds at once.
    """
    tuples = config.tuples
    for what, size, change in (
        (
            "a mining round",
            mined,
            f"lower tuples.mining_interval={tuples.mining_interval}, set tuples.mining_pool="
            f"{tuples.mining_pool} to fewer images",
        ),
        ("a validation", validated, "name smaller splits"),
    ):
        if size > available():
            raise ConfigError(
                f"{what} holds {size / GIB:.2f} GiB of descriptors, and {available() / GIB:.2f} GiB of "
                f"this machine's memory are free: {change} or model.projection to fewer dimensions"
            )
    if found.free is not None and found.further > found.free:
        raise ConfigError(f"{found}: {remedy(config)}")


def remedy(config) -> str:
    """What makes a step smaller, of what is not yet done."""
    places = pipeline.uses_places(config)
    batch = "places.batch_places" if places else "tuples.batch"
    size = config.places.batch_places if places else config.tuples.batch
    words = [f"lower {batch}={size}"]
    if not config_check.against_accumulation(config):
        words.append(f"raise train.accumulate={config.train.accumulate}")
    if not config.model.remat:
        words.append("set model.remat=True")
    if config.model.compute_dtype == "float32":
        words.append("set model.compute_dtype=bfloat16")
    if places and not config.model.projection:  # of which the class weights have many
        words.append("set model.projection to fewer dimensions")
    if jax.default_backend() == "gpu":  # of which JAX takes three quarters by itself
        words.append("set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 in the environment")
    return f"it does not fit; {', '.join(words[:-1])} or {words[-1]}"


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
