"""Blends of the untrained and the fine-tuned parameters of runs from one start, and the choice among them.

`theta(a) = theta_0 + a * sum_i w_i (theta_i - theta_0)`, the weights with a sum of 1. It holds for every
floating-point array of a model: BatchNorm's statistics, GeM's p and the projection too. Class weights of a
loss belong to no model.

Sources: Wortsman et al. 2022, Robust fine-tuning of zero-shot models; the same, Model soups.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from vprjax.errors import ConfigError, DataError, WeightsError
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically
from vprjax.storage.checkpoint import Checkpoints, open_for_reading

FILE = "blend.json"
OFF, AUTO = "off", "auto"


@dataclasses.dataclass(frozen=True)
class Point:
    """Mean FCM over tolerances, percent, of one share of the fine-tuned parameters.

    Attributes:
      share: `a`.
      home: on the run's validation.
      keep: on the keep set, the mean over its query splits; None without one.
    """

    share: float
    home: float
    keep: float | None = None

    @property
    def score(self) -> float:
        """What the choice maximises: the mean of both."""
        return self.home if self.keep is None else (self.home + self.keep) / 2


@dataclasses.dataclass(frozen=True)
class Blend:
    """How the parameters that evaluation takes come from a run's checkpoints.

    Attributes:
      share: `a`, of the fine-tuned parameters; 1 takes them as they are.
      runs: workdirs of further runs, absolute.
      weights: in the mean of the fine-tuned parameters, this run's first; their sum is 1.
      curve: what "auto" measured; empty where the config gives the share.
      keep: name of the keep set, or "".
    """

    share: float = 1.0
    runs: tuple[str, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    curve: tuple[Point, ...] = ()
    keep: str = ""

    @property
    def whole(self) -> bool:
        """Whether it is the run's own fine-tuned model."""
        return self.share == 1 and not self.runs

    def to_json(self) -> dict:
        """As results.json and `FILE` keep it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def words(self) -> str:
        """One sentence on the parameters, and on how they were chosen."""
        mean = f" (mean of {1 + len(self.runs)} runs from one start)" if self.runs else ""
        out = f"{self.share:g} of the fine-tuned{mean} and {1 - self.share:g} of the untrained parameters"
        if not self.curve:
            return f"{out}, as eval.blend asks"
        return f"{out}, the best of {len(self.curve)} shares by the mean FCM on validation" + (
            f" and on {self.keep}" if self.keep else ""
        )


def asked(config) -> Blend:
    """The blend of a config's `eval` section; of "auto" all but the share."""
    e = config.eval
    weights = np.array(e.blend_weights or (1.0,) * (1 + len(e.blend_runs)), np.float64)
    runs = tuple(str(pathlib.Path(run).expanduser().absolute()) for run in e.blend_runs)
    share = 1.0 if e.blend in (OFF, AUTO) else float(e.blend)
    return Blend(share, runs, tuple((weights / weights.sum()).tolist()))


def mixed(start: dict, ends: Sequence[dict], weights: Sequence[float], share: float) -> dict:
    """`theta(a)` of variables on the host; computed in float64, kept in each array's type.

    Raises:
      ValueError: arrays that are no floating-point numbers differ.
    """
    if share == 1 and len(ends) == 1:
        return ends[0]  # to the bit

    def leaf(first, *others):
        first = np.asarray(first)
        if not np.issubdtype(first.dtype, np.floating):
            if any((np.asarray(other) != first).any() for other in others):
                raise ValueError(f"arrays of {first.dtype} differ and have no mean")
            return first
        moved = sum(
            weight * (np.asarray(other, np.float64) - first)
            for weight, other in zip(weights, others, strict=True)
        )
        return (first + share * moved).astype(first.dtype)

    return jax.tree.map(leaf, start, *ends)


class Ends:
    """The untrained and the fine-tuned parameters that a blend lies between.

    Attributes:
      start: the untrained variables.
      ends: the fine-tuned ones, of this run and of the further ones.
    """

    def __init__(self, checkpoints: Checkpoints, runs: Sequence[str]):
        """Reads them; `runs` are workdirs of further runs.

        Raises:
          WeightsError: a checkpoint is missing or damaged.
          ConfigError: a further run did not start from the same parameters.
        """
        _start(checkpoints)
        check_starts(checkpoints, runs)
        self.start = checkpoints.restore_model(0)
        self.ends = [checkpoints.restore_model(checkpoints.chosen())]
        for run in runs:
            with contextlib.closing(open_for_reading(run)) as other:
                self.ends.append(other.restore_model(other.chosen()))

    def at(self, blend: Blend) -> dict:
        """The variables of a blend."""
        return mixed(self.start, self.ends, blend.weights, blend.share)


def check_starts(checkpoints: Checkpoints, runs: Sequence[str]) -> None:
    """Checks that further runs started from the parameters of `checkpoints`, by digests, and trained.

    Raises:
      WeightsError: a checkpoint is missing or damaged.
      ConfigError: a further run did not start from the same parameters, or took no step.
    """
    own = _start(checkpoints) if runs else ""
    for run in runs:
        with contextlib.closing(open_for_reading(run)) as other:
            if _start(other) != own:
                raise ConfigError(
                    f"eval.blend_runs: {run} starts from other parameters than "
                    f"{checkpoints.folder.parent}, and between them a mean says nothing: name runs of one "
                    "model, seed and weights' file"
                )
            if not other.chosen():
                raise ConfigError(
                    f"eval.blend_runs: {run} has taken no step, so its parameters are the untrained ones; "
                    "train it or leave it out"
                )


def _start(checkpoints: Checkpoints) -> str:
    """SHA-256 of the untrained parameters."""
    if 0 not in checkpoints.steps():
        raise WeightsError(
            f"{checkpoints.folder / '0'} is gone, which holds the untrained parameters that eval.blend "
            "needs: train again, or set eval.blend='off'"
        )
    return checkpoints.digests(0).get("model") or checksum.of_arrays(checkpoints.restore_model(0))


def of_json(values: dict) -> Blend:
    """The blend of `Blend.to_json`."""
    lists = {name: tuple(values[name]) for name in ("runs", "weights")}
    curve = tuple(Point(**point) for point in values["curve"])
    return Blend(**{**values, **lists, "curve": curve})


def write(folder: pathlib.Path, blend: Blend) -> None:
    """Writes what an evaluation took into the workdir, where loading the run finds it."""
    write_atomically(folder / FILE, json.dumps(checksum.seal(blend.to_json()), indent=1) + "\n")


def read(folder: pathlib.Path, config) -> Blend:
    """What the last evaluation of a run took; `config` is the run's own.

    Raises:
      DataError: the file is damaged, or missing where the run's config asks for a blend.
    """
    file = folder / FILE
    try:
        return of_json(checksum.unseal(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        if config.eval.blend == OFF:
            return Blend()
        raise DataError(
            f"{file} is not there, which says what eval.blend={config.eval.blend!r} came to: evaluate the "
            "run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} cannot be read ({error}); evaluate the run again") from error


def taken(checkpoints: Checkpoints, blend: Blend) -> dict:
    """The parameters that evaluation takes: the chosen checkpoint's, a running mean or not, or a blend.

    Raises:
      WeightsError: a checkpoint is missing or damaged.
      ConfigError: a further run did not start from the same parameters.
    """
    if blend.whole:
        return checkpoints.restore_model(checkpoints.chosen())
    return Ends(checkpoints, blend.runs).at(blend)
