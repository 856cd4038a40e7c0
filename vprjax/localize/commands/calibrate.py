"""`python -m vprjax.localize calibrate`: which of a model's answers are right."""

import argparse
import math
import pathlib

from vprjax.errors import ConfigError, VprjaxError
from vprjax.localize.commands.variant import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", required=True, metavar="FOLDER", help="the map's folder")
    parser.add_argument(
        "--queries",
        required=True,
        metavar="SOURCE",
        help="pictures with positions that the model did not train on, as --images of the command map",
    )
    parser.add_argument(
        "--precision", type=float, default=99.0, help="percent of located answers to be right (99)"
    )
    parser.add_argument(
        "--radius",
        type=float,
        default=25.0,
        help="an answer is right up to here, position units (25)",
    )
    parser.add_argument(
        "--test",
        metavar="SOURCE",
        help="further pictures with positions: what the threshold does there",
    )
    parser.add_argument(
        "--data_dir",
        help="where prepared datasets are; $TFDS_DATA_DIR, else ~/tensorflow_datasets",
    )


def _run(args: argparse.Namespace) -> None:
    if not 0 < args.precision <= 100:
        raise ConfigError(f"--precision={args.precision:g}: give percent above 0, up to 100")
    if args.precision <= 1:
        raise ConfigError(
            f"--precision={args.precision:g} is in percent: write {100 * args.precision:g} for that share"
        )
    if not 0 < args.radius < math.inf:
        raise ConfigError(f"--radius={args.radius:g}: give position units above 0")
    from vprjax.localize import calibrate, calibration
    from vprjax.localize.map import Map

    places = Map.open(args.map)
    queries, test = (
        calibrate.read(places, name, args.data_dir, args.radius) if name else None
        for name in (args.queries, args.test)
    )
    found = calibrate.of_map(places, queries, args.radius, args.precision / 100, args.queries)
    path = _home(places) / calibration.FILE
    found.write(path)
    print(f"{found.words(places.unit)}; written to {path}")
    if test:
        asked = calibrate.answers_of_map(places, test, args.radius)
        values, _ = asked.measures(found.measure, found.likeness)
        print(f"{args.test}: {calibration.check(found, values, asked.right).words()}")


def _home(places) -> pathlib.Path:
    """Where the map's calibration belongs: the run's workdir, unless the run loads as another model.

    A map of another size of pictures has its own, and so has a map that holds one, as that comes first.
    Where the run's is of a map with another number of images, that map may need it.
    """
    from vprjax.localize import answer, calibration
    from vprjax.localize.load import load

    workdir = pathlib.Path(places.model.source)
    if not workdir.is_dir() or (places.folder / calibration.FILE).exists():
        return places.folder
    try:
        run = load(workdir)
    except VprjaxError:  # a run of an earlier version loads with a size alone
        return places.folder
    held = calibration.from_json(run.calibration) if run.calibration else None
    shared = run.id == places.model.id and not answer.outgrown(held, len(places))
    return workdir if shared else places.folder


COMMAND = Command(
    "find how clear answers must be to keep a precision, so that others are not located",
    "python -m vprjax.localize calibrate --map=maps/monday --queries=friday/ --precision=99 --radius=25",
    _arguments,
    _run,
)
