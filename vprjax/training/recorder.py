"""Records of training: metrics, validations and times as JSON lines."""

import contextlib
import pathlib
import time
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from vprjax import optim
from vprjax.console import log
from vprjax.evaluation import collapse
from vprjax.models.heads import HEADS
from vprjax.runtime import parallel
from vprjax.storage.json_lines import JsonLines
from vprjax.training.non_finite import check_trap
from vprjax.training.step import KeepMetrics, TrainMetrics
from vprjax.training.tensorboard import Summaries

# Work that is timed apart from the steps, and its words in the log.
APART = {
    "mining": "for mining",
    "validation": "for validation",
    "keep": "for the untrained model's descriptors",
    "data": "waiting for images",
}


class Recorder:
    """Collects the steps' metrics and writes them every `log_every` steps.

    Attributes:
      collected: the metrics since the last row. Checkpoints save them, so that a run cut between two rows
        writes the same rows.
    """

    def __init__(self, config, workdir: pathlib.Path, start: int, collected=None, validated=0):
        """Opens the files of metrics, times and validations, and drops rows past step `start`.

        It also drops validations past step `validated`, the last one in the checkpoint.
        """
        self._every, self._steps = config.train.log_every, config.train.steps
        self._rate, self._collapsed = config.optim.learning_rate, False
        self._logged = HEADS[config.model.pooling].logged
        self._schedule = optim.schedule(config.optim, self._steps)
        self._metrics = JsonLines(workdir / "metrics.jsonl", start)
        self._timing = JsonLines(workdir / "timing.jsonl", start)
        self._validation = JsonLines(workdir / "validation.jsonl", validated)
        self._summaries = Summaries(workdir / "tensorboard", parallel.is_primary())
        if (
            collected is None or self._metrics.kept == start
        ):  # a stop saves first, then writes its row
            collected = self.empty(config)
        self._empty = self.empty(config)
        self.collected = parallel.replicate(collected)
        self._began, self._apart = time.monotonic(), dict.fromkeys(APART, 0.0)
        self._totals = {"seconds": 0.0} | {f"{what}_seconds": 0.0 for what in self._apart}

    @staticmethod
    def empty(config) -> TrainMetrics:
        """Returns the metrics before any step."""
        kind = KeepMetrics if config.keep.weight else TrainMetrics
        return jax.tree.map(np.asarray, kind.empty())

    @contextlib.contextmanager
    def apart(self, what: str):
        """Counts the time of a context as `what` (one of APART), not as steps."""
        start = time.monotonic()
        yield
        self._apart[what] += time.monotonic() - start

    def waiting(self, batches: Iterable) -> Iterator:
        """Yields the batches; the wait for each counts as "data".

        The wait bounds the devices' idle time from above: they may still compute the step before.
        """
        ahead = iter(batches)
        while True:
            with self.apart("data"):
                batch = next(ahead, None)
            if batch is None:
                return
            yield batch

    def add(self, done: int, measured, state) -> dict[str, float]:
        """Adds the metrics of step number `done`; returns figures for the progress bar."""
        self.collected = self.collected.merge(measured)
        if done % self._every and done != self._steps:
            return {}
        return self._write(done, state)

    def stopped(self, done: int, state) -> None:
        """Writes the metrics that no row holds yet, where a run stops early."""
        if parallel.unreplicate(self.collected.loss.count):
            self._write(done, state)

    def _write(self, done: int, state) -> dict[str, float]:
        """Writes one row of the collected metrics; returns figures for the progress bar."""
        check_trap(state)
        figures = {
            name: np.asarray(value).tolist()
            for name, value in parallel.unreplicate(self.collected).compute().items()
        }
        figures["learning_rate"] = float(self._schedule(done - 1))
        for name, parameter in self._logged.items():
            value = parallel.unreplicate(state.params["model"]["pooling"][parameter])
            figures[name] = float(jnp.mean(value))
        if not self._collapsed and not collapse.apart(figures):  # once per start
            self._collapsed = True
            log(f"warning: {collapse.row_words({'step': done, **figures}, self._rate)}")
        self._metrics.write(done, figures)
        self._summaries.write(done, figures, "train")
        self._write_times(done)
        self.collected = parallel.replicate(self._empty)
        return {"loss": figures["loss"], "active": figures["active"]}

    def _write_times(self, done: int) -> None:
        """Writes one row of times; `step_seconds` is the time that none of APART took."""
        whole = time.monotonic() - self._began
        times = {"seconds": whole, "step_seconds": whole - sum(self._apart.values())}
        times |= {f"{what}_seconds": seconds for what, seconds in self._apart.items()}
        self._totals = {name: total + times[name] for name, total in self._totals.items()}
        self._timing.write(done, {name: round(value, 3) for name, value in times.items()})
        self._began, self._apart = time.monotonic(), dict.fromkeys(self._apart, 0.0)

    def shares(self) -> str:
        """Returns one line: the shares of APART in the wall time of this process's logged steps."""
        whole = max(self._totals["seconds"], 1e-9)
        shares = (
            f"{self._totals[f'{what}_seconds'] / whole:.1%} {words}"
            for what, words in APART.items()
            if what != "keep" or self._totals["keep_seconds"]
        )
        return f"time: {whole:.0f} s: {', '.join(shares)}"

    def validated(self, step: int, found: dict[str, float]) -> None:
        """Writes one validation."""
        self._validation.write(step, found)
        self._summaries.write(step, found, "validation")

    def close(self) -> None:
        """Closes the files."""
        self._summaries.close()
        self._validation.close()
        self._metrics.close()
        self._timing.close()
