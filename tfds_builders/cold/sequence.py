"""Names COLD's sequences, finds them below `manual_dir`, and reads images, poses and rooms."""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from tfds_builders import archives
from tfds_builders.archives import Source
from tfds_builders.errors import RawDataError

LAB = re.compile(r"freiburg|ljubljana|saarbr(?:ue|ü|u)cken")
PART = re.compile(r"part[_-]?([ab])(?![a-z])")
RUN = re.compile(r"seq([1-9])[_-]?(cloudy|night|sunny)([1-9])(?!\d)")
CAMERAS = {"std_cam": re.compile(r"std[_-]?cam.*"), "omni_cam": re.compile(r"omni[_-]?cam.*")}
NUMBER = r"-?\d+(?:\.\d+)?"
IMAGE = re.compile(
    rf"t(\d{{1,11}})(?:\.(\d{{1,6}}))?_x({NUMBER})_y({NUMBER})_a({NUMBER})\.jpe?g",
    re.IGNORECASE | re.ASCII,
)
DEEPEST = 4  # levels of folders below manual_dir to search


class Name(NamedTuple):
    """A sequence's name; a part is None where a path lacks it.

    Attributes:
      lab: "freiburg", "ljubljana" or "saarbruecken".
      part: "a" or "b".
      run: path, weather and number, e.g. "seq4_cloudy1".
    """

    lab: str | None
    part: str | None
    run: str | None

    def __str__(self) -> str:
        """The sequence's path in COLD's own tree, e.g. `cold-saarbruecken/part_b/seq4_cloudy1`."""
        return "/".join(filter(None, (f"cold-{self.lab}", f"part_{self.part}", self.run)))

    def allows(self, other: "Name") -> bool:
        """Whether the two names agree in all parts that both have."""
        return all(a is None or b is None or a == b for a, b in zip(self, other, strict=True))


def name_of(text: str) -> Name:
    """Lab, part and run in a path or an id; the last mention of each counts."""
    text = text.lower()
    lab, part, run = (list(p.finditer(text)) for p in (LAB, PART, RUN))
    return Name(
        re.sub("br(ü|u)cken", "bruecken", lab[-1][0]) if lab else None,
        part[-1][1] if part else None,
        f"seq{run[-1][1]}_{run[-1][2]}{run[-1][3]}" if run else None,
    )


def parse_id(text: str) -> Name:
    """The full name in an id such as `cold-saarbruecken/part_b/seq4_cloudy1`.

    Raises:
      RawDataError: lab, part or run is missing.
    """
    name = name_of(text)
    if None in name:
        raise RawDataError(
            f"{text!r} is no COLD sequence; give <lab>/<part>/<sequence>, "
            "e.g. cold-saarbruecken/part_b/seq4_cloudy1"
        )
    return name


class Place(NamedTuple):
    """A folder or archive of one sequence, and the name in its path."""

    path: pathlib.Path
    name: Name


def places(manual_dir: pathlib.Path) -> list[Place]:
    """All sequences below `manual_dir`, or it itself, in path order; top folders may have any name."""
    above = "/".join(manual_dir.parts[-2:])  # the user may point at .../cold-saarbruecken/part_b

    def named(path: pathlib.Path) -> Name:
        return name_of(f"{above}/{path.relative_to(manual_dir).as_posix()}")

    return [Place(path, named(path)) for path in _candidates(manual_dir, DEEPEST)]


def _candidates(folder: pathlib.Path, levels: int) -> Iterator[pathlib.Path]:
    if RUN.search(folder.name.lower()):
        yield folder
        return
    for path in sorted(folder.iterdir()) if levels else ():
        if path.is_dir():
            yield from _candidates(path, levels - 1)
        elif path.name.endswith(archives.SUFFIXES + archives.PACKED) and RUN.search(
            path.name.lower()
        ):
            yield path


