"""Calibrates a model on queries that no training saw: descriptors in, `Calibration` out."""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from vprjax.data.source import Places
from vprjax.errors import DataError
from vprjax.evaluation import fcm
from vprjax.localize import additions, likeness, next_place, sources
from vprjax.localize.calibration import DISTANCE, RATIO, Calibration, fit
from vprjax.localize.model import Model
from vprjax.retrieval.few import Few

PRECISION = 0.99  # share of right answers where nobody asks for another
FEWEST = 10  # queries with a position that a calibration needs
MOST_LOST = 1_000  # queries whose place is taken out of the map
SAME = 1e-3  # a descriptor distance up to this is rounding: both pictures are one
MOST_OTHERS = 10_000  # images of other places that make a small map larger


class Answers(NamedTuple):
    """The first answers to the queries with a position.

    Attributes:
      ratios: `(m,)` float64, as in `next_place`.
      distances: `(m,)` float32, L2 distance of descriptors.
      right: `(m,)` bool.
      lost_ratios: `(l,)`, of the answers where the query's own place is taken out of the map.
      lost_distances: `(l,)`.
      likeness: `(m,)` of the queries to the map.
      lost_likeness: `(l,)`.
    """

    ratios: np.ndarray
    distances: np.ndarray
    right: np.ndarray
    lost_ratios: np.ndarray
    lost_distances: np.ndarray
    likeness: np.ndarray
    lost_likeness: np.ndarray

    def measures(self, measure: str, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Measures `(m,)` of the answers, `(l,)` of the lost ones; infinite below the `least` likeness."""
        known, lost = {
            DISTANCE: (self.distances, self.lost_distances),
            RATIO: (self.ratios, self.lost_ratios),
        }[measure]
        alike = self.likeness >= least, self.lost_likeness >= least
        return np.where(alike[0], known, np.inf), np.where(alike[1], lost, np.inf)


def answers(
    queries: tuple[np.ndarray, np.ndarray], references: tuple[np.ndarray, np.ndarray], radius: float
) -> Answers:
    """The answers to the queries with a position.

    Args:
      queries: descriptors `(q, d)` and positions `(q, 2)`, NaN where unknown.
      references: descriptors `(r, d)` and positions `(r, 2)`.
      radius: an answer is right up to this distance in position units; another place lies beyond it.

    Raises:
      DataError: fewer than `FEWEST` queries have a position.
    """
    known = np.flatnonzero(np.isfinite(queries[1]).all(axis=1))
    _check_count(len(known))
    rows, positions = np.asarray(queries[0][known]), queries[1][known]
    found = next_place.search(rows, *references, radius)
    errors = fcm.match_errors(positions, references[1][found.indices[:, 0]])
    lost_ratios, lost_distances, chosen = _lost((rows, positions), references, radius)
    alike = likeness.of(rows, likeness.centre(references[0]))
    return Answers(
        found.ratios[:, 0],
        found.distances[:, 0],
        errors <= radius,
        lost_ratios,
        lost_distances,
        alike,
        alike[chosen],
    )


def _check_count(count: int, name: str = "the queries") -> None:
    """Raises DataError where so few queries with a position calibrate nothing."""
    if count < FEWEST:
        raise DataError(
            f"{count} pictures of {name} have a position, and a calibration needs {FEWEST} or more; give "
            "more that the model did not train on"
        )


def _lost(queries, references, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratios and distances of the answers to at most `MOST_LOST` queries in a map without their places.

    The numbers of these queries come last.
    """
    chosen = np.unique(np.linspace(0, len(queries[0]) - 1, MOST_LOST).round().astype(int))
    few, ratios, distances, numbers = Few([references[0][:]]), [], [], []
    for number in chosen:
        row, gaps = queries[0][number], np.linalg.norm(references[1] - queries[1][number], axis=1)
        own = ~(gaps > radius)[None]  # an unknown place may be the query's
        if own.all():
            continue
        found = next_place.search_few(few, row[None], references[1], radius, 1, own)
        ratios.append(found.ratios[0, 0])
        distances.append(found.distances[0, 0])
        numbers.append(number)
    return np.array(ratios), np.array(distances), np.array(numbers, np.int64)


def other_places(images: Places, seed: int) -> Places:
    """At most `MOST_OTHERS` images of the first split, drawn by `seed`, that have a position."""
    own = images.located[images.splits[images.located] == 0]
    if len(own) > MOST_OTHERS:
        own = np.sort(np.random.default_rng(seed).choice(own, MOST_OTHERS, replace=False))
    return images.subset(own)


def of_places(
    model: Model,
    queries: Places,
    references: Places,
    radius: float,
    precision: float = PRECISION,
    others: Places | None = None,
) -> Calibration:
    """Calibrates a model on two sets of prepared images.

    Args:
      model: the model.
      queries: images that it did not train on.
      references: images of the same places.
      radius: as in `answers`.
      precision: share of right answers to keep, in 0 to 1.
      others: images of other places, from training, that the map has too. A map of a short stretch alone
        has so few that ratios are smaller than in a whole map.

    Raises:
      DataError: an image cannot be read, or too few queries have a position.
    """
    parts = [references] if others is None or not len(others) else [references, others]
    rows = np.concatenate([block for part in parts for block in model.stream(part)])
    known = rows, np.concatenate([part.positions for part in parts])
    asked = np.concatenate([*model.stream(queries)]), queries.positions
    found = answers(asked, known, radius)
    names = " and ".join(map(_names, parts)) + (" that it trained on" if len(parts) > 1 else "")
    data = f"{_names(queries)} against {names}, {model.dataset or 'untrained'}"
    return _fit(found, precision, model, data, radius)


def of_map(places, queries, radius: float, precision: float, name: str) -> Calibration:
    """Calibrates the model of a map on pictures with positions.

    Args:
      places: the `Map`.
      queries: pictures that the model did not train on, as `checked` gives them.
      radius: as in `answers`.
      precision: share of right answers to keep, in 0 to 1.
      name: of the queries, for people.

    Raises:
      DataError: a picture cannot be read, or all are copies of the map's.
    """
    found = answers_of_map(places, queries, radius)
    if (found.distances <= SAME).all():
        raise DataError(
            f"all {len(found.distances):,} pictures of {name} have an image of the map at descriptor "
            "distance 0, so they are the map's own: give pictures that it does not hold"
        )
    fitted = _fit(found, precision, places.model, f"{name} against {places.folder.name}", radius)
    return dataclasses.replace(fitted, images=len(places))


def read(places, name: str, data_dir: str | None = None, radius: float = np.inf):
    """Reads pictures with positions from the source `name`, as `checked` gives them."""
    return checked(places, sources.read(name, data_dir), name, radius)


def checked(places, queries, name: str = "the queries", radius: float = np.inf):
    """The queries of a `Map`, a `sources.Source`, with positions in its system; describes nothing.

    Args:
      places: the map.
      queries: pictures with positions.
      name: of the queries: the source that they were read from.
      radius: as in `answers`.

    Raises:
      DataError: an image of the map or too many queries lack a position, the map holds a query, no known
        change leads from their system to the map's, no query lies within the radius of the map, or the
        radius holds the whole map.
    """
    theirs = places.frames
    known = np.isfinite(theirs.positions).all(axis=1)
    if not known.all():
        raise DataError(
            f"{(~known).sum():,} of {len(theirs):,} images of {places.folder} have no position, "
            "so nothing says whether an answer with one of them is right; build a map without them"
        )
    _check_count(np.isfinite(queries.frames.positions).all(axis=1).sum(), name)
    own = additions.held(places.header, theirs, queries.frames, name)
    if own:
        raise DataError(
            f"{own:,} of {len(queries.frames):,} pictures of {name} are images of the map itself: give "
            "pictures that it does not hold"
        )
    frames = additions.in_system(queries.frames, places.header, name, "bring both to one system")
    asked = frames.positions[np.isfinite(frames.positions).all(axis=1)]
    nearest = cKDTree(theirs.positions).query(asked)[0].min()
    if nearest > radius:
        raise DataError(
            f"no picture of {name} lies within {radius:g} {places.unit} of an image of the map, the "
            f"nearest is {nearest:g} {places.unit} away: "
            "no answer can be right; check the positions and the radius"
        )
    gaps = (np.linalg.norm(theirs.positions - one, axis=1).max() for one in asked)
    if np.isfinite(radius) and all(gap <= radius for gap in gaps):
        raise DataError(
            f"every image of the map lies within {radius:g} {places.unit} of every picture of {name}, so "
            "no answer can be wrong: give a smaller radius"
        )
    return dataclasses.replace(queries, frames=frames)


def answers_of_map(places, queries, radius: float) -> Answers:
    """`answers` of a map to pictures with positions, as `checked` gives them."""
    own, theirs = queries.frames, places.frames
    pictures = queries.pictures(places.model.form)
    rows = np.concatenate([*places.model.stream(pictures)])
    return answers((rows, own.positions), (places.descriptors, theirs.positions), radius)


def _fit(found: Answers, precision: float, model: Model, data: str, radius: float) -> Calibration:
    least = likeness.limit(found.likeness)
    facts = {"model": model.id, "data": data, "radius": float(radius), "likeness": least}
    plain, ratio = (
        fit(values, found.right, precision, lost, measure=measure, **facts)
        for measure in (DISTANCE, RATIO)
        for values, lost in [found.measures(measure, least)]
    )
    return dataclasses.replace(ratio, plain=plain)


def _names(places: Places) -> str:
    names = [places.split_names[number] for number in np.unique(places.splits)]
    return f"{len(places):,} images of {', '.join(names)}"
