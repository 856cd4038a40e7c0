"""Fills a map's folder: its first images, and further ones."""

import dataclasses
import pathlib
import types

import numpy as np
import pyproj

from vprjax.console import log
from vprjax.data.source import data_dir as datasets_folder
from vprjax.errors import DataError
from vprjax.localize import folder
from vprjax.localize.frames import Frames
from vprjax.localize.sources import Source


def first(at: pathlib.Path, model, source: Source, name: str, data_dir: str | None) -> None:
    """Builds a new map of a source, or ends one that was cut short; a whole one of the same stays.

    Raises:
      DataError: the folder holds another map or something else.
    """
    header = folder.read_header(at)
    if header is None:
        folder.check_own(at)
        header = folder.new_header(model, source)
        _append(at, header, model, source, _origin(name, data_dir))
        return
    folder.check_model(at, header, model)
    key = folder.open_rows(at / header["parts"][0]["folder"]).key
    if len(header["parts"]) > 1 or key != folder.part_key(model, unique(source)):
        if words := _stale(source.frames, _known(at, header), header, _origin(name, data_dir)):
            raise DataError(f"{at} holds a map already, and {words}")
        raise DataError(
            f"{at} holds a map of {header['parts'][0]['source']} already; add to it with --add, or name a "
            "new folder"
        )
    log(f"{at} is complete")


def further(at: pathlib.Path, model, source: Source, name: str, data_dir: str | None) -> int:
    """Adds the images of a source that the map lacks; returns their number.

    Raises:
      DataError: unit or system of positions do not fit, or names clash.
    """
    header = folder.read_header(at)
    folder.check_model(at, header, model)
    known = _known(at, header)
    origin = _origin(name, data_dir)
    source = unique(source)
    fresh = _missing(source.frames, known, header, origin)
    for words in _stale(source.frames, known, header, origin), _moved(source.frames, fresh, known):
        if words:
            log(f"warning: {words}")
    if not len(fresh):
        log(f"{at} has all {len(source.frames):,} images of {name} already")
        return 0
    if len(fresh) < len(source.frames):
        source = source.subset(fresh)
    if not any(np.isfinite(part.positions).any() for part in known):
        header |= {"position_unit": source.frames.unit, "crs": source.frames.crs}
    frames = in_system(source.frames, header, name, "build a map of its own")
    source = Source(_renamed(frames, known, name), source.pictures, source.contents)
    _append(at, header, model, source, origin)
    return len(fresh)


def _known(at: pathlib.Path, header: dict) -> list[Frames]:
    return [folder.open_part(at / part["folder"], header)[1] for part in header["parts"]]


def _append(at: pathlib.Path, header: dict, model, source: Source, origin: dict) -> None:
    part = folder.part_name(len(header["parts"]))
    folder.build_part(at / part, model, source)
    header["parts"].append({"folder": part, "images": len(source.frames), **origin})
    folder.write_header(at, header)


def _origin(name: str, data_dir: str | None) -> dict:
    path = pathlib.Path(name).expanduser()
    origin = {"source": str(path.absolute()) if path.exists() else name}
    return origin | ({"data_dir": str(pathlib.Path(data_dir).absolute())} if data_dir else {})


