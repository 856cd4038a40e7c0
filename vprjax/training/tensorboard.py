"""Metrics for TensorBoard, where its extra is installed."""

import contextlib
import importlib.util
import pathlib

import numpy as np

from vprjax.training.health import HISTOGRAM_BINS


class Summaries:
    """Writes rows of metrics as TensorBoard events, or nothing without the extra `tensorboard`.

    The first row imports TensorFlow, which writes the events.
    """

    def __init__(self, folder: pathlib.Path, writes: bool = True):
        """Sends events to `folder`, if this process is the one that `writes`."""
        found = all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorboard"))
        self._folder, self._writes, self._writer = folder, writes and found, None

    def write(self, step: int, values: dict, prefix: str) -> None:
        """Writes numbers as scalars, and counts `(20,)` of distances over 0 .. 2 as histograms."""
        if not self._writes:
            return
        if self._writer is None:
            import tensorflow as tf
            from clu import metric_writers

            with contextlib.suppress(RuntimeError):  # raised where TensorFlow is in use already
                tf.config.set_visible_devices(
                    [], "GPU"
                )  # TensorFlow would take their memory from JAX
            self._writer = metric_writers.SummaryWriter(str(self._folder))
        scalars, histograms = {}, {}
        for name, value in values.items():
            if np.ndim(value):
                histograms[f"{prefix}/{name}"] = _spread_out(value)
            else:
                scalars[f"{prefix}/{name}"] = value
        self._writer.write_scalars(step, scalars)
        self._writer.write_histograms(step, histograms, dict.fromkeys(histograms, HISTOGRAM_BINS))
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()


def _spread_out(counts) -> np.ndarray:
    """Returns one distance per count, at the centre of its bin."""
    width = 2 / HISTOGRAM_BINS
    return np.repeat(width * (np.arange(HISTOGRAM_BINS) + 0.5), counts)
