"""`.mat` files with a `dbStruct` (Pittsburgh, Tokyo 24/7)."""

import concurrent.futures
import multiprocessing
import pathlib
import resource
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts.folders import IMAGES, done, is_hidden, split_name
from tfds_builders.places_csv.layouts.variant import Layout, Protocol, Told

LONGEST = 240  # letters of a file's name; file systems allow 255 bytes
RADIUS = 25.0  # metres, of all these sets
FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ")
MEMORY, SECONDS = 1 << 30, 60  # limits of the reader of a .mat; Pittsburgh's take a tenth


def read_dbstruct(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads `.mat` files with a `dbStruct` (Pittsburgh, Tokyo 24/7) as `<file>_database` and `_queries`.

    Images lie below `folder` or one folder deeper, with any image suffix. Pittsburgh's queries repeat
    names of its database. Database images therefore lie in no folder with "quer" in its name; queries lie
    in those alone where one holds a query of the table.

    Raises:
      RawDataError: no `.mat` is readable; names every image that is missing or of both kinds.
    """
    tables = sorted(path for path in folder.glob("*.mat") if not is_hidden(path.name))
    if not tables:
        deeper = sorted(path.relative_to(folder) for path in folder.glob("*/*.mat"))
        deeper = [path for path in deeper if not any(map(is_hidden, path.parts))]
        do = f"move {deeper[0]} there" if deeper else "put the dataset's there"
        raise RawDataError(f"{folder} holds no .mat file with a dbStruct; {do}")
    splits: dict[str, list[Frame]] = {}
    problems: list[str] = []
    for table in tables:
        found = dbstruct(table)
        roots = image_roots(folder, found.queries)
        own, asked = (splits.setdefault(split_name([table.stem, kind]), []) for kind in roots)
        problems += add_frames(own, table, "database", *found[:2], roots, set())
        taken = {frame.source for frame in own}
        problems += add_frames(asked, table, "queries", *found[2:4], roots, taken)
        told.warnings += _other_radius(table, found.radius)
    return done(folder, splits, problems)


def _other_radius(table: pathlib.Path, radius: float | None) -> Iterator[str]:
    """Yields a sentence where the table counts within another distance than the protocol."""
    if radius is not None and radius != RADIUS:
        yield (
            f"{table.name}: its posDistThr is {radius:g} m, where figures on these sets count "
            f"{RADIUS:g} m: name the radius beside them"
        )


def add_frames(frames, table: pathlib.Path, kind: str, names, utm, roots, taken) -> list[str]:
    """Adds a table's images of one kind to `frames`; returns a sentence per missing or `taken` one."""
    problems = []
    for name, position in zip(names, utm, strict=True):
        source = _locate(name, table.parent, roots[kind].folders)
        if source is None or source in taken:
            but = " but as a database image" if source else ""
            problems.append(
                f"{table}: image {name!r} ({kind}) is in no folder of {table.parent}{roots[kind].which}"
                f"{but}; put it there"
            )
            continue
        frames.append(
            Frame(
                image_id=f"{table.stem}_{kind}/{name}",
                position=(float(position[0]), float(position[1])),
                timestamp=len(frames),
                source=source,
            )
        )
    return problems


class Roots(NamedTuple):
    """The folders of images of one kind, and their description in a message."""

    folders: list[pathlib.Path]
    which: str


def image_roots(folder: pathlib.Path, queries: list[str]) -> dict[str, Roots]:
    """The folders of a table's database images and of its `queries`."""
    deeper = sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    query = [path for path in deeper if "quer" in path.name.lower()]
    other = [folder, *(path for path in deeper if path not in query)]
    without = Roots(other, " without 'quer' in its name" if query else "")
    apart = any(_locate(name, folder, query) for name in queries)
    return {
        "database": without,
        "queries": Roots(query, " with 'quer' in its name") if apart else without,
    }


class Struct(NamedTuple):
    """Names and `(n, 2)` UTM positions (metres) of a `.mat` file's database and queries, and its radius."""

    database: list[str]
    utm_database: np.ndarray
    queries: list[str]
    utm_queries: np.ndarray
    radius: float | None


def dbstruct(table: pathlib.Path) -> Struct:
    """What a `.mat` file holds.

    Raises:
      RawDataError: no `dbStruct` can be read within `MEMORY` and `SECONDS`.
    """
    import scipy.io  # noqa: F401  # other layouts do without it; its threads' stacks count in `_bound`

    remedy = "use the dataset's .mat file (MATLAB 5 to 7.2)"
    try:
        # Its own process, since SciPy's reader crashes on some damaged files and inflates others whole.
        fork = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(1, fork, _bound) as child:
            lists, places, radius = child.submit(_load_dbstruct, table).result()
    except MemoryError as error:
        raise RawDataError(
            f"{table}: its dbStruct takes more than {MEMORY:,} bytes to read; {remedy}"
        ) from error
    except concurrent.futures.process.BrokenProcessPool as error:
        raise RawDataError(
            f"{table}: its reader crashed or took more than {SECONDS} s; {remedy}"
        ) from error
    except Exception as error:  # a damaged file makes SciPy raise anything
        raise RawDataError(f"{table} holds no readable dbStruct ({error}); {remedy}") from error
    for names, place, i in zip(lists, places, (0, 1), strict=True):
        if place.shape == (2, len(names)):
            places[i] = place.T
        elif place.shape != (len(names), 2):
            raise RawDataError(f"{table}: {len(names)} images but UTM is {place.shape}; {remedy}")
        if not np.isfinite(places[i]).all():
            raise RawDataError(f"{table}: a UTM position is not finite; {remedy}")
    return Struct(lists[0], places[0], lists[1], places[1], radius)


def _bound() -> None:
    """Bounds this process's memory and processor time, since a small file may inflate to gigabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    for kind, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
    ):
        limits = [limit for limit in (*resource.getrlimit(kind), most) if limit >= 0]
        resource.setrlimit(kind, (min(limits), min(limits)))


def _load_dbstruct(table: pathlib.Path) -> tuple[list[list[str]], list[np.ndarray], float | None]:
    """Image names and UTM positions as the file has them, database first, and its posDistThr."""
    import scipy.io

    struct = scipy.io.loadmat(table, variable_names=["dbStruct"])["dbStruct"].ravel()[0]
    names = struct.dtype.names or ()
    if all(name in names for name in FIELDS):
        fields, radius = [struct[name] for name in FIELDS], None
        if "posDistThr" in names and np.size(struct["posDistThr"]) == 1:
            radius = float(np.ravel(struct["posDistThr"])[0])
    else:  # by place after whichSet; TokyoTM has time stamps after the positions of either side
        stamped = np.asarray(struct[3]).dtype.kind in "iuf"
        fields, radius = [struct[i] for i in ((1, 2, 4, 5) if stamped else (1, 2, 3, 4))], None
    lists = [[str(np.ravel(cell)[0]) for cell in fields[i].ravel()] for i in (0, 2)]
    return lists, [np.asarray(fields[i], np.float64) for i in (1, 3)], radius


def _locate(name: str, folder: pathlib.Path, roots: list[pathlib.Path]) -> pathlib.Path | None:
    """The image of a name below its root, or None.

    A name may begin with its root's name; `queries/a.jpg` then lies below `folder`.
    """
    inside = pathlib.PurePosixPath(name)
    if (
        not inside.name
        or inside.is_absolute()
        or ".." in inside.parts
        or len(inside.name) > LONGEST
    ):
        return None
    if any(inside.parts[0] == root.name for root in roots):
        roots = [*roots, folder]
    for root in roots:
        path = root / name
        for candidate in (path, *(path.with_suffix(suffix) for suffix in IMAGES)):
            if candidate.is_file():
                return candidate
    return None


LAYOUT = Layout(
    title="`.mat` files with a `dbStruct`",
    read=read_dbstruct,
    position_unit="m",
    pose_source="UTM in the dbStruct",
    untimed="the table's list",
    protocols={
        "dbstruct_25m": Protocol(
            positives="a database image within 25 m, whatever its heading",
            queries="all queries of the table, those without such an image too",
            source="posDistThr of the dbStruct",
            radius=RADIUS,
        )
    },
)
