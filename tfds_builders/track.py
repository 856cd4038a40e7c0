"""`track` writes a video's track as JSON, in metres.

    {"track": "/home/me/ride.gpx", "crs": "EPSG:32631", "warnings": [], "start": 1709204401.0,
     "times": [1709204400.0, ...], "x": [500000.0, ...], "y": [5538630.7, ...], "metres": [0.0, ...]}

`start` is when the video starts, on the clock of `times`. `metres` is the track's length up to a point.
"""

import pathlib

from tfds_builders import positions, tracks

START = b'{"track": '  # what the file begins with


def _own(begin: bytes) -> bool:
    """Whether a file is empty or begins as those that are written here."""
    return not begin or begin.startswith(START)


def run(args) -> int:
    """Writes the track of `args.file` to `--out`; returns the exit status, raises RawDataError."""
    path, out = (pathlib.Path(one).expanduser().absolute() for one in (args.file, args.out))
    positions.check_out(args.out, out, "track", _own)
    warnings: list[str] = []
    track = tracks.read_track(path, warnings)
    start = tracks.start(args.start, track, warnings)
    x, y, _, metres = track.columns.tolist()
    columns = {"times": track.times.tolist(), "x": x, "y": y, "metres": metres}
    about = {"track": str(path), "crs": track.crs or None, "warnings": warnings, "start": start}
    positions.write(out, {**about, **columns})
    return 0
