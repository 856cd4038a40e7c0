"""Where a map's images come from: a folder, a places.csv, a positions file, a split of a prepared dataset.

`tfds_builders` alone reads raw layouts, in a process of its own (`builders`).
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from vprjax.console import log
from vprjax.data import source
from vprjax.data.pictures import Form, Pictures, fit
from vprjax.errors import DataError
from vprjax.localize import builders
from vprjax.localize.frames import Frames
from vprjax.localize.inputs import VIDEOS

MOST_TOLD = 20  # images left out that are named


@dataclasses.dataclass(frozen=True)
class Source:
    """Images to describe, with what is known of them.

    Attributes:
      frames: the images.
      pictures: the images' pixels in a form: `len()` and `images(indices)`.
      contents: a digest that changes with the images.
    """

    frames: Frames
    pictures: Callable[[Form], Any]
    contents: str

    def subset(self, indices: np.ndarray) -> "Source":
        """The images at `indices`, numbered anew."""
        return Source(
            self.frames.subset(indices),
            lambda form: _Some(self.pictures(form), indices),
            hashlib.sha256(self.contents.encode() + indices.tobytes()).hexdigest(),
        )

    @property
    def key(self) -> str:
        """SHA-256 of the images and of all that is known of them."""
        digest = hashlib.sha256(self.contents.encode())
        for name in ("image_ids", "drives"):
            digest.update("\n".join(map(str, getattr(self.frames, name))).encode())
        for name in ("positions", "headings", "times", "altitudes"):
            digest.update(np.ascontiguousarray(getattr(self.frames, name)).tobytes())
        return digest.hexdigest()


def read(name: str | os.PathLike, data_dir: str | None = None) -> Source:
    """Opens a source of images.

    Args:
      name: a folder in any layout that `tfds_builders positions` reads; its `places.csv`; a JSON file that
        it wrote; or a split of a prepared dataset, "places_csv/mine:reference". "FOLDER:SPLIT" takes one
        split of a folder.
      data_dir: where prepared datasets are; $TFDS_DATA_DIR, else TFDS's default.

    Raises:
      DataError: it is none of these or cannot be read.
    """
    if not str(name):  # a shell's unset variable; a path would mean the folder at hand
        raise DataError("no images are named: give a folder, its places.csv or a prepared split")
    path, split = pathlib.Path(name).expanduser(), ""
    if not path.exists() and ":" in str(name):
        before, _, split = str(name).rpartition(":")
        path = pathlib.Path(before).expanduser()
        if not path.exists():
            return _prepared(before, split, data_dir)
    if path.is_dir() or (path.suffix.lower() == ".csv" and path.is_file()):
        return _positions(path, split)
    if path.suffix.lower() == ".json" and path.is_file():
        return _from_json(path, path.parent, split)
    if path.suffix.lower() in VIDEOS:
        raise DataError(
            f"{name} is a video, and its track is another file: run python -m tfds_builders positions "
            f"{name} --track=TRACK --fps=2 --frames=FOLDER --out=FILE.json, and give that file"
        )
    raise DataError(
        f"{name} is no source of images: give a folder, its places.csv, a positions file (.json) or a "
        "split of a prepared dataset such as places_csv/mine:reference"
    )


def _prepared(name: str, split: str, data_dir: str | None) -> Source:
    section = types.SimpleNamespace(name=name, data_dir=data_dir or "")
    try:
        dataset = source.open_dataset(types.SimpleNamespace(dataset=section))
    except DataError as error:
        raise DataError(f"there is no folder {name}, and as a dataset: {error}") from error
    places = dataset.places((split,))
    if places.windows is not None:
        raise DataError(
            f"{name}:{split} asks and answers with windows of frames, and a map holds single images: build "
            "the dataset under a protocol of single images"
        )
    n = len(places)
    frames = Frames(
        image_ids=np.array(places.image_ids, np.str_),
        paths=np.full(n, "", np.str_),
        drives=np.full(n, split),
        positions=places.positions,
        headings=places.headings,
        times=_seconds(places.timestamps),
        altitudes=np.full(n, np.nan),
        unit=dataset.metadata.get("position_unit", "m"),
        crs=dataset.metadata.get("crs"),
    )
    return Source(frames, lambda form: _InForm(places, form), places.contents)


def _seconds(timestamps: np.ndarray) -> np.ndarray:
    """Microseconds as seconds; NaN where they only number the frames."""
    if len(timestamps) and (timestamps == np.arange(len(timestamps))).all():
        return np.full(len(timestamps), np.nan)
    return timestamps / 1e6


class _InForm:
    """The images of a prepared split in a model's form; those of its size stay as they are."""

    def __init__(self, places: source.Places, form: Form):
        self._places, self._form = places, form

    def __len__(self) -> int:
        return len(self._places)

    def images(self, indices) -> np.ndarray:
        found = self._places.images(indices)
        if found.shape[-3:-1] == (self._form.height, self._form.width):
            return found
        return np.stack([fit(image, self._form) for image in found])


