"""P x K batches of places: for losses on class weights, and on all pairs of a batch."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vprjax.data.source import Places
from vprjax.data.together import joined
from vprjax.losses import LOSSES
from vprjax.sampling import domains, place_classes

_STREAM = 7  # of the draws of datasets


class PlaceSampler:
    """P x K batches of places, a pure function of `(seed, step)`; nothing is mined."""

    BATCH_KEY = "places.batch_places"
    MIRRORS = False  # a mirrored place is another place
    LEARNS_CLASSES = True
    without_effect = ("tuples.heading_degrees",)  # the keys that change nothing for these images

    @staticmethod
    def batch_size(config) -> int:
        """Returns the places per step, over all devices."""
        return config.places.batch_places

    @staticmethod
    def lengths(config) -> tuple[str, ...]:
        """Returns the keys of `others` that count in position units; labels have none."""
        return ("cell",) if config.places.by == "cell" else ()

    @staticmethod
    def objections(config) -> Iterator[tuple[bool, str]]:
        """Yields pairs: whether the config holds a value that this sampler refuses, and the sentence."""
        places = config.places
        bins = math.ceil(360 / places.heading_degrees) if places.heading_degrees else 1
        yield (
            places.groups > 1 and bins > 1 and bins % 2 == 1,
            f"places.heading_degrees={places.heading_degrees:g} cuts 360 degrees into {bins} parts, but "
            "only an even number puts neighbours into different groups: change it or set places.groups=1",
        )

    @staticmethod
    def against_accumulation(config) -> list[str]:
        """Returns what `train.accumulate` above 1 would spoil: nothing."""
        return []

    def __init__(self, config, places: Places, others: Sequence[Places] = ()):
        """Cuts the routes of the home dataset's `places` and of the `others` into places.

        Raises:
          ValueError: the places of a dataset are too few for a batch.
        """
        self._config, parts = config, [places, *others]
        # a step asks for its numbers and for its images
        self._drawn = functools.lru_cache(2)(self._draw)
        self._places = joined(parts)
        found = []
        for number, part in enumerate(parts):
            with domains.naming(config, number):
                found.append(_classes(config.places, part, domains.cell(config, number)))
        firsts = np.cumsum([0, *map(len, parts[:-1])])
        self.classes = found[0] if len(parts) == 1 else place_classes.merged(found, firsts)
        ends = np.cumsum([len(part.groups) for part in found])
        self._groups = [range(e - len(f.groups), e) for e, f in zip(ends, found, strict=True)]
        for number in range(len(parts)):
            with domains.naming(config, number):
                self._batch_of(number, 0)
        self.slot = {
            int(label): (g, i)
            for g, members in enumerate(self.classes.groups)
            for i, label in enumerate(members)
        }

    def check_rounds(self, step: int) -> None:
        """Checks nothing: the constructor knows every batch."""

    def summary(self) -> str:
        """Returns one line: the number of places, and of those in groups that fill no batch."""
        groups, p = self.classes.groups, self._config.places.batch_places
        small = sum(map(len, groups)) - sum(
            len(groups[g]) for g in place_classes.usable_groups(self.classes, p)
        )
        title = LOSSES[self._config.loss.name].title
        words = f"{title}: {len(self.classes)} places in {len(groups)} groups"
        if small:
            least = place_classes.fewest(p)
            words += f"; {small} never train, as their groups hold fewer than {least}"
        return words

    @property
    def mined(self) -> dict[str, np.ndarray]:
        """A table for checkpoints, although nothing is mined."""
        return {"tuples": np.zeros((1, 1), np.int32)}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Does nothing, as nothing is mined."""

    def round_end(self, step: int) -> int:
        """Returns the end of training, as there are no rounds."""
        return self._config.train.steps

    def starts_round(self, step: int) -> bool:
        """Returns False, as nothing is mined."""
        return False

    def cached_images(self, step: int) -> int:
        """Returns 0, as nothing is mined."""
        return 0

    def _draw(self, step: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Returns the batch of a step, which is of one dataset."""
        (number,) = domains.drawn(self._config, len(self._groups), _STREAM, step, 1)
        return self._batch_of(number, step)

    def _batch_of(self, number: int, step: int) -> tuple[np.ndarray, np.ndarray, int]:
        p, seed = self._config.places, self._config.seed
        sizes = p.batch_places, p.images_per_place
        return place_classes.batch_at(self.classes, *sizes, seed, step, self._groups[number])

    def indices(self, step: int) -> np.ndarray:
        """Returns the image numbers `(p, k)` of one step's batch."""
        return self._drawn(step)[0]

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Returns `rows` of one step's batch.

        `images` are uint8 `(p, k, h, w, 3)` and `labels` `(p,)` count within the group. `group` and
        `group_size` are `(p,)`, the same in every row.
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
        """The number of groups, and of classes in the largest group."""
        groups = self.classes.groups
        return len(groups), max(len(group) for group in groups)

    def class_members(self) -> np.ndarray:
        """Returns the images of all classes, class by class."""
        return np.concatenate([self.classes.members[label] for label in self.slot])

    def class_starts(self, descriptors: Iterable[np.ndarray]) -> np.ndarray:
        """Returns class weights `(groups, n, d)` that start at the mean descriptor of each place's images.

        `descriptors` are blocks `(b, d)` in the order of `class_members`; the memory need not hold them all
        at once. Rows past a group's classes are 0.
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


def _classes(p, places: Places, cell: float) -> place_classes.PlaceClasses:
    """The classes that the `places` section asks for, in cells of this side."""
    if p.by == "label":
        return place_classes.of_labels(places.labels, p.min_images)
    return place_classes.cut(
        places.positions,
        places.headings,
        cell=cell,
        heading_degrees=p.heading_degrees,
        groups=p.groups,
        min_images=p.min_images,
    )


class BatchSampler(PlaceSampler):
    """The same batches for a loss on all their pairs, which learns no class weights."""

    MIRRORS = True  # all images of a place at once
    LEARNS_CLASSES = False

    @staticmethod
    def against_accumulation(config) -> list[str]:
        """Returns what `train.accumulate` above 1 would spoil."""
        return [f"hide part of the batch from {config.loss.name}"]
