"""Frames of a video, with positions of a track that was recorded beside it."""

import contextlib
import math
import os
import pathlib
import shutil
from collections.abc import Iterator

from tfds_builders import tracks
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts.folders import split_name
from tfds_builders.places_csv.layouts.variant import Layout, LeftOut, Told
from tfds_builders.progress import Progress

QUALITY = 95  # of the frames' JPEG
OUTSIDE = "before the track begins or after it ends"
LAYOUT = Layout(
    title="a video with a track",
    read=lambda folder, told: {},  # `frames` reads it, which needs the track too
    position_unit="m",
    pose_source="the track, interpolated",
    timed=True,
)


def frames(args, told: Told) -> tuple[pathlib.Path, dict[str, list[Frame]]]:
    """Writes frames of the video RAW into `--frames`, and gives each its time and position.

    The video starts at `--start`, else when the track does. A frame is kept per second divided by `--fps`,
    or per `--metres` along the track. `told` takes frames outside the track.

    Returns:
      The folder of the frames, and the frames of the one split.

    Raises:
      RawDataError: an option is missing, the track or the video cannot be read, or no frame is inside.
    """
    raw, track_path, folder = (
        pathlib.Path(path).expanduser().absolute()
        for path in (args.raw, args.track or "", args.frames or "")
    )
    _check(args, folder)
    track = tracks.read_track(track_path, told.warnings)
    told.crs = track.crs
    start = tracks.start(args.start, track, told.warnings)
    split = split_name([raw.stem])
    kept: list[Frame] = []
    with _whole(folder) as part:
        for name, time, inside, image in _chosen(raw, track, start, args):
            if not inside:
                told.left_out.append(LeftOut(split, name, OUTSIDE))
                continue
            _write(part / name, image())
            x, y, altitude, _ = track.at(time)
            if not math.isnan(altitude):
                told.altitudes[name] = altitude
            stamp = round(time * 1e6)
            kept.append(Frame(name, (x, y), timestamp=stamp, source=folder / name))
        if not kept:
            raise RawDataError(
                f"{raw}: no frame is inside the track, which runs from {track.times[0]:.3f} to "
                f"{track.times[-1]:.3f} s where the video starts at {start:.3f} s; correct --start"
            )
    if told.left_out:
        told.warnings.append(
            f"{len(told.left_out):,} frames are left out, {OUTSIDE}, e.g. {told.left_out[0].image}"
        )
    return folder, {split: kept}


def _check(args, folder: pathlib.Path) -> None:
    """Raises RawDataError where an option is missing or cannot be used."""
    missing = [f"--{name}" for name in ("track", "frames") if not getattr(args, name)]
    if (args.fps is None) == (args.metres is None):
        missing.append("either --fps or --metres")
    if missing:
        raise RawDataError(f"a video needs {' and '.join(missing)}; see positions --help")
    for name in ("fps", "metres"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise RawDataError(f"--{name}={value:g} must be more than 0")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RawDataError(f"--frames={args.frames} holds something; name a new or empty folder")
    if not folder.parent.is_dir():
        raise RawDataError(f"--frames={args.frames}: {folder.parent} is no folder; make it")


def _chosen(raw: pathlib.Path, track: tracks.Track, start: float, args) -> Iterator[tuple]:
    """Yields name, time, whether the track covers it, and what decodes it, of every frame to keep."""
    import cv2

    video = cv2.VideoCapture(str(raw), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise RawDataError(f"{raw} is no video that OpenCV reads; convert it to MP4")
        rate = video.get(cv2.CAP_PROP_FPS) or 1.0
        index, before, due = 0, -1.0, -math.inf
        with Progress(max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))), raw.name, "frames") as bar:
            while video.grab():
                moment = video.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                moment = moment if moment > before else index / rate  # some files tell no times
                time, before = start + moment, moment
                inside = track.covers(time)
                reached = moment * args.fps if args.fps else track.at(time)[3] / args.metres
                if reached >= due - 1e-6 or not (inside or args.fps):
                    due = math.floor(reached + 1e-6) + 1 if args.fps or inside else due
                    name = f"{raw.stem}_{index:06d}.jpg"
                    yield name, time, inside, lambda: video.retrieve()[1]
                index += 1
                bar.add()
    finally:
        video.release()


def _write(path: pathlib.Path, image) -> None:
    import cv2

    good, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not good:
        raise RawDataError(f"{path.name} cannot be encoded; convert the video to MP4")
    path.write_bytes(data.tobytes())


@contextlib.contextmanager
def _whole(folder: pathlib.Path):
    """A folder that takes its name when all is written, and is removed after a failure."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        part.replace(folder)  # onto nothing or an empty folder
    finally:
        shutil.rmtree(part, ignore_errors=True)
