"""Poses by image name, of the text files of 3D models: COLMAP's `images.txt` and VisualSFM's `.nvm`."""

import itertools
import pathlib
import re

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.poses import axes, rigid, tables
from tfds_builders.poses.rigid import Poses
from tfds_builders.poses.tables import Row

NVM_HEADER = "NVM_V3"


def read_images_txt(path: pathlib.Path) -> tuple[list[str], Poses]:
    """Image names and camera-to-world poses of COLMAP's `images.txt`, whose rows are world-to-camera.

    The poses' times are the images' numbers in the model.

    An image takes two lines: `ID QW QX QY QZ TX TY TZ CAMERA NAME`, by blanks or commas, and its points in
    the picture, which may be an empty line.

    Raises:
      RawDataError: names lines that are no such pair.
    """
    table, problems = [], []
    lines = [
        (number, line.strip())
        for number, line in enumerate(tables.text(path).splitlines(), 1)
        if not line.startswith("#")
    ]
    at = 0
    while at < len(lines):
        number, line = lines[at]
        if not line:  # behind the last image
            at += 1
            continue
        fields = re.split(r"\s*,\s*|\s+", line, maxsplit=9)
        points = lines[at + 1][1] if at + 1 < len(lines) else ""
        if len(fields) != 10 or not _holds_points(points):
            problems.append(
                f"{path}:{number}: no pair of an image's line and the line of its points, which "
                "may be empty "
                "but must be there; write the model with colmap model_converter --output_type TXT"
            )
            break
        table.append(Row(number, fields))
        at += 2
    if problems or not table:
        raise RawDataError(*(problems or [f"{path} holds no images; reconstruct the scene first"]))
    values = tables.numbers(path, table, 1, 7)
    turns = tables.rotations(path, table, values[:, :4], "wxyz")
    numbers = [_number(row.fields[0]) for row in table]
    there = Poses(np.array(numbers, np.int64), values[:, 4:], turns)
    return [row.fields[9] for row in table], rigid.inverse(there)


def _number(text: str) -> int:
    """An image's number, which only points refer to; -1 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def behind(path: pathlib.Path, poses: Poses, most: int = 1000) -> tuple[int, int]:
    """How many points of COLMAP's `points3D.txt` lie behind a camera that sees them, and of how many.

    A point takes a line: `ID X Y Z R G B ERROR` and pairs of an image's number and a point in its picture.

    Args:
      path: of the file; `(0, 0)` where it is missing.
      poses: as `read_images_txt` returns them.
      most: points that are looked at, from the file's beginning: it may hold gigabytes.
    """
    if not path.is_file():
        return 0, 0
    rows = {number: row for row, number in enumerate(poses.times.tolist())}
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in itertools.islice((each for each in file if each[:1] != "#"), most):
            try:
                fields = [float(text) for text in re.split(r"[\s,]+", line.strip())]
                found += [(rows[n], fields[1:4]) for n in map(int, fields[8::2]) if n in rows]
            except (ValueError, OverflowError):  # no row of this format
                continue
    if not found:
        return 0, 0
    seen, points = np.array([row for row, _ in found]), np.array([point for _, point in found])
    depths = ((points - poses.places[seen]) * poses.turns[seen, :, 2]).sum(axis=1)
    return int((depths <= 0).sum()), len(found)


def _holds_points(line: str) -> bool:
    """Whether a line may hold points in a picture; an image's line ends with a name."""
    try:
        float(line.rpartition(" ")[2] or 0)
    except ValueError:
        return False
    return True


def read_nvm(path: pathlib.Path) -> tuple[list[str], Poses]:
    """Image names and camera-to-world poses of an `.nvm`: world-to-camera rotation and the camera's centre.

    A row is `NAME FOCAL QW QX QY QZ X Y Z ...`.

    Raises:
      RawDataError: it is no such file, or cut.
    """
    lines = tables.text(path).splitlines()
    filled = [
        (number, line.split())
        for number, line in enumerate(lines, 1)
        if line and not line.isspace()
    ]
    count = filled[1][1][0] if len(filled) > 1 else ""
    if filled[0][1][0] != NVM_HEADER or not count.isdecimal():
        raise RawDataError(f"{path} is no text of {NVM_HEADER}; download it again")
    table = [Row(*row) for row in filled[2 : 2 + int(count)]]
    short = [row.line for row in table if len(row.fields) < 10]
    if short or len(table) < int(count):
        where = short[0] if short else len(lines)
        raise RawDataError(f"{path}:{where}: the list of {count} images is cut; download it again")
    values = tables.numbers(path, table, 2, 7)
    turns = tables.rotations(path, table, values[:, :4], "wxyz").transpose(0, 2, 1)
    nothing = np.arange(len(table), dtype=np.int64)
    return [row.fields[0].removeprefix("./") for row in table], Poses(nothing, values[:, 4:], turns)


def upright(poses: Poses) -> tuple[Poses, str]:
    """The poses in east-north-up, where the world's axis that comes nearest to the cameras' up is up.

    Returns:
      The poses and that axis's name, e.g. "-y".
    """
    up = axes.upward(poses.turns)
    return axes.to_enu(poses, axes.UPWARD[up]), up