class _Some:
    """Some pictures of others, numbered anew."""

    def __init__(self, pictures, numbers: np.ndarray):
        self._pictures, self._numbers = pictures, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def images(self, indices) -> np.ndarray:
        return self._pictures.images(self._numbers[np.asarray(indices)])


def _positions(raw: pathlib.Path, split: str) -> Source:
    """Asks `tfds_builders` for the positions of a raw folder or table."""
    log(f"reading the positions of {raw}")
    with builders.written(f"the positions of {raw}", "positions", str(raw)) as file:
        return _from_json(file, raw if raw.is_dir() else raw.parent, split)


def _from_json(file: pathlib.Path, root: pathlib.Path, split: str) -> Source:
    """The images of a positions file; their paths start where it says, else at `root`."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        splits = document["splits"]
        if split and split not in splits:
            known = ", ".join(splits)
            raise DataError(f"{root} has no split {split!r}; it has {known}")
        below = pathlib.Path(document.get("root") or root)
        below = below if below.is_dir() else root  # the folder has moved with the file
        frames = _frames(document, {split: splits[split]} if split else splits, below.absolute())
        _tell(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is no positions file ({type(error).__name__}: {error}); write it again with "
            "python -m tfds_builders positions"
        ) from error
    if not len(frames):
        raise DataError(f"{root} holds no images")
    stamps, contents = _files(frames.paths)
    frames = dataclasses.replace(frames, stamps=stamps)
    return Source(frames, lambda form: Pictures(frames.paths.tolist(), form), contents)


def _tell(document: dict) -> None:
    """Logs what the positions' reader warns of, and the images that it left out."""
    for words in document.get("warnings", ()):
        log(f"warning: {words}")
    left_out = document.get("left_out", ())
    for left in left_out[:MOST_TOLD]:
        log(f"left out: {left['image']}: {left['reason']}")
    if len(left_out) > MOST_TOLD:
        log(f"left out: {len(left_out) - MOST_TOLD:,} more")


def _frames(document: dict, splits: dict, root: pathlib.Path) -> Frames:
    rows = [row for own in splits.values() for row in own]

    def column(name: str) -> np.ndarray:
        values = (row.get(name) for row in rows)
        return np.array([np.nan if value is None else value for value in values], np.float64)

    return Frames(
        image_ids=np.array([row["id"] for row in rows], np.str_),
        paths=np.array([str(root / row["image"]) for row in rows], np.str_),
        drives=np.array([name for name, own in splits.items() for _ in own], np.str_),
        positions=np.stack([column("x"), column("y")], axis=1),
        headings=column("heading"),
        times=column("time"),
        altitudes=column("altitude"),
        unit=document.get("position_unit") or "m",
        crs=document.get("crs"),
    )


def _files(paths: np.ndarray) -> tuple[np.ndarray, str]:
    """Stamps and SHA-256 of the files' sizes and times of change: reading them all would take a pass.

    Raises:
      DataError: a file is missing; the error names it.
    """
    digest, stamps = hashlib.sha256(), []
    for path in paths.tolist():
        try:
            found = os.stat(path)
        except OSError as error:
            raise DataError(
                f"picture {path} cannot be read ({error.strerror}); check it"
            ) from error
        facts = f"{found.st_size} {found.st_mtime_ns}"
        digest.update(f"{path}\n{facts}\n".encode(errors="surrogateescape"))
        stamps.append(hashlib.sha256(facts.encode()).digest()[:8])
    return np.frombuffer(b"".join(stamps), "<i8").astype(np.int64), digest.hexdigest()