def choose(found: list[Place], name: Name, manual_dir: pathlib.Path) -> Place:
    """The place whose path names most of a sequence; a folder wins over an archive.

    Raises:
      RawDataError: no place fits, or two fit equally well.
    """
    fitting = [place for place in found if place.name.run == name.run and name.allows(place.name)]
    if not fitting:
        raise RawDataError(
            f"{manual_dir} holds nothing of sequence {name}; put its archive there ({name}.tar, "
            f"or cold-{name.lab}_part_{name.part}_{name.run}.tar) or its unpacked folder"
        )

    # A packed archive ranks below its equals, but above a folder that may be of another map.
    def rank(place: Place) -> tuple[int, bool, bool]:
        return place.name.count(None), not place.path.is_dir(), archives.is_packed(place.path)

    fitting.sort(key=rank)
    if len(fitting) > 1 and rank(fitting[0]) == rank(fitting[1]):
        raise RawDataError(
            f"sequence {name} could be {fitting[0].path} or {fitting[1].path}; remove one, or keep "
            f"them in folders named as in COLD (cold-{name.lab}/part_{name.part})"
        )
    return fitting[0]


class Image(NamedTuple):
    """One image and the pose in its name.

    Attributes:
      file: its file name.
      time: microseconds.
      position: x and y of the map, metres.
      heading: radians in (-pi, pi], 0 along x, counter-clockwise.
      source: where its bytes lie.
    """

    file: str
    time: int
    position: tuple[float, float]
    heading: float
    source: Source


class Sequence(NamedTuple):
    """One run: images in time order, and the room of each listed file or None without a list."""

    images: list[Image]
    rooms: dict[str, str] | None


def read(place: Place, camera: str) -> Sequence:
    """Reads a camera's images in time order, and `localization/places.lst`.

    Raises:
      RawDataError: no images, a file name without a pose, a malformed list, a damaged archive.
    """
    images: dict[str, Image] = {}
    problems: list[str] = []
    rooms, folders = None, set()
    for path, source in archives.files(place.path):
        *above, file = path.split("/")
        if file.startswith("._") or "@eaDir" in above:  # macOS and file servers leave these
            continue
        if file == "places.lst":
            rooms = read_rooms(source.read(), str(source))
        elif file.lower().endswith((".jpeg", ".jpg")):
            folders.add("/".join(above))
            if above and CAMERAS[camera].fullmatch(above[-1].lower()):
                try:
                    images.setdefault(file, parse_image(file, source))
                except RawDataError as error:
                    problems += error.problems
    if problems:
        raise RawDataError(*problems)
    if not images:
        seen = ", ".join(sorted(folders)) or "no folder"
        raise RawDataError(
            f"{place.path} has no images {camera}/t<time>_x<m>_y<m>_a<rad>.jpeg ({seen} holds JPEGs); "
            "download the sequence's archive again, or choose the other camera"
        )
    return Sequence(sorted(images.values(), key=lambda image: (image.time, image.file)), rooms)


def parse_image(file: str, source: Source) -> Image:
    """Time (microseconds) and pose (metres, radians) of `t<unix seconds>_x<m>_y<m>_a<rad>.jpeg`.

    Raises:
      RawDataError: the name has another form.
    """
    match = IMAGE.fullmatch(file)
    if match is None:
        raise RawDataError(
            f"{source} is not named t<seconds>_x<m>_y<m>_a<rad>.jpeg, so it has no pose; "
            "restore its name or remove it"
        )
    seconds, micros, x, y, a = match.groups()
    time = int(seconds) * 1_000_000 + int((micros or "").ljust(6, "0"))
    return Image(file, time, (float(x), float(y)), float(a), source)


def read_rooms(raw: bytes, where: str) -> dict[str, str]:
    """The room of each file in `places.lst`: one `<file name> <room>` per line, no header.

    Raises:
      RawDataError: a line has another form, or gives a listed file another room.
    """
    rooms: dict[str, str] = {}
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        fields = line.split()
        if len(fields) == 2:
            room = rooms.setdefault(*fields)
            if room != fields[1]:
                raise RawDataError(
                    f"{where}:{number}: {fields[0]} lies in {fields[1]}, but an earlier line says {room}; "
                    "keep one of the two lines"
                )
        elif fields:
            raise RawDataError(
                f"{where}:{number}: {line!r} is no '<file name> <room>'; restore the file"
            )
    return rooms
