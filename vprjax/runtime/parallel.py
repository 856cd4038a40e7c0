"""The only file that maps over devices: `jax.pmap` for steps, a mesh for the search."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"  # one name for all mapped functions: arrays pass between them without a recompile


def device_count() -> int:
    """Number of devices that a step runs on, over all processes."""
    return jax.device_count()


def local_device_count() -> int:
    """Number of devices of this process."""
    return jax.local_device_count()


def map_over_devices(fn: Callable, donate: tuple[int, ...] = ()) -> Callable:
    """`fn` on every device at once, under the axis name `AXIS`.

    Arguments and results have a leading device axis. Arguments numbered in `donate` give their buffers
    to the result.
    """
    return jax.pmap(fn, axis_name=AXIS, donate_argnums=donate)


def compiler_options(remat: bool) -> dict[str, str]:
    """XLA's options for a train step.

    XLA's CPU backend removes the barriers between `jax.checkpoint`'s two computations, merges them, and so
    saves no memory. The option turns that pass off.
    """
    if remat and jax.default_backend() == "cpu":
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return {}


def compile_mapped(mapped: Callable, state: Any, batch: Any, remat: bool):
    """Compiles `mapped(state, batch)` for one copy of the state and a split batch.

    The callable result also has XLA's `memory_analysis()`. A single process compiles without touching the
    devices, and its `state` may be shapes.
    """
    if process_count() > 1:
        lowered = mapped.lower(replicate(state), batch)
        return _AcrossProcesses(lowered.compile(compiler_options(remat)))
    n = jax.local_device_count()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), state)
    return mapped.lower(shapes, batch).compile(compiler_options(remat))


def compile_called(mapped: Callable, *arguments: Any):
    """Compiles `mapped` for such arguments, of one process alone; the result has `memory_analysis()`."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    return mapped.lower(*shapes).compile(compiler_options(remat=False))


class _AcrossProcesses:
    """Wraps a compiled function as `jax.pmap` does among several processes."""

    def __init__(self, compiled):
        self._compiled, self.memory_analysis = compiled, compiled.memory_analysis
        sharding = jax.tree.leaves(compiled.input_shardings)[0]
        self._mesh, self._rows = sharding.mesh, sharding.spec

    def __call__(self, *own):
        every = multihost_utils.host_local_array_to_global_array(own, self._mesh, self._rows)
        results = self._compiled(*every)
        return multihost_utils.global_array_to_host_local_array(results, self._mesh, self._rows)


def process_count() -> int:
    """Number of processes that train together."""
    return jax.process_count()


def is_primary() -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until all processes call it with `name`."""
    if process_count() > 1:
        multihost_utils.sync_global_devices(name)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes must call it."""
    if process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def from_first(number: int) -> int:
    """The first process's `number`; all processes must call it."""
    if process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.array(number)))


def copied_from_first(tree: Any) -> Any:
    """The first process's arrays; all processes must call it."""
    if process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def process_rows(count: int) -> slice:
    """The share of this process in a global batch of `count` rows."""
    share = count // process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def gather(output: jax.Array) -> jax.Array:
    """Inside a mapped function: `(b, ...)` per device -> `(devices b, ...)` in order, on every device."""
    every = jax.lax.all_gather(output, AXIS)
    return every.reshape(-1, *output.shape[1:])


def replicate(tree: Any) -> Any:
    """One copy of `tree` per device of this process, with a leading device axis."""
    n = jax.local_device_count()
    stacked = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (n, *np.shape(x))), tree)
    return _onto_devices()(stacked)


@functools.cache
def _onto_devices() -> Callable:
    """One function for all calls: JAX would compile and keep each new one."""
    return map_over_devices(lambda x: x)


def unreplicate(tree: Any) -> Any:
    """One copy of a replicated tree, from this process's first device."""
    return jax.tree.map(lambda x: x.addressable_shards[0].data[0], tree)


def split(tree: Any) -> Any:
    """Host arrays `(b, ...)` of this process -> `(devices, b / devices, ...)`, in order."""
    n = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), tree)


def place(tree: Any) -> Any:
    """`split` and copied to this process's devices, which a prefetching thread does ahead of the loop."""
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(split(tree), NamedSharding(mesh, PartitionSpec(AXIS)))


@functools.cache
def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), (AXIS,))


def _specs(split: tuple[bool, ...]) -> tuple[PartitionSpec, ...]:
    return tuple(PartitionSpec(AXIS) if s else PartitionSpec() for s in split)


def map_shards(fn: Callable, split: tuple[bool, ...], donate: tuple[int, ...] = ()) -> Callable:
    """Jits `fn` on every device's share; the results are split over the devices.

    Args:
      fn: a pure function, which may use `shard_number`.
      split: per argument whether its arrays are split along their first axis, else whole on every device.
      donate: numbers of the arguments whose buffers the result may take.
    """
    mapped = jax.shard_map(
        fn, mesh=_mesh(), in_specs=_specs(split), out_specs=PartitionSpec(AXIS), check_vma=False
    )
    return jax.jit(mapped, donate_argnums=donate)


def shard_number() -> jax.Array:
    """Inside a function of `map_shards`: this device's number."""
    return jax.lax.axis_index(AXIS)


def place_shards(rows: np.ndarray) -> jax.Array:
    """The rows of this process (`process_rows`) -> one array split over all devices."""
    return jax.make_array_from_process_local_data(NamedSharding(_mesh(), PartitionSpec(AXIS)), rows)


def place_copies(array: np.ndarray) -> jax.Array:
    """An array that every process holds -> the same array, whole on every device."""
    return jax.make_array_from_process_local_data(
        NamedSharding(_mesh(), PartitionSpec()), array, array.shape
    )


def collect(array: jax.Array) -> np.ndarray:
    """An array's shards of all devices, on every process's host."""
    if process_count() > 1:
        return multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)
