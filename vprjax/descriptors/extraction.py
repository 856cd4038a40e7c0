"""Descriptors of many images: decodes ahead, runs on all devices and keeps every last image."""

import itertools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from vprjax.console import progress
from vprjax.data.source import Places
from vprjax.errors import ConfigError
from vprjax.runtime import memory, parallel
from vprjax.runtime.prefetch import prefetch


class Extractor:
    """Runs a model over images of a split in fixed batches, so that it compiles once per size."""

    def __init__(self, apply_fn: Callable, batch: int):
        """Maps `apply_fn(variables, images (b, h, w, 3)) -> (b, ...)`; `batch` counts over all devices."""
        self.apply_fn = apply_fn
        devices = parallel.device_count()
        self._batch = -(-batch // devices) * devices

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
          ConfigError: a batch does not fit the device.
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
        """Yields the outputs of a call batch by batch, from position `first` of `indices` on."""
        indices = np.asarray(indices)
        size = self._batch

        def images(number: int) -> jax.Array:
            chosen = indices[first + number * size : first + (number + 1) * size]
            padded = np.resize(
                chosen, size
            )  # the last batch repeats images, which the end cuts off
            return parallel.place(places.images(padded[parallel.process_rows(size)]))

        pending, fitting = (
            None,
            memory.fits(f"describing {size} images at once", "lower eval.batch"),
        )
        with fitting, progress(what, len(indices), "images", first) as bar:
            for number, batch in prefetch(images, 0, -(-(len(indices) - first) // size)):
                # The device computes this batch while the host reads the one before.
                current = self._apply(variables, batch)
                if pending is not None:
                    yield _on_host(pending)
                pending = current
                bar.advance(min(size, len(indices) - first - number * size))
            if pending is not None:
                last = (len(indices) - first - 1) % size + 1
                yield _on_host(pending)[:last]


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


def dimensions(module) -> int:
    """Returns the dimensions of a model's descriptors, the same for images of any size."""
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), np.uint8)
    return jax.eval_shape(module.init_with_output, jax.random.key(0), image)[0].shape[-1]


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
