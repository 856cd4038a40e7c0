"""Pictures to ask a map about: a file, a folder, a glob, a video, or a camera's stream."""

import dataclasses
import glob
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cv2

from vprjax.console import log
from vprjax.data import pictures
from vprjax.errors import DataError
from vprjax.localize import image_pipe

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpeg", ".wmv", ".ts")
UNREAD = (
    ".heic",
    ".heif",
    ".avif",
    ".gif",
    ".jxl",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".raf",
    *VIDEOS,
)
STREAM = "-"
Taken = Callable[[float], bool]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A picture to ask about.

    Attributes:
      name: of its file, or of the video and the seconds in it, or the frame's number in the stream.
      picture: what `Model.describe` takes: a path or an array.
      time: seconds since the video's start; None for a picture.
    """

    name: str
    picture: Any
    time: float | None = None


def is_live(text: str) -> bool:
    """Whether each frame is answered before the next one comes."""
    return text == STREAM


def is_video(text: str) -> bool:
    """Whether this names a video's file."""
    path = pathlib.Path(text).expanduser()
    return path.suffix.lower() in VIDEOS and path.is_file()


def read(text: str, fps: float = 1.0, taken: Taken | None = None) -> Iterator[Asked]:
    """Yields the pictures that `--images` names, in order.

    Args:
      text: a picture's file, a folder (with all below it), a glob such as "drive/*.jpg", a video's file, or
        "-" for a stream of JPEG or PNG images on standard input (`image_pipe`).
      fps: frames taken from a second of a video.
      taken: says instead of `fps`, in order, whether the frame at so many seconds of a video is taken.

    Raises:
      DataError: there is nothing of that name; before the first picture is yielded.
    """
    if text == STREAM:
        return _stream()
    if not text:  # a shell's unset variable; a path would mean the folder at hand
        raise DataError(
            "no pictures are named: give a picture, a folder, a glob in quotes or a video"
        )
    path = pathlib.Path(text).expanduser()
    if is_video(text):
        return _video(path, _opened(path), taken or _per_second(fps))
    if path.is_dir():
        return _files(
            _below(path), f"{path} holds no pictures that are read ({', '.join(PICTURES)})"
        )
    if path.is_file():
        return _files([(text, path)], "")
    found = [pathlib.Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
    return _files(
        [(str(p), p) for p in found if p.is_file()],
        f"{text} is not there: give a picture, a folder, a glob in quotes, a video, or - for a stream",
    )


def _below(folder: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """The pictures below a folder with their names; a line counts what else a user may mean by pictures."""
    kinds = (*PICTURES, *UNREAD)
    every = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in kinds and p.is_file()]
    hidden = [p for p in every if p.name.startswith(".")]  # a Mac's ._x.jpg is no picture
    seen = [p for p in every if not p.name.startswith(".")]
    unread = [p for p in seen if p.suffix.lower() in UNREAD]
    for kind, some in (("hidden", hidden), ("other", unread)):
        if some:
            what = f"{kind} files are" if len(some) > 1 else f"{kind} file is"
            log(
                f"{folder}: {len(some):,} {what} passed over, such as {some[0].relative_to(folder)}"
            )
    return [(str(p.relative_to(folder)), p) for p in seen if p.suffix.lower() in PICTURES]


def _files(found: list[tuple[str, pathlib.Path]], otherwise: str) -> Iterator[Asked]:
    if not found:
        raise DataError(otherwise)
    # A name that is no UTF-8 could not be written to any answer.
    return (Asked(os.fsencode(name).decode(errors="replace"), path) for name, path in found)


def _stream() -> Iterator[Asked]:
    """The frames of standard input; a damaged one is logged and left out, as others follow."""
    for number, encoded in enumerate(image_pipe.images(sys.stdin.buffer)):
        name = f"frame {number}"
        try:
            picture = pictures.decode(encoded, name)
        except DataError as error:
            log(str(error))
            continue
        yield Asked(name, picture)


def _opened(path: pathlib.Path) -> cv2.VideoCapture:
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise DataError(f"{path} is no video that OpenCV opens; convert it, e.g. to H.264 in .mp4")
    return video


def _per_second(fps: float) -> Taken:
    """Takes the frames nearest after 0, 1/fps, 2/fps, ... seconds."""
    wanted = 0.0

    def taken(seconds: float) -> bool:
        nonlocal wanted
        if seconds + 1e-6 < wanted:
            return False
        wanted = max(wanted + 1 / fps, seconds + 0.5 / fps)
        return True

    return taken


def _video(path: pathlib.Path, video: cv2.VideoCapture, taken: Taken) -> Iterator[Asked]:
    """The frames that are taken; the others are not decoded to pixels."""
    number = 0
    try:
        while video.grab():
            seconds = max(0.0, round(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 6))
            number += 1
            if not taken(seconds):
                continue
            good, frame = video.retrieve()
            if good:
                rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                yield Asked(f"{path.name}@{seconds:.3f}", rgb, seconds)
    finally:
        video.release()
    if not number:
        raise DataError(
            f"{path} holds no frame that OpenCV reads; convert it, e.g. to H.264 in .mp4"
        )
