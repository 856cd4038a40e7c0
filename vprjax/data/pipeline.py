"""From `(seed, step, mined tuples)` to batches: no state to save but the mined table."""

from collections.abc import Callable, Iterable

import numpy as np

from vprjax import mining, place_classes
from vprjax.console import progress
from vprjax.data.source import Places
from vprjax.retrieval import similarity


class TupleSampler:
    """Batches of training tuples, mined anew every `mining_interval` steps."""

    def __init__(self, config, places: Places):
        """Finds the positives of every training image.

        Raises:
          ValueError: no image has a positive.
        """
        self._config, self._places = config, places
        tuples = config.tuples
        visit = mining.visits(places.timestamps, places.splits, tuples.other_visit_seconds)
        self._origin = places.positions.mean(axis=0)
        self.positives = mining.Positives(places.positions, visit, tuples.positive_radius)
        if not len(self.positives.queries):
            raise ValueError(
                f"no training image has another within tuples.positive_radius="
                f"{tuples.positive_radius:g} on another visit (tuples.other_visit_seconds="
                f"{tuples.other_visit_seconds:g}, the pause between two visits): enlarge the radius, "
                "lower the pause or set it to 0"
            )
        # The only state, saved in checkpoints: the mined tuples of one round, and what is kept of those
        # before.
        rows = tuples.mining_interval * tuples.batch
        self.table = np.zeros((rows, 2 + tuples.negatives), np.int32)
        self.remembered = mining.nothing_remembered(len(places), tuples.remembered)

    @property
    def mined(self) -> dict[str, np.ndarray]:
        """All that a checkpoint must hold; an array of no size, which orbax cannot save, is left out."""
        state = {"tuples": self.table, "remembered": self.remembered}
        return {name: array for name, array in state.items() if array.size}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Takes back what `mined` gave."""
        self.table = np.asarray(saved["tuples"])
        self.remembered = np.asarray(saved.get("remembered", self.remembered))

    def round_end(self, step: int) -> int:
        """First step after the round of `step`."""
        interval = self._config.tuples.mining_interval
        return (step // interval + 1) * interval

    def starts_round(self, step: int) -> bool:
        """Whether tuples are mined before this step."""
        return step % self._config.tuples.mining_interval == 0

    def _drawn(self, step: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Number, queries and pool of the round that `step` is in."""
        tuples, seed = self._config.tuples, self._config.seed
        number = step // tuples.mining_interval
        rows = len(self.table)
        queries = mining.queries_at(self.positives.queries, seed, number * rows, rows)
        pool = mining.pool_at(len(self._places), tuples.mining_pool, seed, number)
        return number, queries, pool if tuples.negatives else pool[:0]  # in_batch needs none

    def cached_images(self, step: int) -> int:
        """Descriptors that mining holds at once, at most, in the round of `step` and later ones."""
        if not self._describes:
            return 0
        number, queries, pool = self._drawn(step)
        nothing = mining.nothing_remembered(*self.remembered.shape)
        cached = len(self._images_to_cache(number, queries, pool, nothing))
        # What is remembered grows with the rounds, to so many of each query.
        more = len(np.unique(queries)) * self._config.tuples.remembered
        cached = min(cached + more, len(self._places))
        return cached + (len(pool) if len(pool) < cached else 0)  # the pool's are then copied out

    @property
    def _describes(self) -> bool:
        """Whether mining looks at descriptors: for negatives, or for the best positive."""
        tuples = self._config.tuples
        return tuples.mining != "random" and bool(tuples.negatives or tuples.positive == "best")

    def _images_to_cache(
        self, number: int, queries: np.ndarray, pool: np.ndarray, remembered: np.ndarray
    ) -> np.ndarray:
        tuples, seed = self._config.tuples, self._config.seed
        with_positives = tuples.positive == "best" or tuples.mining == "semi_hard"
        return mining.images_to_cache(
            queries,
            self.positives,
            pool,
            remembered,
            with_positives=with_positives,
            fewest=mining.POSITIVES if tuples.mining_pool else len(self._places),
            seed=seed,
            round_number=number,
        )

    def mine(self, step: int, describe: Callable[[np.ndarray], np.ndarray]) -> None:
        """Fills the table of the round that starts at `step`.

        `describe` maps image indices `(m,)` to descriptors `(m, d)` of the current model; it is not
        called for random mining, nor where a random positive is all that is asked for.
        """
        tuples = self._config.tuples
        number, queries, pool = self._drawn(step)
        cache = None
        if self._describes:
            cached = self._images_to_cache(number, queries, pool, self.remembered)
            cache = mining.Cache(cached, describe(cached))
        with progress(f"rank negatives at step {step}", len(queries), "queries") as bar:

            def similarities(some: np.ndarray, of_pool: np.ndarray) -> np.ndarray:
                found = similarity.similarities(some, of_pool)
                bar.advance(len(some))
                return found

            self.table = mining.mine(
                queries,
                self.positives,
                self._places.positions,
                cache,
                pool,
                negatives=tuples.negatives,
                negative_radius=tuples.negative_radius,
                place_radius=tuples.positive_radius,
                best_positive=tuples.positive == "best",
                semi_hard=tuples.mining == "semi_hard",
                seed=self._config.seed,
                round_number=number,
                remembered=self.remembered,
                similarities=similarities,
            )
        self.remembered = mining.remember(self.remembered, self.table)

    def indices(self, step: int) -> np.ndarray:
        """Image numbers `(b, 2 + n)` of one step's batch."""
        b = self._config.tuples.batch
        first = (step % self._config.tuples.mining_interval) * b
        return self.table[first : first + b]

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Rows of one step's batch.

        `images` uint8 `(b, 2 + n, h, w, 3)`; `positions` `(b, 2 + n, 2)` float32, about the mean of the
        training positions, so that float32 keeps them to a millimetre.
        """
        chosen = self.indices(step)[rows]
        positions = (self._places.positions[chosen] - self._origin).astype(np.float32)
        return {"images": self._places.images(chosen), "positions": positions}


class PlaceSampler:
    """P x K batches of places for ArcFace; a pure function of `(seed, step)`, nothing is mined."""

    def __init__(self, config, places: Places):
        """Cuts the training route into places.

        Raises:
          ValueError: there are too few places for a batch.
        """
        self._config, self._places = config, places
        p = config.places
        self.classes = place_classes.cut(
            places.positions,
            places.headings,
            cell=p.cell,
            heading_degrees=p.heading_degrees,
            groups=p.groups,
            min_images=p.min_images,
        )
        place_classes.batch_at(self.classes, p.batch_places, p.images_per_place, 0, 0)
        self.slot = {
            int(label): (g, i)
            for g, members in enumerate(self.classes.groups)
            for i, label in enumerate(members)
        }

    def summary(self) -> str:
        """How many places there are, and how many are in groups that fill no batch."""
        groups, p = self.classes.groups, self._config.places.batch_places
        small = sum(map(len, groups)) - sum(
            len(groups[g]) for g in place_classes.usable_groups(self.classes, p)
        )
        words = f"ArcFace: {len(self.classes)} places in {len(groups)} groups"
        if small:
            least = place_classes.fewest(p)
            words += f"; {small} of them never train, in groups of fewer than {least}"
        return words

    @property
    def mined(self) -> dict[str, np.ndarray]:
        """Nothing is mined; checkpoints hold a table all the same."""
        return {"tuples": np.zeros((1, 1), np.int32)}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Nothing is mined."""

    def round_end(self, step: int) -> int:
        """There are no rounds: the end of training."""
        return self._config.train.steps

    def starts_round(self, step: int) -> bool:
        """Nothing is mined."""
        return False

    def cached_images(self, step: int) -> int:
        """Nothing is mined."""
        return 0

    def _drawn(self, step: int) -> tuple[np.ndarray, np.ndarray, int]:
        p = self._config.places
        return place_classes.batch_at(
            self.classes, p.batch_places, p.images_per_place, self._config.seed, step
        )

    def indices(self, step: int) -> np.ndarray:
        """Image numbers `(p, k)` of one step's batch."""
        return self._drawn(step)[0]

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Rows of one step's batch.

        `images` uint8 `(p, k, h, w, 3)`; `labels` `(p,)` within the group; `group` and its size.
        """
        images, labels, group = self._drawn(step)
        images, labels = images[rows], labels[rows]
        return {
            "images": self._places.images(images),
            "labels": np.array([self.slot[int(label)][1] for label in labels], np.int32),
            "group": np.full(len(labels), group, np.int32),
            "group_size": np.full(len(labels), len(self.classes.groups[group]), np.int32),
        }

    @property
    def slots_shape(self) -> tuple[int, int]:
        """Groups, and classes of the largest group."""
        groups = self.classes.groups
        return len(groups), max(len(group) for group in groups)

    def class_members(self) -> np.ndarray:
        """The images of all classes, class by class."""
        return np.concatenate([self.classes.members[label] for label in self.slot])

    def class_starts(self, descriptors: Iterable[np.ndarray]) -> np.ndarray:
        """Class weights `(groups, n, d)` that start at the mean descriptor of each place's images.

        `descriptors` are blocks `(b, d)` of those of `class_members`, which need not fit the memory at
        once; rows past a group's classes are 0.
        """
        counts = [len(self.classes.members[label]) for label in self.slot]
        rows = np.repeat(list(self.slot.values()), counts, axis=0)  # (images, 2): group and slot
        weights, done = None, 0
        for block in descriptors:
            if weights is None:
                weights = np.zeros((*self.slots_shape, block.shape[1]), np.float32)
            group, slot = rows[done : done + len(block)].T
            np.add.at(weights, (group, slot), block)
            done += len(block)
        for place, count in zip(self.slot.values(), counts, strict=True):
            mean = weights[place] / count
            weights[place] = mean / max(np.linalg.norm(mean), 1e-12)
        return weights


def uses_places(config) -> bool:
    """Whether the loss trains on P x K batches of places rather than on tuples."""
    return config.loss.name == "arcface" and config.loss.arcface_classes == "places"


def make_sampler(config, places: Places) -> TupleSampler | PlaceSampler:
    """The sampler that the config's loss needs."""
    return PlaceSampler(config, places) if uses_places(config) else TupleSampler(config, places)
