"""Batches of training tuples; only the mined table and the hard-negative memory are saved."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial import cKDTree

from vprjax.console import log, progress
from vprjax.data.source import Places
from vprjax.retrieval import similarity
from vprjax.sampling import mining, negatives
from vprjax.sampling.poses import Poses


class TupleSampler:
    """Batches of training tuples, mined anew every `mining_interval` steps."""

    BATCH_KEY = "tuples.batch"
    MIRRORS = True  # augmentation may mirror all images of a tuple at once
    LEARNS_CLASSES = False

    @staticmethod
    def batch_size(config) -> int:
        """Returns the tuples per step, over all devices."""
        return config.tuples.batch

    @staticmethod
    def objections(config) -> Iterator[tuple[bool, str]]:
        """Yields nothing: this sampler refuses no value."""
        yield from ()

    @staticmethod
    def against_accumulation(config) -> list[str]:
        """Returns what `train.accumulate` above 1 would spoil."""
        return ["hide part of the batch from tuples.in_batch"] * (config.tuples.in_batch != "off")

    def __init__(self, config, places: Places):
        """Finds the positives of every training image.

        Raises:
          ValueError: no image has a positive, or a query that training draws has too few negatives.
        """
        self._config, self._places = config, places
        tuples = config.tuples
        visit = mining.visits(places.timestamps, places.splits, tuples.other_visit_seconds)
        self._origin = places.positions.mean(axis=0)
        self._poses = _poses(places, tuples.heading_degrees)
        self.positives = mining.Positives(self._poses, visit, tuples.positive_radius)
        if not len(self.positives.queries):
            raise ValueError(_no_positives(places, visit, tuples, config.dataset.position_unit))
        # Checkpoints save these two alone: one round's mined tuples, and the hard-negative memory.
        rows = tuples.mining_interval * tuples.batch
        if rounds := self._rounds:
            asked = np.unique(self._queries(0, min(rounds * rows, len(self.positives.queries))))
            negatives.check_places(places, self._poses, asked, tuples, config.dataset.position_unit)
        self.table = np.zeros((rows, 2 + tuples.negatives), np.int32)
        self.remembered = mining.nothing_remembered(len(places), tuples.remembered)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The keys that change nothing for these images."""
        return () if np.isfinite(self._places.headings).all() else ("tuples.heading_degrees",)

    @property
    def mined(self) -> dict[str, np.ndarray]:
        """All that a checkpoint must hold, without arrays of no size, which orbax cannot save."""
        state = {"tuples": self.table, "remembered": self.remembered}
        return {name: array for name, array in state.items() if array.size}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Restores the arrays of `mined`."""
        self.table = np.asarray(saved["tuples"])
        self.remembered = np.asarray(saved.get("remembered", self.remembered))

    def round_end(self, step: int) -> int:
        """Returns the first step after the round of `step`."""
        interval = self._config.tuples.mining_interval
        return (step // interval + 1) * interval

    def starts_round(self, step: int) -> bool:
        """Whether a round of mining comes before this step."""
        return step % self._config.tuples.mining_interval == 0

    @property
    def _rounds(self) -> int:
        """The mining rounds of the whole training."""
        return -(-self._config.train.steps // self._config.tuples.mining_interval)

    def _queries(self, first: int, count: int) -> np.ndarray:
        """Returns `count` entries of the stream of queries."""
        return mining.queries_at(self.positives.queries, self._config.seed, first, count)

    def check_rounds(self, step: int) -> None:
        """Checks every mining round from `step` on that draws a part of the images.

        Raises:
          ValueError: too few images of a round's pool lie beyond the negative radius.
        """
        tuples = self._config.tuples
        if not tuples.negatives or not 0 < tuples.mining_pool < len(self._places):
            return
        for number in range(-(-step // tuples.mining_interval), self._rounds):
            drawn = self._drawn(number * tuples.mining_interval)
            negatives.check_pool(self._places, self._poses, drawn, tuples)

    def _drawn(self, step: int) -> mining.Round:
        """Returns the round of `step`."""
        tuples, seed = self._config.tuples, self._config.seed
        number = step // tuples.mining_interval
        rows = len(self.table)
        queries = self._queries(number * rows, rows)
        pool = mining.pool_at(len(self._places), tuples.mining_pool, seed, number)
        pool = pool if tuples.negatives else pool[:0]  # in_batch needs none
        return mining.Round(queries, pool, self.remembered, seed, number)

    def cached_images(self, step: int) -> int:
        """Returns the most descriptors that mining holds at once, in the round of `step` and later ones."""
        if not self._describes:
            return 0
        drawn = self._drawn(step)
        nothing = mining.nothing_remembered(*self.remembered.shape)
        cached = len(self._images_to_cache(dataclasses.replace(drawn, remembered=nothing)))
        # The hard-negative memory of each query fills up over the rounds.
        more = len(np.unique(drawn.queries)) * self._config.tuples.remembered
        cached = min(cached + more, len(self._places))
        copied = (
            len(drawn.pool) if len(drawn.pool) < cached else 0
        )  # mining copies the pool's descriptors out
        return cached + copied

    @property
    def _describes(self) -> bool:
        """Whether mining reads descriptors: for negatives, or for the best positive."""
        tuples = self._config.tuples
        return tuples.mining != "random" and bool(tuples.negatives or tuples.positive == "best")

    def _images_to_cache(self, drawn: mining.Round) -> np.ndarray:
        tuples = self._config.tuples
        return mining.images_to_cache(
            drawn,
            self.positives,
            with_positives=tuples.positive == "best" or tuples.mining == "semi_hard",
            fewest=mining.POSITIVES if tuples.mining_pool else len(self._places),
        )

    def mine(self, step: int, describe: Callable[[np.ndarray], np.ndarray]) -> None:
        """Fills the table of the round that starts at `step`.

        `describe` maps image indices `(m,)` to descriptors `(m, d)` of the current model. Random mining
        does not call it, nor does a random positive without mined negatives.

        Raises:
          ValueError: too few images lie beyond the negative radius.
        """
        tuples, drawn, cache = self._config.tuples, self._drawn(step), None
        if self._describes:
            cached = self._images_to_cache(drawn)
            cache = mining.Cache(cached, describe(cached))
        rule = mining.Rule(
            negatives=tuples.negatives,
            negative_radius=tuples.negative_radius,
            place_radius=tuples.positive_radius,
            best_positive=tuples.positive == "best",
            semi_hard=tuples.mining == "semi_hard",
        )
        with progress(f"rank negatives at step {step}", len(drawn.queries), "queries") as bar:

            def similarities(some: np.ndarray, of_pool: np.ndarray) -> np.ndarray:
                found = similarity.similarities(some, of_pool)
                bar.advance(len(some))
                return found

            self.table = mining.mine(drawn, rule, self.positives, self._poses, cache, similarities)
        self.remembered = mining.remember(self.remembered, self.table)

    def indices(self, step: int) -> np.ndarray:
        """Returns the image numbers `(b, 2 + n)` of one step's batch."""
        b = self._config.tuples.batch
        first = (step % self._config.tuples.mining_interval) * b
        return self.table[first : first + b]

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Returns `rows` of one step's batch.

        `images` are uint8 `(b, 2 + n, h, w, 3)`. `positions` `(b, 2 + n, 2)` float32 are relative to the
        mean training position, so that float32 keeps them to a millimetre.
        """
        chosen = self.indices(step)[rows]
        positions = (self._places.positions[chosen] - self._origin).astype(np.float32)
        return {"images": self._places.images(chosen), "positions": positions}


def _no_positives(places: Places, visit: np.ndarray, tuples, unit: str) -> str:
    """Why no image has a positive, and what gives it one."""
    radius, n = tuples.positive_radius, len(places)
    none = f"none of {n} training images has a positive"
    if n == 1:
        return f"{none}: name more splits in dataset.train_splits, or build one with more images"
    apart = cKDTree(places.positions).query(places.positions, k=[2])[0].min()
    if apart > radius:
        return (
            f"{none} within tuples.positive_radius={radius:g}, as the nearest two lie {apart:.4g} {unit} "
            "apart: check the unit of the positions, or enlarge the radius"
        )
    if len(mining.Positives(Poses(places.positions), visit, radius).queries):
        return (
            f"{none} that looks the same way: raise tuples.heading_degrees={tuples.heading_degrees:g}, or "
            "set it to 0"
        )
    return (
        f"{none} on another visit, as all within tuples.positive_radius={radius:g} are of one: lower "
        f"tuples.other_visit_seconds={tuples.other_visit_seconds:g}, the pause between two visits, set it "
        "to 0, or name another visit's split in dataset.train_splits"
    )


def _poses(places: Places, degrees: float) -> Poses:
    """Returns the poses of `places`; headings count where `degrees` is above 0 and every one is known.

    Logs a warning where only some are known.
    """
    known = np.isfinite(places.headings)
    if degrees and known.any() and not known.all():
        log(
            f"warning: {np.count_nonzero(~known)} of {len(known)} training images have no heading, so "
            f"tuples ignore headings; tuples.heading_degrees={degrees:g} counts where all are known"
        )
    if not degrees or not known.all():
        return Poses(places.positions)
    return Poses(places.positions, places.headings, degrees)
