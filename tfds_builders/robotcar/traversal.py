"""Finds a traversal's files below `manual_dir`, packed or not, and lists its images."""

import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders import archives
from tfds_builders.archives import Source
from tfds_builders.errors import RawDataError
from tfds_builders.robotcar.camera import Camera

TIME = re.compile(r"[0-9]{1,17}")  # microseconds, up to the year 5138
# Sensors whose archives hold neither camera images nor poses.
OTHER_SENSORS = ("velodyne", "lms", "ldmrs", "lidar", "navtech", "radar")
# Words in the names of pose archives, and their folder; archives of other names hold images.
POSE_FOLDERS = {"gps": "gps/", "ins": "gps/", "odometry": "gt/", "gt": "gt/"}


class Traversal(NamedTuple):
    """The files found of one traversal.

    Attributes:
      name: its id, e.g. "2019-01-10-11-46-21-radar-oxford-10k".
      files: source of every file, by its path below the traversal's folder.
      places: the archives and folders that hold them.
    """

    name: str
    files: dict[str, Source]
    places: list[pathlib.Path]

    def read(self, path: str, what: str) -> tuple[bytes, str]:
        """Bytes of a file, and its name in messages.

        Raises:
          RawDataError: it is missing; names the archive to fetch.
        """
        if path not in self.files:
            seen = ", ".join(place.name for place in self.places)
            raise RawDataError(
                f"traversal {self.name} has no {path} ({what}) in {seen}; download that archive of "
                f"the traversal (its name starts with {self.name}_) into manual_dir"
            )
        return self.files[path].read(), str(self.files[path])


def find(manual_dir: pathlib.Path, name: str, camera: Camera) -> Traversal:
    """Indexes all folders, tars and zips of traversal `name`; a file in a folder wins over archives.

    It skips an archive compressed as a whole that lies beside its unpacked files.

    Raises:
      RawDataError: nothing is there, or an archive is truncated.
    """
    places = sorted(
        _places(manual_dir, name, camera),
        key=lambda path: (not path.is_dir(), archives.is_packed(path)),
    )
    if not places:
        raise RawDataError(
            f"{manual_dir} holds nothing of traversal {name}; put its archives "
            f"({name}_*.tar or .zip: camera and gps) or its unpacked folder {name}/ there"
        )
    found: dict[str, Source] = {}
    read = []
    for place in places:
        if archives.is_packed(place) and _unpacked(place, name, camera, found, read):
            continue
        read.append(place)
        for path, source in archives.files(place):
            found.setdefault(_below(path, name), source)
    return Traversal(name, found, read)


def _unpacked(
    place: pathlib.Path,
    name: str,
    camera: Camera,
    found: dict[str, Source],
    read: list[pathlib.Path],
) -> bool:
    """Whether unpacked files or a plain tar stand in for an archive compressed as a whole."""
    suffix = next(suffix for suffix in archives.PACKED if place.name.endswith(suffix))
    if place.with_name(place.name.removesuffix(suffix) + ".tar") in read:
        return True
    sensor = place.name.replace(name, "").lower()
    folders = {folder for word, folder in POSE_FOLDERS.items() if word in sensor}
    return all(
        any(source.kind == "file" and path.startswith(folder) for path, source in found.items())
        for folder in folders or {f"{camera.folder}/"}
    )


def _places(manual_dir: pathlib.Path, name: str, camera: Camera) -> Iterator[pathlib.Path]:
    if manual_dir.name == name:
        yield manual_dir
    for folder in (manual_dir, *sorted(path for path in manual_dir.iterdir() if path.is_dir())):
        if (folder / name).is_dir():
            yield folder / name
        for path in sorted(folder.glob(f"*{name}*")):
            sensor = path.name.replace(name, "").lower()
            if path.name.endswith(archives.SUFFIXES + archives.PACKED) and _wanted(sensor, camera):
                yield path


def _wanted(sensor: str, camera: Camera) -> bool:
    """Whether an archive may hold this camera or poses, unlike the large ones of other sensors."""
    if any(word in sensor for word in ("gps", "ins", "gt", "odometry", "vo", "rtk")):
        return True
    own = camera.folder.split("/")[0]
    cameras = {"mono_left", "mono_right", "mono_rear", "stereo"} - {own}
    return not any(word in sensor for word in (*OTHER_SENSORS, *cameras))


def _below(path: str, name: str) -> str:
    """A member's path below the traversal's folder, without the folders above."""
    parts = pathlib.PurePosixPath(path).parts
    if name in parts:
        parts = parts[parts.index(name) + 1 :]
    return "/".join(parts)


class Images(NamedTuple):
    """A camera's images in time order.

    Attributes:
      times: `(n,)` int64 microseconds.
      sources: their files.
      missing: number of listed images without a file, e.g. of a chunk not yet downloaded.
      unsorted: number of listed times that lie before an earlier one or repeat it.
    """

    times: np.ndarray
    sources: list[Source]
    missing: int
    unsorted: int = 0


def images(traversal: Traversal, camera: Camera) -> Images:
    """All images of a camera; a timestamps file lists those that must be there.

    Raises:
      RawDataError: no image, or a malformed timestamps file.
    """
    pattern = re.compile(re.escape(camera.folder) + rf"/({TIME.pattern})\.png")
    by_time = {
        int(match[1]): source
        for path, source in traversal.files.items()
        if (match := pattern.fullmatch(path))
    }
    listed, unsorted = [], 0
    if camera.timestamps in traversal.files:
        listed, unsorted = read_timestamps(*traversal.read(camera.timestamps, "image times"))
    if not by_time:
        seen = ", ".join(place.name for place in traversal.places)
        raise RawDataError(
            f"traversal {traversal.name} has no images {camera.folder}/<time>.png in {seen}; download "
            f"the {camera.folder.split('/')[0]} archive of the traversal into manual_dir"
        )
    times = sorted(by_time)
    missing = len(set(listed) - by_time.keys())
    sources = [by_time[time] for time in times]
    return Images(np.array(times, np.int64), sources, missing, unsorted)


def read_timestamps(raw: bytes, where: str) -> tuple[list[int], int]:
    """The times of a `.timestamps` file, strictly ascending, and the number of rows out of that order.

    A row is `<time> <chunk>`; there is no header.
    """
    times: list[int] = []
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if not TIME.fullmatch(fields[0]):
            raise RawDataError(
                f"{where}:{number}: {line!r} is no '<time in microseconds> <chunk>'; "
                "download or copy the file again"
            )
        times.append(int(fields[0]))
    highest = itertools.accumulate(times[:-1], max)
    unsorted = sum(time <= most for time, most in zip(times[1:], highest, strict=True))
    return sorted(set(times)), unsorted
