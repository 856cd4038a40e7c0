"""Batches of training tuples; only the mined table and the hard-negative memory are saved."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vprjax.console import progress
from vprjax.data.source import Places
from vprjax.data.together import joined
from vprjax.retrieval import similarity
from vprjax.sampling import domains, mining, negatives

_STREAM = 5  # of the draws of datasets


class TupleSampler:
    """Batches of training tuples, mined anew every `mining_interval` steps.

    A tuple's images are of one dataset, and so are the images that a round ranks for it.
    """

    BATCH_KEY = "tuples.batch"
    MIRRORS = True  # augmentation may mirror all images of a tuple at once
    LEARNS_CLASSES = False

    @staticmethod
    def batch_size(config) -> int:
        """Returns the tuples per step, over all devices."""
        return config.tuples.batch

    @staticmethod
    def lengths(config) -> tuple[str, ...]:
        """Returns the keys of `others` that count in position units."""
        return "positive_radius", "negative_radius"

    @staticmethod
    def objections(config) -> Iterator[tuple[bool, str]]:
        """Yields nothing: this sampler refuses no value."""
        yield from ()

    @staticmethod
    def against_accumulation(config) -> list[str]:
        """Returns what `train.accumulate` above 1 would spoil."""
        return ["hide part of the batch from tuples.in_batch"] * (config.tuples.in_batch != "off")

    def __init__(self, config, places: Places, others: Sequence[Places] = ()):
        """Finds the positives of every training image, of the home dataset's `places` and of the `others`.

        Raises:
          ValueError: no image has a positive, or a query that training draws has too few negatives.
        """
        self._config, parts = config, [places, *others]
        self._places = joined(parts)
        firsts = np.cumsum([0, *map(len, parts[:-1])])
        unit = "units" if others else config.dataset.position_unit
        self._domains = []
        for number, (first, part) in enumerate(zip(firsts, parts, strict=True)):
            with domains.naming(config, number):
                self._domains.append(domains.make(config, number, int(first), part, unit))
        self._origins = np.stack([part.positions.mean(axis=0) for part in parts])
        # Checkpoints save these two alone: one round's mined tuples, and the hard-negative memory.
        rows = config.tuples.mining_interval * config.tuples.batch
        self.table = np.zeros((rows, 2 + config.tuples.negatives), np.int32)
        self.remembered = mining.nothing_remembered(len(self._places), config.tuples.remembered)
        for number, count in enumerate(self._before(self._rounds)):
            with domains.naming(config, number):
                domains.check_negatives(self._domains[number], count, unit)

    @property
    def positives(self) -> mining.Positives:
        """The positives of the home dataset's images."""
        return self._domains[0].positives

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

    def _of_rows(self, number: int) -> np.ndarray:
        """Returns the dataset of every row of a round `(rows,)`, drawn by the datasets' shares."""
        count = len(self._domains)
        return domains.drawn(self._config, count, _STREAM, number, len(self.table))

    def _before(self, number: int) -> np.ndarray:
        """Returns per dataset the rows that the rounds before `number` draw."""
        count = len(self._domains)
        if count == 1:
            return np.array([number * len(self.table)])
        rounds = (np.bincount(self._of_rows(n), minlength=count) for n in range(number))
        return sum(rounds, np.zeros(count, np.int64))

    def check_rounds(self, step: int) -> None:
        """Checks every mining round from `step` on that draws a part of the images.

        Raises:
          ValueError: too few images of a round's pool lie beyond the negative radius.
        """
        tuples = self._config.tuples
        largest = max(len(domain.places) for domain in self._domains)
        if not tuples.negatives or not 0 < tuples.mining_pool < largest:
            return
        for number in range(-(-step // tuples.mining_interval), self._rounds):
            for domain, part in self._drawn(number * tuples.mining_interval):
                if tuples.mining_pool < len(domain.places):
                    negatives.check_pool(domain.places, domain.poses, part, domain.tuples)

    def _drawn(self, step: int) -> list[tuple[domains.Domain, mining.Round]]:
        """Returns the round of `step`, one part per dataset that has a row in it."""
        number = step // self._config.tuples.mining_interval
        before, rows = self._before(number), self._of_rows(number)
        counts = np.bincount(rows, minlength=len(self._domains))
        return [
            (domain, domain.round(number, domain.queries(first, count), self.remembered))
            for domain, first, count in zip(self._domains, before, counts, strict=True)
            if count
        ]

    def cached_images(self, step: int) -> int:
        """Returns the most descriptors that mining holds at once, in the round of `step` and later ones."""
        if not self._describes:
            return 0
        return max(self._cached(domain, part) for domain, part in self._drawn(step))

    def _cached(self, domain: domains.Domain, part: mining.Round) -> int:
        nothing = mining.nothing_remembered(*part.remembered.shape)
        cached = len(domain.images_to_cache(dataclasses.replace(part, remembered=nothing)))
        # The hard-negative memory of each query fills up over the rounds.
        more = len(np.unique(part.queries)) * domain.tuples.remembered
        cached = min(cached + more, len(domain.places))
        copied = (
            len(part.pool) if len(part.pool) < cached else 0
        )  # mining copies the pool's descriptors out
        return cached + copied

    @property
    def _describes(self) -> bool:
        """Whether mining reads descriptors: for negatives, or for the best positive."""
        tuples = self._config.tuples
        return tuples.mining != "random" and bool(tuples.negatives or tuples.positive == "best")

    @property
    def _of_unit_length(self) -> bool:
        """Whether the model ends with a length of 1; a head may give it without `model.norms`."""
        model = self._config.model
        return ("descriptor" if model.projection else "pooled") in model.norms

    def mine(self, step: int, describe: Callable[[np.ndarray], np.ndarray]) -> None:
        """Fills the table of the round that starts at `step`, one dataset after the other.

        `describe` maps image indices `(m,)` to descriptors `(m, d)` of the current model. Random mining
        does not call it, nor does a random positive without mined negatives.

        Raises:
          ValueError: too few images lie beyond the negative radius.
        """
        rows = self._of_rows(step // self._config.tuples.mining_interval)
        numbers = {id(domain): number for number, domain in enumerate(self._domains)}
        table = np.empty_like(self.table)
        with progress(f"rank negatives at step {step}", len(rows), "queries") as bar:

            def similarities(some: np.ndarray, of_pool: np.ndarray) -> np.ndarray:
                found = similarity.similarities(some, of_pool)
                bar.advance(len(some))
                return found

            for domain, part in self._drawn(step):
                cache = None
                if self._describes:
                    cached = domain.images_to_cache(part)
                    found = describe(cached + domain.first)
                    cache = mining.Cache(cached, found, self._of_unit_length)
                own = rows == numbers[id(domain)]
                table[own] = domain.mine(part, cache, similarities)
        self.table = table
        self.remembered = mining.remember(self.remembered, self.table)

    def indices(self, step: int) -> np.ndarray:
        """Returns the image numbers `(b, 2 + n)` of one step's batch."""
        b = self._config.tuples.batch
        first = (step % self._config.tuples.mining_interval) * b
        return self.table[first : first + b]

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Returns `rows` of one step's batch.

        `images` are uint8 `(b, 2 + n, h, w, 3)`. `positions` `(b, 2 + n, 2)` float32 are relative to the
        dataset's mean training position, so that float32 keeps them to a millimetre, and in units in which
        its negative radius is `tuples.negative_radius`. Several datasets have their number in "domain"
        `(b,)`.
        """
        chosen = self.indices(step)[rows]
        images = {"images": self._places.images(chosen)}
        starts = np.array([domain.first for domain in self._domains])
        of = np.searchsorted(starts, chosen[:, 0], side="right") - 1
        positions = self._places.positions[chosen] - self._origins[of][:, None]
        if len(self._domains) == 1:
            return images | {"positions": positions.astype(np.float32)}
        radii = np.array([domain.tuples.negative_radius for domain in self._domains])
        positions *= (radii[0] / radii[of])[:, None, None]
        return images | {"positions": positions.astype(np.float32), "domain": of.astype(np.int32)}
