"""The datasets of one run: which of them a tuple or a batch of places comes from, and one's own tuples.

The numbers of a run's images count the home dataset's first, then those of every other in turn.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from ml_collections import ConfigDict
from scipy.spatial import cKDTree

from vprjax.console import log
from vprjax.data.source import Places
from vprjax.sampling import mining, negatives
from vprjax.sampling.poses import Poses

RADII = ("positive_radius", "negative_radius", "other_visit_seconds")


def shares(config, count: int) -> np.ndarray:
    """Returns the share of each of `count` datasets, the home one first: `(count,)`, of sum 1."""
    others = np.array(config.others.weights[: count - 1], np.float64)
    return np.array([1 - others.sum(), *others])


def drawn(config, count: int, stream: int, number: int, size: int) -> np.ndarray:
    """Returns `size` numbers of datasets, drawn by their shares: a pure function of `(seed, number)`."""
    if count == 1:
        return np.zeros(size, np.int64)
    rng = np.random.default_rng((config.seed, stream, number))
    return rng.choice(count, size, p=shares(config, count))


def tuples_section(config, number: int):
    """Returns the `tuples` section of dataset `number`: with its own radii, where `others` has some."""
    section = ConfigDict(config.tuples)
    for key in RADII if number else ():
        if own := config.others[key]:
            section[key] = float(own[number - 1])
    return section


def cell(config, number: int) -> float:
    """Returns the side of a place's cell in dataset `number`, in its position units."""
    own = config.others.cell
    return own[number - 1] if number and own else config.places.cell


@dataclasses.dataclass(frozen=True)
class Domain:
    """One dataset's images, positives and rule; its numbers count its own images.

    Attributes:
      first: the run's number of its first image.
      places: its images.
      tuples: its `tuples` section.
      seed: of its pools and choices.
      poses: the poses of its images.
      positives: the positives of its images.
    """

    first: int
    places: Places
    tuples: ConfigDict
    seed: int
    poses: Poses
    positives: mining.Positives

    def queries(self, first: int, count: int) -> np.ndarray:
        """Returns `count` entries of its stream of queries."""
        return mining.queries_at(self.positives.queries, self.seed, first, count)

    def round(self, number: int, queries: np.ndarray, remembered: np.ndarray) -> mining.Round:
        """Returns its part of a mining round; `remembered` holds the run's numbers, for all images."""
        pool = mining.pool_at(len(self.places), self.tuples.mining_pool, self.seed, number)
        pool = pool if self.tuples.negatives else pool[:0]  # in_batch needs none
        own = remembered[self.first : self.first + len(self.places)]
        own = np.where(own == mining.NONE, mining.NONE, own - self.first)
        return mining.Round(queries, pool, own, self.seed, number)

    def images_to_cache(self, part: mining.Round) -> np.ndarray:
        """Returns ascending numbers of the images whose descriptors its part of a round reads."""
        return mining.images_to_cache(
            part,
            self.positives,
            with_positives=self.tuples.positive == "best" or self.tuples.mining == "semi_hard",
            fewest=mining.POSITIVES if self.tuples.mining_pool else len(self.places),
        )

    def mine(self, part: mining.Round, cache, similarities: Callable) -> np.ndarray:
        """Returns its tuples of a round `(rows, 2 + n)`, in the run's numbers.

        Raises:
          ValueError: too few images lie beyond the negative radius.
        """
        rule = mining.Rule(
            negatives=self.tuples.negatives,
            negative_radius=self.tuples.negative_radius,
            place_radius=self.tuples.positive_radius,
            best_positive=self.tuples.positive == "best",
            semi_hard=self.tuples.mining == "semi_hard",
        )
        args = part, rule, self.positives, self.poses, cache, similarities
        return mining.mine(*args) + np.int32(self.first)


@contextlib.contextmanager
def naming(config, number: int) -> Iterator[None]:
    """A context whose ValueError says which of `others` it is about; its radii are that one's."""
    try:
        yield
    except ValueError as error:
        name = f"{config.others.names[number - 1]} of others.names: " if number else ""
        raise ValueError(f"{name}{error}") from error


def make(config, number: int, first: int, places: Places, unit: str) -> Domain:
    """Finds the positives of every image of dataset `number`, in position units named `unit`.

    Raises:
      ValueError: no image has a positive.
    """
    tuples = tuples_section(config, number)
    visit = mining.visits(places.timestamps, places.splits, tuples.other_visit_seconds)
    poses = _poses(places, tuples.heading_degrees)
    positives = mining.Positives(poses, visit, tuples.positive_radius)
    if not len(positives.queries):
        raise ValueError(_no_positives(places, visit, tuples, unit))
    seed = config.seed
    if number:  # other draws than the home dataset's
        seed = int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])
    return Domain(first, places, tuples, seed, poses, positives)


def check_negatives(domain: Domain, count: int, unit: str) -> None:
    """Checks that the first `count` queries have their negatives.

    Raises:
      ValueError: too few images lie beyond the negative radius.
    """
    asked = np.unique(domain.queries(0, min(count, len(domain.positives.queries))))
    if len(asked):
        negatives.check_places(domain.places, domain.poses, asked, domain.tuples, unit)


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