def unique(source: Source) -> Source:
    """The source itself; raises DataError where two images have one name."""
    ids, counts = np.unique(source.frames.image_ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{ids[counts > 1][0]} names two images of one source; rename one")
    return source


def _missing(frames: Frames, known: list[Frames], header: dict, origin: dict) -> np.ndarray:
    """Numbers of the frames that no part holds: a file is known by its path, a record by source and id."""
    have = set()
    for part, about in zip(known, header["parts"], strict=True):
        have.update(_marks(part, _record(about)))
    before = _before(origin["source"])
    marks = enumerate(_marks(frames, _record(origin)))
    both = (
        (n, mark, (*mark[:-1], f"{before}/{mark[-1]}")) for n, mark in marks
    )  # perhaps `_renamed`
    return np.array([n for n, *names in both if have.isdisjoint(names)], np.int64)


def _stale(frames: Frames, known: list[Frames], header: dict, origin: dict) -> str:
    """Says how many images of the map have another file or position in the source; "" for none."""
    own = {mark: number for number, mark in enumerate(_marks(frames, _record(origin)))}
    same_system = (frames.unit, frames.crs) == (header["position_unit"], header["crs"])
    changed = 0
    for part, about in zip(known, header["parts"], strict=True):
        pairs = [(own[m], n) for n, m in enumerate(_marks(part, _record(about))) if m in own]
        here, there = np.array(pairs, np.int64).reshape(-1, 2).T
        new, old = frames.stamps[here], part.stamps[there]
        differ = (new != old) & (new != 0) & (old != 0)
        if same_system:
            near = np.isclose(
                frames.positions[here], part.positions[there], rtol=0, atol=1e-6, equal_nan=True
            )
            differ |= ~near.all(axis=1)
        changed += int(differ.sum())
    words = "picture has" if changed == 1 else "pictures have"
    return f"{changed:,} {words} changed since it was built: build a new map" if changed else ""


def _moved(frames: Frames, fresh: np.ndarray, known: list[Frames]) -> str:
    """Says how many of the frames to add are a file of the map under another path; "" for none."""
    stamps = np.concatenate([part.stamps for part in known])
    count = int(np.isin(frames.stamps[fresh], stamps[stamps != 0]).sum())
    if not count:
        return ""
    words = "picture to add has" if count == 1 else "pictures to add have"
    return (
        f"{count:,} {words} size and time of change of pictures that the map holds: where their folder has "
        "moved, build a new map, or it holds them twice"
    )


def _marks(frames: Frames, record: tuple[str, ...]) -> list[tuple]:
    """What tells each image from others: its path, else what its records come from and the image's id."""
    pairs = zip(frames.paths.tolist(), frames.image_ids.tolist(), strict=True)
    return [(path,) if path else (*record, image_id) for path, image_id in pairs]


def _record(origin: dict) -> tuple[str, str]:
    """The prepared dataset that a source's records come from, and its folder."""
    section = types.SimpleNamespace(data_dir=origin.get("data_dir", ""))
    folder_of = datasets_folder(types.SimpleNamespace(dataset=section))
    return origin["source"], str(folder_of.absolute())


def _before(name: str) -> str:
    """What goes before the ids of a source whose ids the map uses already."""
    path = pathlib.Path(name).expanduser().absolute()
    return path.parent.name if path.is_file() else path.name


def _named(before: str, image_ids: np.ndarray) -> np.ndarray:
    return np.array([f"{before}/{image_id}" for image_id in image_ids], np.str_)


def _renamed(frames: Frames, known: list[Frames], name: str) -> Frames:
    """The frames, with the source's name before each of their ids if the map uses one of these."""
    have = {image_id for part in known for image_id in part.image_ids.tolist()}
    if have.isdisjoint(frames.image_ids.tolist()):
        return frames
    ids = _named(_before(name), frames.image_ids)
    clashes = have.intersection(ids.tolist())
    if clashes:
        remedy = (
            "rename the folder"
            if pathlib.Path(name).expanduser().exists()
            else "build a map of its own"
        )
        raise DataError(
            f"{min(clashes)} of {name} has the name of an image that the map holds from elsewhere; {remedy}"
        )
    return dataclasses.replace(frames, image_ids=ids)


def held(header: dict, known: Frames, frames: Frames, name: str) -> int:
    """Number of the frames of a source that a map holds: files by their path, records by source and id.

    Args:
      header: the map's.
      known: the map's images.
      frames: those of the source.
      name: the source.
    """
    have, first_of = set(), 0
    for part in header["parts"]:
        numbers = np.arange(first_of, first_of + part["images"])
        have.update(_marks(known.subset(numbers), (part["source"],)))
        first_of += part["images"]
    return sum(mark in have for mark in _marks(frames, (_origin(name, None)["source"],)))


def in_system(frames: Frames, header: dict, name: str, advice: str) -> Frames:
    """The frames with positions in the map's unit and system.

    Raises:
      DataError: no known change leads there; the sentence ends with the advice.
    """
    known = np.isfinite(frames.positions).all(axis=1)
    same = {"unit": header["position_unit"], "crs": header["crs"]}
    columns = {**vars(frames), **same}
    if not known.any() or {"unit": frames.unit, "crs": frames.crs} == same:
        return Frames(**columns)
    if not frames.crs or not header["crs"]:
        raise DataError(
            f"{name} has positions in {frames.unit} of {frames.crs or 'an unknown system'}, the map in "
            f"{header['position_unit']} of {header['crs'] or 'an unknown system'}: {advice}"
        )
    log(f"{name}: positions are brought from {frames.crs} to the map's {header['crs']}")
    change = pyproj.Transformer.from_crs(frames.crs, header["crs"], always_xy=True)
    positions = frames.positions.copy()
    positions[known] = np.stack(change.transform(*frames.positions[known].T), axis=1)
    return Frames(**{**columns, "positions": positions})
