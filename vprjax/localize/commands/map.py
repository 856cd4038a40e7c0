"""`python -m vprjax.localize map`: describes images and keeps them as a map."""

import argparse
import pathlib

from vprjax.localize.commands.variant import Command, size


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        help="workdir of a run, or a file of python -m vprjax.export, a released model or a backbone",
    )
    parser.add_argument(
        "--images",
        required=True,
        metavar="SOURCE",
        help="a folder in any layout that tfds_builders reads (FOLDER:SPLIT takes one split), its "
        "places.csv, a positions file (.json), or a split of a prepared dataset such as "
        "places_csv/mine:reference",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the map's folder")
    parser.add_argument(
        "--add", action="store_true", help="add to the map in --out the images that it lacks"
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="size that images are brought to; the model's own by default, with --add the map's",
    )
    parser.add_argument(
        "--data_dir",
        help="where prepared datasets are; $TFDS_DATA_DIR, else ~/tensorflow_datasets",
    )


def _run(args: argparse.Namespace) -> None:
    wanted = size(args.size)
    from vprjax.console import log
    from vprjax.localize import answer, folder
    from vprjax.localize.load import load
    from vprjax.localize.map import Map

    if not args.add:
        folder.check_own(pathlib.Path(args.out).expanduser())  # before the model is loaded
    if args.add and wanted is None:
        wanted = tuple(Map.open(args.out).header["model"]["size"])
    model = load(args.model, wanted)
    if args.add:
        places = Map.open(args.out, model)
        places.add(args.images, args.data_dir)
    else:
        places = Map.build(model, args.images, args.out, args.data_dir)
    located = int((places.frames.positions == places.frames.positions).all(axis=1).sum())
    log(f"{args.out}: {len(places):,} images, {located:,} with a position; {model.title}")
    if args.add and (words := answer.outgrown(places.calibration, len(places))):
        log(words)


COMMAND = Command(
    "describe images and keep them as a map; a killed command goes on where it stopped",
    "python -m vprjax.localize map --model=runs/mine --images=monday/ --out=maps/monday",
    _arguments,
    _run,
)
