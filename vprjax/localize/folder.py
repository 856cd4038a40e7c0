"""The folder of a map: a header that lists its finished parts, and each part's descriptors.

    map.json      sealed: the model, the unit and system of positions, the parts; written last
    part-0000/    what one source gave: a descriptor store, and frames.npz with paths, times, ...

A part is built in place and listed once it is whole: a killed build goes on, and a map stays as it was
until all that is added to it is there.
"""

import contextlib
import fcntl
import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from vprjax.console import log
from vprjax.descriptors import store
from vprjax.errors import DataError
from vprjax.localize.frames import Frames
from vprjax.localize.sources import Source
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

HEADER, FRAMES, VERSION = "map.json", "frames.npz", 1


def read_header(folder: pathlib.Path) -> dict | None:
    """The header of a map; None where there is none.

    Raises:
      DataError: it is damaged or of a later version.
    """
    path = folder / HEADER
    try:
        header = checksum.unseal(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); delete {folder} and build the map again"
        ) from error
    if header.get("version") != VERSION:
        raise DataError(
            f"{path} has version {header.get('version')}, and this vprjax reads {VERSION}; install the "
            "vprjax that built it, or build it again"
        )
    return header


def check_own(at: pathlib.Path) -> None:
    """Raises DataError where a folder without a header holds what no stopped build leaves."""
    if not at.is_dir() or read_header(at) is not None:
        return
    left = (".lock", part_name(0))  # and a header's other name, under which it is written
    strange = [p.name for p in at.iterdir() if p.name not in left and f".{HEADER}." not in p.name]
    if strange:
        raise DataError(f"{at} holds something else ({min(strange)}); name a new folder")


def write_header(folder: pathlib.Path, header: dict) -> None:
    """Writes the header atomically; raises OSError."""
    write_atomically(folder / HEADER, json.dumps(checksum.seal(header), indent=1) + "\n")


def new_header(model, source: Source) -> dict:
    """The header of a map of `model` without parts; unit and system of positions are the source's."""
    return {
        "version": VERSION,
        "model": {
            "id": model.id,
            "title": model.title,
            "dimension": model.dimension,
            "size": list(model.size),
            "source": model.source,
        },
        "position_unit": source.frames.unit,
        "crs": source.frames.crs,
        "parts": [],
    }


def check_model(folder: pathlib.Path, header: dict, model) -> None:
    """Raises DataError unless the map is this model's."""
    about = header["model"]
    if model.id != about["id"]:
        raise DataError(
            f"{folder} is a map of {_words(about['title'], about['size'], about['id'])}, not of "
            f"{_words(model.title, model.size, model.id)}: their descriptors do not compare; name that "
            "model or build a new map"
        )


def _words(title: str, size, model_id: str) -> str:
    return f"{title} ({size[0]}x{size[1]}, id {model_id[:12]})"


def part_name(number: int) -> str:
    """The folder of a part."""
    return f"part-{number:04d}"


def part_key(model, source: Source) -> dict:
    """What a part's rows come from."""
    return {"model": model.id, "images": source.key}


def build_part(folder: pathlib.Path, model, source: Source) -> None:
    """Describes the images of a source that the part in `folder` still lacks.

    Raises:
      DataError: an image cannot be read, or the disk has no room.
      OSError: the disk is full.
    """
    key, frames = part_key(model, source), source.frames
    if store.discard_other(folder, key, "float32"):
        log(f"{folder} was begun for other images or another model: it begins anew")
    pictures = source.pictures(model.form)
    # Of the whole count, not of what is left: a resumed build has the batches of an undisturbed one.
    batch = model.batch_of(len(frames))
    _check_room(folder, 4 * len(frames) * model.dimension)
    store.write(
        folder,
        key,
        frames,
        model.dimension,
        "float32",
        lambda first: model.stream(pictures, batch, first),
    )
    frames.write(folder / FRAMES)


def _check_room(folder: pathlib.Path, size: int) -> None:
    """Raises DataError where `size` bytes of rows, less those already there, do not fit the disk."""
    rows = folder / "rows"
    size -= rows.stat().st_size if rows.exists() else 0
    free = shutil.disk_usage(next(p for p in folder.parents if p.exists())).free
    if size > free:
        raise DataError(
            f"the map {folder.parent} needs {size:,} more bytes, but only {free:,} are free: free disk "
            "space or name another folder"
        )


def open_rows(folder: pathlib.Path) -> store.Store:
    """The descriptors of a finished part; raises DataError where they are damaged."""
    try:
        return store.open_store(folder)
    except DataError as error:  # whose advice is for an evaluation
        raise DataError(f"{str(error).partition(';')[0]}; {_again(folder)}") from error


def _again(part: pathlib.Path) -> str:
    return f"delete {part.parent} and build the map again"


def open_part(folder: pathlib.Path, header: dict) -> tuple[np.ndarray, Frames]:
    """Descriptors `(n, d)`, a memory map, and frames of a finished part.

    Raises:
      DataError: it is damaged or of another model.
    """
    found = open_rows(folder)
    frames = Frames.read(folder / FRAMES, header["position_unit"], header["crs"])
    whole = found.rows.shape == (len(frames), header["model"]["dimension"])
    if not whole or found.key.get("model") != header["model"]["id"]:
        raise DataError(f"{folder} does not belong to its map; {_again(folder)}")
    return found.rows, frames


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
    """A context in which no other process writes to the folder, which it makes.

    Raises:
      DataError: another process builds this map, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written to ({error.strerror}); name another"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"{folder} is being built by another process; wait for it or name another"
            ) from error
        yield
