"""Descriptors of many images: decodes ahead, runs on all devices and keeps every last image."""

import itertools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from vprjax.console import log, progress
from vprjax.data.source import Places
from vprjax.errors import ConfigError
from vprjax.runtime import memory, parallel
from vprjax.runtime.prefetch import prefetch


class Extractor:
    """Runs a model over images of a split in fixed batches, so that it compiles once per size."""

    def __init__(self, apply_fn: Callable, batch: int, tell: Callable[[str], None] | None = None):
        """Maps `apply_fn(variables, images (b, h, w, 3)) -> (b, ...)`; `batch` counts over all devices.

        `tell` receives sentences on the memory, which the log has without it.
        """
        self.apply_fn, self._tell = apply_fn, tell or log
        devices = parallel.device_count()
        self._batch = -(-batch // devices) * devices
        self._programs: dict = {}

        def described(variables, images):
            output = apply_fn(variables, images)
            # A process reads its own devices only: with several processes, every device gets all rows.
            return parallel.gather(output) if parallel.process_count() > 1 else output

        self._apply = parallel.map_over_devices(described)

    def __call__(self, variables, places: Places, indices: np.ndarray, what: str) -> np.ndarray:
        """Returns outputs `(len(indices), ...)` float32 for the images at `indices`, in that order.

        Args:
          variables: the model's variables, replicated (`parallel.replicate`).
          places: the images.
          indices: `(n,)` image numbers.
          what: words for the progress bar.

        Raises:
          ConfigError: not even one image per device fits.
          DataError: an image cannot be read.
        """
        blocks = self.stream(variables, places, indices, what)
        first = next(blocks)
        # Filled in place, without joining blocks: a mining round's descriptors may take half the memory.
        out = np.empty((len(indices), *first.shape[1:]), np.float32)
        done = 0
        for block in itertools.chain([first], blocks):
            out[done : done + len(block)] = block
            done += len(block)
        return out

    def stream(
        self, variables, places: Places, indices: np.ndarray, what: str, first: int = 0
    ) -> Iterator[np.ndarray]:
        """Yields the outputs of a call batch by batch, from position `first` of `indices` on.

        Where a batch does not fit the device, one of half the images follows, and stays. Few images take a
        smaller one, which they fill by half or more.
        """
        indices = np.asarray(indices)
        devices = parallel.device_count()
        enough = devices << (-(-len(indices) // devices) - 1).bit_length()
        with progress(what, len(indices), "images", first) as bar:
            while first < len(indices):
                try:
                    size = min(self._batch, enough)
                    for block in self._blocks(variables, places, indices[first:], size):
                        first += len(block)
                        bar.advance(len(block))
                        yield block
                except jax.errors.JaxRuntimeError as error:
                    if not memory.ran_out(error):
                        raise
                    self._halve(size, str(error).splitlines()[0])

    def _blocks(self, variables, places: Places, indices: np.ndarray, size: int):
        """Yields the outputs of `indices` in batches of `size` images."""

        def images(number: int) -> jax.Array:
            chosen = indices[number * size : (number + 1) * size]
            padded = np.resize(
                chosen, size
            )  # the last batch repeats images, which the end cuts off
            return parallel.place(places.images(padded[parallel.process_rows(size)]))

        pending = None
        for _, batch in prefetch(images, 0, -(-len(indices) // size)):
            program = self._program(variables, batch, size)
            if program is None:
                return  # a smaller batch follows
            # The device computes this batch while the host reads the one before.
            current = program(variables, batch)
            if pending is not None:
                yield _on_host(pending)
            pending = current
        if pending is not None:
            last = (len(indices) - 1) % size + 1
            yield _on_host(pending)[:last]

    def _program(self, variables, batch: jax.Array, size: int) -> Callable | None:
        """Returns the compiled extraction of `size` images; None where a smaller batch must take its place.

        The first batch's memory is logged before it runs. Several processes compile on the first call.
        """
        if parallel.process_count() > 1:
            return self._apply
        leaves, structure = jax.tree.flatten((variables, batch))
        key = structure, tuple((x.shape, x.dtype) for x in leaves)
        if key not in self._programs:
            compiled = parallel.compile_called(self._apply, variables, batch)
            further = memory.beyond_arguments(compiled, 2 * batch.nbytes)
            free, where = memory.free_for_devices()
            self._tell(
                f"memory: describing {size} images at once takes {further / memory.GIB:.2f} GiB of "
                f"{where}" + ("" if free is None else f", {free / memory.GIB:.2f} GiB are free")
            )
            if free is not None and further > free:
                self._halve(size, f"{further / memory.GIB:.2f} GiB of {where}")
                return None
            self._programs[key] = compiled
        return self._programs[key]

    def _halve(self, before: int, why: str) -> None:
        """Halves a batch of `before` images and logs it; raises ConfigError where it cannot."""
        devices = parallel.device_count()
        self._batch = max(devices, before // 2 // devices * devices)
        if parallel.process_count() > 1:  # the others wait for a batch of the old size
            raise ConfigError(
                f"describing {before} images at once does not fit ({why}): lower eval.batch"
            )
        if self._batch == before:
            raise ConfigError(
                f"describing {before} images at once, one per device, does not fit ({why}): build the "
                "dataset with smaller images or set model.compute_dtype=bfloat16"
            )
        self._tell(
            f"describing {before} images at once does not fit ({why}): from here on eval.batch is "
            f"{self._batch}"
        )


def descriptor_size(apply_fn: Callable, variables, places: Places) -> int:
    """Returns the dimensions of the model's descriptors without running it; `variables` not replicated.

    Raises:
      ConfigError: the images are too small for the model.
    """
    return _shapes(apply_fn, variables, places).shape[-1]


def model_shapes(module, places: Places):
    """Returns shapes and types of one image's descriptors, and of the variables of a model to be made.

    Raises:
      ConfigError: the images are too small for the model.
    """
    return _shapes(module.init_with_output, jax.random.key(0), places)


def dimensions(module, places: Places) -> int:
    """Returns the dimensions of a model's descriptors of these images; some heads' grow with an image.

    Raises:
      ConfigError: the images are too small for the model.
    """
    return model_shapes(module, places)[0].shape[-1]


def _shapes(function: Callable, first, places: Places):
    image = jax.ShapeDtypeStruct(places.images([0]).shape, np.uint8)
    try:
        return jax.eval_shape(function, first, image)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _on_host(output: jax.Array) -> np.ndarray:
    if parallel.process_count() > 1:
        return np.asarray(parallel.unreplicate(output), np.float32)
    array = np.asarray(output, np.float32)
    return array.reshape(-1, *array.shape[2:])
