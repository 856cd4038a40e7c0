"""What a calibration does on other queries: precision, share located, and pictures of elsewhere refused."""

import argparse
import pathlib
import tempfile

from analysis.localize_record import share

import vprjax
from vprjax.evaluation import bootstrap
from vprjax.localize import calibrate, calibration, sources

TITLE = "Calibrations on queries that they have not seen; %, 95 % intervals in brackets"
COLUMNS = {
    "asked for": lambda f: share(f["precision_asked"]),
    "calibrated on": lambda f: f"{f['calibrated_on']} ({f['calibration_queries']})",
    "tested on": lambda f: f"{f['tested_on']} ({f['queries']})",
    "FCM within the radius": lambda f: share(f["right"]),
    "rule": lambda f: f["rule"],
    "on validation: precision, located": lambda f: _validation(f),
    "precision of located": lambda f: (
        share(f["precision"], f["precision_interval"]) if f["answered"] else "none located"
    ),
    "located": lambda f: share(f["answered"], f["answered_interval"]),
    "elsewhere refused": lambda f: "; ".join(
        f"{name}: {share(one['refused'], one['interval'])} of {one['pictures']}"
        for name, one in f["elsewhere"].items()
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    add = parser.add_argument
    add("--run", type=pathlib.Path, required=True, help="workdir of a run")
    add("--reference", required=True, help="source of the map, e.g. synthetic/default:reference")
    add("--queries", default="", help="source to calibrate on; the run's own calibration without")
    add("--test", required=True, help="source to test on")
    add("--elsewhere", action="append", default=[], help="source of pictures of another place")
    add("--precision", type=float, default=99.0, help="percent asked for (99)")
    add("--radius", type=float, default=25.0, help="an answer is right up to here (25)")
    add("--plain", action="store_true", help="by distances, as in a map without positions")
    add("--data_dir", help="where prepared datasets are")


def measure(args) -> tuple[str, dict]:
    """The row's name and its facts."""
    model = vprjax.load(args.run)
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder) / "map"
        places = vprjax.Map.build(model, args.reference, at, args.data_dir)
        if args.queries:
            queries = calibrate.read(places, args.queries, args.data_dir)
            whole = calibrate.of_map(
                places, queries, args.radius, args.precision / 100, args.queries
            )
        else:
            whole = places.calibration
            if whole is None:
                raise SystemExit(f"{args.run} has no calibration: name --queries=SOURCE")
        found = whole.plain if args.plain else whole
        test = calibrate.read(places, args.test, args.data_dir)
        asked = calibrate.answers_of_map(places, test, whole.radius)
        values, _ = asked.measures(found.measure, found.likeness)
        checked = calibration.check(found, values, asked.right)
        facts = {
            "precision_asked": found.precision,
            "calibrated_on": args.queries or whole.data,
            "calibration_queries": found.queries,
            "tested_on": args.test,
            "queries": checked.queries,
            "right": float(asked.right.mean()),
            "rule": found.measure,
            "threshold": found.threshold,
            "likeness": found.likeness,
            "validation": [found.reached, found.answered],
            "precision": checked.precision,
            "precision_interval": checked.precision_interval,
            "answered": checked.answered,
            "answered_interval": checked.answered_interval,
            "elsewhere": {
                "/".join(pathlib.Path(name).parts[-2:]): _refused(
                    places, sources.read(name, args.data_dir), found
                )
                for name in args.elsewhere
            },
        }
    kind = "its own calibration" if not args.queries else args.queries
    other = f", {100 * found.precision:g} %" if found.precision != calibrate.PRECISION else ""
    return f"{model.title}, {kind}, {found.measure}{other}", facts


def _validation(facts: dict) -> str:
    return ", ".join(map(share, facts["validation"])) if "validation" in facts else ""


def _refused(places, elsewhere, found: calibration.Calibration) -> dict:
    """The share of pictures of another place that are not located."""
    pictures = elsewhere.pictures(places.model.form)
    images = [*pictures.images(range(len(pictures)))]
    rows = places.model.describe(images)
    answers = places.query_descriptors(rows, 1, found)
    refused = [[answer.located is False] for answer in answers]
    (bounds,), _ = bootstrap.share_interval(refused)
    return {
        "pictures": len(answers),
        "refused": sum(map(sum, refused)) / len(refused),
        "interval": bounds.tolist(),
    }
