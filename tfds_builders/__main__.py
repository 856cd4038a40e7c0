"""Builds, validates and shows datasets; writes where images were taken.

python -m tfds_builders {build,validate,show} NAME --manual_dir=RAW --data_dir=OUT [--config=C]
python -m tfds_builders positions RAW --out=FILE.json
python -m tfds_builders track FILE --out=FILE.json
"""

import argparse
import importlib
import sys
import textwrap

from tfds_builders import discover
from tfds_builders.errors import RawDataError

POSITIONS_EXAMPLES = """\
    examples:
      python -m tfds_builders positions ~/photos/monday --out=monday.json
      python -m tfds_builders positions ride.mp4 --track=ride.gpx --start=2024-02-29T12:00:00+01:00 \\
          --metres=2 --frames=ride --out=ride.json
      python -m tfds_builders positions RAW --config='{"layout": "aligned"}' --out=frames.json
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tfds_builders", description=__doc__.splitlines()[0]
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar="{build,validate,show,positions,track}"
    )
    for command, text in (
        ("build", "check the raw data, then build the dataset"),
        ("validate", "name every problem of the raw data; write nothing"),
        ("show", "print what a built dataset holds; draw route maps and a contact sheet"),
    ):
        sub = commands.add_parser(command, help=text, description=text)
        sub.add_argument("name", help=f"one of {', '.join(discover.names())}")
        sub.add_argument(
            "--data_dir", help="where datasets are; $TFDS_DATA_DIR, else ~/tensorflow_datasets"
        )
        sub.add_argument("--config", help="config name, or JSON of the config's keys")
        if command == "show":
            sub.add_argument("--out", default=".", help="folder for the PNGs")
        else:
            sub.add_argument("--manual_dir", help="folder of the raw data")
    _add_positions(commands)
    _add_track(commands)
    return top


def _add_positions(commands) -> None:
    text = "write as JSON where and when images, or frames of a video, were taken"
    sub = commands.add_parser(
        "positions",
        help=text,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=textwrap.dedent(POSITIONS_EXAMPLES),
    )
    sub.add_argument("raw", help="folder of the images, their places.csv, or a video")
    sub.add_argument("--out", required=True, help="the JSON file")
    sub.add_argument(
        "--config", help="JSON with layout, position_unit or pose_source; else RAW shows its layout"
    )
    group = sub.add_argument_group("a video")
    group.add_argument("--track", help="its .gpx, or a .csv of time,x,y or time,lat,lon")
    group.add_argument("--frames", help="new folder for the frames, as JPEG")
    group.add_argument("--fps", type=float, help="keep so many frames a second")
    group.add_argument(
        "--metres", type=float, help="keep one frame per so many metres of the track"
    )
    group.add_argument("--start", help="when the video starts, as an ISO time; else with the track")


def _add_track(commands) -> None:
    text = "write as JSON a video's track in metres"
    sub = commands.add_parser("track", help=text, description=text)
    sub.add_argument("file", help="a .gpx, or a .csv of time,x,y or time,lat,lon")
    sub.add_argument("--out", required=True, help="the JSON file")
    sub.add_argument("--start", help="when the video starts, as an ISO time; else with the track")


def main(argv: list[str] | None = None) -> int:
    """Runs a sub-command.

    Returns:
      0; 2 for bad raw data or a bad option; 1 for a failing disk; 130 after Ctrl-C.
    """
    args = parser().parse_args(argv)
    try:
        return importlib.import_module(f"tfds_builders.{args.command}").run(args)
    except RawDataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a lost mount
        print(f"error: {error}; run the same command again to continue", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
