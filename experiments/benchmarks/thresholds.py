"""Rules for what counts as located, side by side: fitted to calibration data, measured on other queries."""

import argparse
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from analysis.localize_record import share

import vprjax
from vprjax.evaluation import bootstrap
from vprjax.localize import calibrate, calibration, likeness, next_place, sources

TITLE = "Rules for located, asked for 99 %: share located, then precision (95 % interval); %"
COLUMNS = {
    "measure": lambda f: f["measure"],
    "an answer counts up to where": lambda f: RULES[f["rule"]][0],
    "least likeness": lambda f: LEAST[f["least"]],
    "validation, located": lambda f: share(f["validation"]),
    "test, located": lambda f: share(f["answered"]),
    "test, precision": lambda f: _precision(f),
    "elsewhere refused": lambda f: " / ".join(share(x) for x in f["elsewhere"].values()),
}
PRECISION, LEVEL = 0.99, 0.95
LEAST = {0.0: "none", likeness.UNLIKE: "1 % of the queries"}


class Counts(NamedTuple):
    """What lies up to a threshold.

    Attributes:
      queries: all of them.
      located: those located.
      wrong: the wrong ones of these.
      lost: share of the lost queries that are located.
    """

    queries: int
    located: int
    wrong: int
    lost: float


def _bound(found: Counts) -> float:
    """Clopper and Pearson's one-sided lower bound of the precision."""
    right = found.located - found.wrong
    return bootstrap.clopper_pearson(np.array([right]), found.located, 2 * LEVEL - 1)[0, 0]


RULES: dict[str, tuple[str, Callable[[Counts], float]]] = {
    "plain": ("the precision holds", lambda c: 1 - c.wrong / c.located),
    "one_more": (
        "it holds with one more wrong answer (conformal selection)",
        lambda c: 1 - (c.wrong + 1) / c.located,
    ),
    "bound": ("its 95 % lower bound holds (Clopper-Pearson)", _bound),
    "half": (
        "it holds with half of all queries lost",
        lambda c: (c.located - c.wrong) / (c.located + c.lost * c.queries),
    ),
}


def _own(distances):
    return np.maximum(distances.astype(np.float64), next_place.ROUNDING)


MEASURES = {  # of distances and ratios; the smaller, the surer
    "ratio": lambda distances, ratios: ratios,
    "distance": lambda distances, ratios: distances.astype(np.float64),
    "difference": lambda distances, ratios: _own(distances) * (1 - 1 / ratios),
    "ratio x distance": lambda distances, ratios: ratios * distances,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    add = parser.add_argument
    add("--run", type=pathlib.Path, required=True, help="workdir of a run")
    add("--known", action="append", required=True, help="source of the calibration's map")
    add("--queries", required=True, help="source to calibrate on")
    add("--reference", help="source of the map that is tested; the calibration's without")
    add("--test", required=True, help="source to test on")
    add("--elsewhere", action="append", default=[], help="source of pictures of another place")
    add("--radius", type=float, default=25.0, help="an answer is right up to here (25)")
    add("--data_dir", help="where prepared datasets are")


def measure(args) -> list[tuple[str, dict]]:
    """The rows' names and their facts."""
    model = vprjax.load(args.run)
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        known = vprjax.Map.build(model, args.known[0], at / "known", args.data_dir)
        for more in args.known[1:]:
            known.add(more, args.data_dir)
        places = known
        if args.reference:
            places = vprjax.Map.build(model, args.reference, at / "map", args.data_dir)
        fitted, tested = (
            calibrate.answers_of_map(held, calibrate.read(held, name, args.data_dir), args.radius)
            for held, name in ((known, args.queries), (places, args.test))
        )
        strange = {
            "/".join(pathlib.Path(name).parts[-2:]): _strangers(
                places, sources.read(name, args.data_dir), args.radius
            )
            for name in args.elsewhere
        }
    title = f"{model.title}, {args.queries}"
    return [
        (f"{title}, {kind}, {rule}, {least:g}", _row(kind, rule, least, fitted, tested, strange))
        for kind in MEASURES
        for rule in RULES
        for least in LEAST
    ]


def _strangers(places, elsewhere, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, ratios and likeness of pictures of another place."""
    rows = np.concatenate([*places.model.stream(elsewhere.pictures(places.model.form))])
    found = next_place.search(rows, places.descriptors, places.frames.positions, radius)
    alike = likeness.of(rows, likeness.centre(places.descriptors))
    return found.distances[:, 0], found.ratios[:, 0], alike


def _row(kind: str, rule: str, least: float, fitted, tested, strange: dict) -> dict:
    limit = likeness.limit(fitted.likeness) if least else -np.inf

    def values(distances, ratios, alike):
        return np.where(alike >= limit, MEASURES[kind](distances, ratios), np.inf)

    own = values(fitted.distances, fitted.ratios, fitted.likeness)
    lost = values(fitted.lost_distances, fitted.lost_ratios, fitted.lost_likeness)
    threshold = _threshold(own, fitted.right, np.sort(lost), RULES[rule][1])
    located = values(tested.distances, tested.ratios, tested.likeness) <= threshold
    facts = {
        "measure": kind,
        "rule": rule,
        "least": least,
        "threshold": threshold if np.isfinite(threshold) else None,
        "validation": float((own <= threshold).mean()),
        "answered": float(located.mean()),
        "precision": None,
        "elsewhere": {
            name: float((values(*one) > threshold).mean()) for name, one in strange.items()
        },
    }
    if located.any():
        bounds, _ = bootstrap.share_interval(tested.right[located][:, None])
        facts |= {"precision": float(tested.right[located].mean()), "interval": bounds[0].tolist()}
    return facts


def _threshold(own, right, lost, held: Callable[[Counts], float]) -> float:
    """The largest value at which the rule holds and lost queries are refused; minus infinity for none."""
    for value in np.unique(own[np.isfinite(own)])[::-1]:
        near, strange = own <= value, float((lost <= value).mean())
        counts = Counts(len(own), int(near.sum()), int((near & ~right).sum()), strange)
        if strange <= 1 - calibration.REFUSED + 1e-9 and held(counts) >= PRECISION - 1e-9:
            return float(value)
    return -np.inf


def _precision(facts: dict) -> str:
    return "" if facts["precision"] is None else share(facts["precision"], facts["interval"])
