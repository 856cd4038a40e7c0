"""`python -m vprjax.localize loops`: pairs of a map's images that show one place at different times."""

import argparse
import pathlib

from vprjax.errors import ConfigError, DataError
from vprjax.localize.commands.variant import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", required=True, metavar="FOLDER", help="the map's folder")
    parser.add_argument(
        "--out",
        required=True,
        metavar="PREFIX",
        help="writes PREFIX-pairs.txt and -descriptors.h5 (hloc), -colmap.txt and -g2o.csv",
    )
    parser.add_argument(
        "--window",
        metavar="SECONDSs|FRAMESf",
        help="what is too near in time: 30s or 50f (30s; 50f in a map without times)",
    )
    parser.add_argument("--k", type=int, default=1, help="pairs per image, at most (1)")
    parser.add_argument(
        "--threshold",
        type=float,
        help="least confidence of a pair, 0 to 1 (what the model's calibration locates; all without one)",
    )


def _run(args: argparse.Namespace) -> None:
    out = pathlib.Path(args.out).expanduser()
    if not out.name or args.out.endswith("/"):
        raise ConfigError(
            f"--out={args.out}: give what the files' names begin with, such as loops/monday"
        )
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out={out}: there is no folder {out.absolute().parent}; make it")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ConfigError(f"--threshold={args.threshold:g}: give a confidence from 0 to 1")
    import numpy as np

    from vprjax.console import log
    from vprjax.localize import answer, loop_files, loops
    from vprjax.localize.map import Map
    from vprjax.localize.pair_formats import FORMATS
    from vprjax.localize.pair_formats.variant import image_root

    loop_files.check_own(out)
    places = Map.open(args.map)
    for output in FORMATS.values():
        output.check(places)
    known = not np.isnan(places.frames.times).any()
    window = loops.Window.parse(args.window or ("30s" if known else "50f"))
    calibration = _calibration(places)
    for words in answer.doubts(calibration, places.frames.positions):
        log(words.replace("answers with one", "pairs"))
    pairs = loops.find(places, window, args.k, args.threshold, calibration)
    loop_files.write(out, places, pairs)
    root = image_root(places)
    below = f"; names are files below {root} (hloc's and COLMAP's image folder)" if root else ""
    log(f"{len(pairs):,} pairs of {len(places):,} images in {out}-*{below}")


def _calibration(places):
    """The calibration of the map's model; None where the model is not there, which no pair needs."""
    from vprjax.console import log

    try:
        return places.calibration
    except DataError as error:
        log(f"without a calibration: {error}")
        return None


COMMAND = Command(
    "find pairs of a map's images that show one place at different times",
    "python -m vprjax.localize loops --map=maps/monday --out=loops-monday --window=30s --k=3",
    _arguments,
    _run,
)
