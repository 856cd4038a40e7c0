"""Calibrates a model on queries that no training saw: descriptors in, `Calibration` out."""

import numpy as np

from vprjax import retrieval
from vprjax.data.source import Places
from vprjax.errors import DataError
from vprjax.evaluation import fcm
from vprjax.localize.calibration import Calibration, fit
from vprjax.localize.model import Model

PRECISION = 0.99  # share of right answers where nobody asks for another
FEWEST = 10  # queries with a position that a calibration needs


def answers(
    queries: tuple[np.ndarray, np.ndarray], references: tuple[np.ndarray, np.ndarray], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distances `(m,)` of the queries with a position to their nearest references, and which are right.

    Args:
      queries: descriptors `(q, d)` and positions `(q, 2)`, NaN where unknown.
      references: descriptors `(r, d)` and positions `(r, 2)`.
      radius: an answer is right up to this distance in position units.

    Raises:
      DataError: fewer than `FEWEST` queries have a position.
    """
    known = np.flatnonzero(np.isfinite(queries[1]).all(axis=1))
    if len(known) < FEWEST:
        raise DataError(
            f"{len(known)} queries have a position, and a calibration needs {FEWEST} or more; give more "
            "queries that the model did not train on"
        )
    found = retrieval.search(np.asarray(queries[0][known]), references[0], 1)
    matched = references[1][found.indices[:, 0]]
    errors = fcm.match_errors(queries[1][known], matched)
    return found.distances[:, 0], errors <= radius


def of_places(
    model: Model, queries: Places, references: Places, radius: float, precision: float = PRECISION
) -> Calibration:
    """Calibrates a model on two sets of prepared images.

    Args:
      model: the model.
      queries: images that it did not train on.
      references: images of the same places.
      radius: as in `answers`.
      precision: share of right answers to keep, in 0 to 1.

    Raises:
      DataError: an image cannot be read, or too few queries have a position.
    """
    sides = [
        (np.concatenate([*model.stream(places)]), places.positions)
        for places in (queries, references)
    ]
    distances, right = answers(*sides, radius)
    data = f"{_names(queries)} against {_names(references)}, {model.dataset or 'untrained'}"
    return fit(distances, right, precision, model=model.id, data=data, radius=float(radius))


def of_map(places, queries, radius: float, precision: float, name: str) -> Calibration:
    """Calibrates the model of a map on pictures with positions.

    Args:
      places: the `Map`.
      queries: a `sources.Source` of pictures that the model did not train on.
      radius: as in `answers`.
      precision: share of right answers to keep, in 0 to 1.
      name: of the queries, for people.

    Raises:
      DataError: a picture cannot be read, too few have a position, or their system is not the map's.
    """
    distances, right = answers_of_map(places, queries, radius)
    data = f"{name} against {places.folder.name}"
    return fit(distances, right, precision, model=places.model.id, data=data, radius=float(radius))


def answers_of_map(places, queries, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """`answers` of a map to a `sources.Source` of pictures with positions."""
    own, theirs = queries.frames, places.frames
    if (own.unit, own.crs) != (theirs.unit, theirs.crs):
        raise DataError(
            f"positions of the queries are {own.crs or 'of no known system'} in {own.unit}, the map's "
            f"{theirs.crs or 'of no known system'} in {theirs.unit}: bring both to one system"
        )
    known = np.flatnonzero(np.isfinite(theirs.positions).all(axis=1))
    if len(known) < len(theirs):
        raise DataError(
            f"{len(theirs) - len(known):,} of {len(theirs):,} images of {places.folder} have no position, "
            "so nothing says whether an answer with one of them is right; build a map without them"
        )
    pictures = queries.pictures(places.model.form)
    rows = np.concatenate([*places.model.stream(pictures)])
    return answers((rows, own.positions), (places.descriptors, theirs.positions), radius)


def _names(places: Places) -> str:
    return f"{len(places):,} images of {', '.join(places.split_names)}"
