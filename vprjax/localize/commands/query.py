"""`python -m vprjax.localize query`: says where pictures were taken."""

import argparse
import itertools
import math
import os
import pathlib
import sys

from vprjax.errors import ConfigError
from vprjax.localize.commands.variant import Command

PAGE = "<!doctype html>"  # what a page begins with


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", required=True, metavar="FOLDER", help="the map's folder")
    parser.add_argument(
        "--images",
        required=True,
        metavar="FILE|FOLDER|GLOB|VIDEO|-",
        help="a picture, a folder, a glob in quotes, a video; - reads JPEG or PNG images from standard "
        "input, one after the other as ffmpeg -f image2pipe writes them, and answers each before the next",
    )
    parser.add_argument("--k", type=int, default=5, help="places to name per picture (5)")
    parser.add_argument("--fps", type=float, help="frames per second of a video (1)")
    parser.add_argument(
        "--metres",
        type=float,
        help="instead of --fps: one frame of a video per so many metres of its --track; where the camera "
        "stands, none",
    )
    parser.add_argument(
        "--track", metavar="FILE", help="a video's .gpx, or a .csv of time,x,y or time,lat,lon"
    )
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="when the video starts on the track's clock, such as 2024-02-29T12:00:00+01:00, or in seconds "
        "where a CSV has seconds (when the track does)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="answers as .csv, .json or .geojson (WGS84); without it, lines of CSV on standard output",
    )
    parser.add_argument(
        "--page", metavar="FILE.html", help="one page with the route, every answer and pictures"
    )
    parser.add_argument(
        "--speed",
        type=float,
        help="pictures are one drive, and the camera moves at most so many position units per second: each "
        "answer takes the earlier ones into account; --fps gives the pictures' pace",
    )
    parser.add_argument("--model", help="the map's model, where it is no longer at its old path")


def _check_numbers(args: argparse.Namespace) -> None:
    """Raises ConfigError where a pace or a number of places means nothing."""
    for name, what in (("fps", "frames per second"), ("metres", "metres per frame")):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name}={value:g}: give {what} above 0")
    if args.speed is not None and not 0 < args.speed < math.inf:
        raise ConfigError(f"--speed={args.speed:g}: give position units per second above 0")
    if args.k < 1:
        raise ConfigError(f"--k={args.k}: give 1 or more")


def _check_track(args: argparse.Namespace) -> None:
    """Raises ConfigError where options of a video and its track do not go together."""
    if args.metres is None:
        for name in ("track", "start"):
            if getattr(args, name) is not None:
                raise ConfigError(
                    f"--{name} serves --metres alone: give --metres=5 too, or leave it out"
                )
        return
    if args.fps is not None:
        raise ConfigError("--fps and --metres both say which frames are taken: give one of them")
    if not args.track:
        raise ConfigError(
            f"--metres={args.metres:g} counts along the way that the video went: give --track=FILE, its "
            ".gpx or a .csv of time,x,y or time,lat,lon"
        )
    from vprjax.localize.inputs import is_video

    if not is_video(args.images):
        raise ConfigError(
            f"--metres is for a video's file, and {args.images} is none: leave it out"
        )


def _along(args: argparse.Namespace):
    """What takes frames along the track; None without `--metres`."""
    if args.metres is None:
        return None
    from vprjax.console import log
    from vprjax.localize import along

    found = along.Along(along.read(args.track, args.start), args.metres)
    for words in found.doubts:
        log(words)
    return found


def _run(args: argparse.Namespace) -> None:
    _check_numbers(args)
    _check_track(args)
    from vprjax.console import log
    from vprjax.localize import answer, inputs
    from vprjax.localize.load import load
    from vprjax.localize.map import Map

    args.out, args.page = (path and os.path.expanduser(path) for path in (args.out, args.page))
    output = _format(args.out)
    _check_page(args.page)
    places = Map.open(args.map)
    if output:
        output.check(places)
    along, fps = _along(args), args.fps or 1.0
    asked = inputs.read(args.images, fps, along)
    if args.model:
        places = Map.open(args.map, load(args.model, tuple(places.header["model"]["size"])))
    live, found = inputs.is_live(args.images), []
    if args.speed is None:
        for words in answer.doubts(places.calibration, places.frames.positions):
            log(words)
    page = _page(places) if args.page else None

    def keep() -> None:
        if output and found:
            _write(pathlib.Path(args.out), output.text(places, found))
        if page and found:
            page.write(pathlib.Path(args.page), along.notes if along else ())

    try:
        if args.speed is None:
            answered = _answered(places, asked, args.k, 1 if live else places.model.batch)
        else:
            answered = _followed(places.follow(args.speed), asked, args.k, 1 / fps)
        for one in answered:
            if page:
                page.add(one[0].name, one[1], one[0].picture)
            if live or not output:
                _print(one, first=not found, k=min(args.k, len(places)))
            found.append(one if output else None)
    except BaseException as error:
        if live or isinstance(error, KeyboardInterrupt):  # what was answered is kept
            keep()
        raise  # a damaged picture leaves an earlier file as it is
    if along:
        along.check(args.images)
        if along.left_out:
            log(along.left_out)
    keep()
    words = "picture" if len(found) == 1 else "pictures"
    log(f"{len(found):,} {words} answered" + (f" in {args.out}" if output and found else ""))


def _check_page(path: str | None) -> None:
    folder = pathlib.Path(path or ".").absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"--page={path}: there is no folder {folder}; make it")
    if path and not path.lower().endswith((".html", ".htm")):
        raise ConfigError(f"--page={path}: give a file ending in .html")
    _check_own("--page", path, PAGE)


def _check_own(option: str, path: str | None, start: str) -> None:
    """Raises ConfigError where the file is there and is none that this command wrote."""
    from vprjax.storage.atomic import check_own

    if path:
        check_own(option, pathlib.Path(path), start)


def _page(places):
    from vprjax.localize.page import Page  # imports matplotlib

    return Page(places, places.model.form)


def _format(out: str | None):
    """The format of `--out`, None without it."""
    if out is None:
        return None
    from vprjax.localize.formats import FORMATS

    path = pathlib.Path(out)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out={out}: give a file ending in {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--out={out}: there is no folder {path.absolute().parent}; make it")
    found = FORMATS[path.suffix.lower()]
    _check_own("--out", out, found.start)
    return found


def _answered(places, asked, k: int, batch: int):
    """Yields each picture with its answer; `batch` pictures are described at once."""
    while chunk := list(itertools.islice(asked, batch)):
        answers = places.query([one.picture for one in chunk], k)
        yield from zip(chunk, answers, strict=True)


def _followed(follower, asked, k: int, pace: float):
    """Yields each picture of one drive with its answer; `pace` seconds apart where no time is known."""
    last = None
    for one in asked:
        seconds = pace if None in (last, one.time) else one.time - last
        last = one.time
        yield one, follower.step(one.picture, seconds, k)


def _print(one, first: bool, k: int) -> None:
    from vprjax.localize.formats import table

    if first:
        sys.stdout.write(table.line(table.header(k)))
    sys.stdout.write(table.line(table.row(*one)))
    sys.stdout.flush()


def _write(path: pathlib.Path, text: str) -> None:
    from vprjax.storage.atomic import write_atomically

    write_atomically(path, text)


COMMAND = Command(
    "say where pictures were taken: the places of a map that look most like each",
    "python -m vprjax.localize query --map=maps/monday --images=today.jpg --k=5",
    _arguments,
    _run,
)
