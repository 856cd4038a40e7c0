"""Peak memory of training before the first step, from XLA's own plan of the compiled step."""

import dataclasses
import math
from typing import Any

import jax

from vprjax import sampling
from vprjax.config import checks
from vprjax.errors import ConfigError
from vprjax.runtime import memory, parallel


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes at the peak of a step, and the bytes that are free for them.

    `where` names the memory: on a CPU the machine's, which the whole process shares, else one device's.
    """

    peak: int
    further: int  # the part of the peak that is not yet allocated
    free: int | None  # for `further`; None where the device does not report it
    where: str

    def __str__(self) -> str:
        free = "" if self.free is None else f", {self.free / memory.GIB:.2f} GiB are free"
        return (
            f"a step peaks near {self.peak / memory.GIB:.2f} GiB of {self.where} "
            f"({self.further / memory.GIB:.2f} GiB beyond its present use{free})"
        )


def compile_step(config, step, state: Any, batch: Any):
    """Compiles the mapped `step` for one copy of the state and a split batch.

    Raises:
      ConfigError: the compiler finds that the step does not fit the device.
    """
    with memory.fits("a step", remedy(config)):
        return parallel.compile_mapped(step, state, batch, config.model.remat)


def check_state(state: Any) -> None:
    """Raises ConfigError where one copy of a state of these shapes does not fit the memory.

    ArcFace's class weights may be large: classes times dimensions, three times with Adam's moments.
    """
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    free, device = memory.available(), jax.local_devices()[0]
    if device.platform != "cpu" and (own := memory.held_and_free(device)[1]) is not None:
        free = min(free, own)
    if size > free:
        raise ConfigError(
            f"parameters, class weights and the optimiser's moments take {size / memory.GIB:.2f} GiB, but "
            f"{free / memory.GIB:.2f} GiB are free: set model.projection to fewer dimensions or, with "
            "ArcFace, make fewer classes (enlarge places.cell, raise places.min_images)"
        )


def estimate(compiled, batch: Any, cached: int) -> Estimate:
    """Estimates the peak memory of training with a compiled step whose state is not yet on the devices.

    Args:
      compiled: the result of `compile_step`.
      batch: a split batch; two more wait on the devices ahead of their steps.
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
        held, free = memory.held_and_free(device)
        return Estimate(held + a_device, a_device, free, f"{device.device_kind}'s memory")
    further = max(jax.local_device_count() * a_device, cached)
    return Estimate(
        memory.resident() + further, further, memory.available(), "this machine's memory"
    )


def check(config, found: Estimate, mined: int, validated: int) -> None:
    """Raises ConfigError where a step, a mining round or a validation does not fit the memory.

    `mined` and `validated` count the bytes of descriptors that the host holds at once.
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
        free = memory.available()
        if size > free:
            raise ConfigError(
                f"{what} holds {size / memory.GIB:.2f} GiB of descriptors, but {free / memory.GIB:.2f} "
                f"GiB of memory are free: {change} or set model.projection to fewer dimensions"
            )
    if found.free is not None and found.further > found.free:
        raise ConfigError(f"{found}: {remedy(config)}")


def remedy(config) -> str:
    """Returns the settings that make a step smaller, without those already in place."""
    sampler = sampling.kind(config)
    words = [f"lower {sampler.BATCH_KEY}={sampler.batch_size(config)}"]
    if not checks.against_accumulation(config):
        words.append(f"raise train.accumulate={config.train.accumulate}")
    if config.keep.images:
        words.append(f"lower keep.batch={config.keep.batch}")
    if not config.model.remat:
        words.append("set model.remat=True")
    if config.model.compute_dtype == "float32":
        words.append("set model.compute_dtype=bfloat16")
    if sampler.LEARNS_CLASSES and not config.model.projection:  # the class weights have as many
        words.append("set model.projection to fewer dimensions")
    if jax.default_backend() == "gpu":  # JAX takes three quarters of it by default
        words.append("set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 in the environment")
    return f"it does not fit; {', '.join(words[:-1])} or {words[-1]}"
