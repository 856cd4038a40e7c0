"""Descriptors of a split on disk: streamed in time order, resumable, and checked when opened.

A store is a folder:

    rows           n x d numbers, row after row, of `store.json`'s dtype
    blocks.jsonl   one line per finished block: first row, rows, SHA-256 of its bytes
    places.npz     image ids and positions
    store.json     the rows' origin (`key`), their shape and dtype; written first

A store is complete when its blocks cover all rows. It lists a block only once its bytes are on disk, so
that a killed extraction goes on after the last one listed.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

from vprjax.errors import DataError, naming
from vprjax.models import multi_scale
from vprjax.models.descriptor import USUAL_NORMS
from vprjax.models.heads import HEADS
from vprjax.runtime import parallel
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
# Keys of a model that matter to its variables or its speed alone.
_HISTORY = ("weights", "released", "partial_weights", "projection_start", "train_from", "remat")


@dataclasses.dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
      folder: the store's folder.
      rows: `(n, d)` memory map.
      image_ids: `(n,)` str.
      positions: `(n, 2)` float64, position units.
      key: the rows' origin.
    """

    folder: pathlib.Path
    rows: np.memmap
    image_ids: np.ndarray
    positions: np.ndarray
    key: dict

    def check(self) -> None:
        """Compares every block with its checksum.

        Raises:
          DataError: bytes have changed; the error names the rows.
        """
        for block in _blocks(self.folder):
            if not _sound(self.folder, block, self.rows.shape[1] * self.rows.dtype.itemsize):
                last = block["first"] + block["rows"] - 1
                raise DataError(
                    f"{self.folder}: rows {block['first']} to {last} are damaged; delete the folder and "
                    "extract again"
                )


def fingerprint(model_config, variables) -> str:
    """Returns the SHA-256 of a model's config and variables: equal digests mean equal descriptors.

    The digest leaves out the source of the variables: a weights file at another path changes nothing.
    """
    head = HEADS[model_config.pooling]
    config = {
        k: v
        for k, v in model_config.to_dict().items()
        if k not in _HISTORY and not isinstance(v, dict)  # a section is one head's
    }
    own = {k: model_config[model_config.pooling][k] for k, key in head.keys.items() if not key.free}
    config |= {model_config.pooling: own}
    if tuple(config["norms"]) == USUAL_NORMS:  # earlier versions had no such key
        del config["norms"]
    if tuple(config["scales"]) == multi_scale.ONE:
        config = {k: v for k, v in config.items() if k not in ("scales", "scales_power")}
    if not config.get("lora_rank"):
        config.pop("lora_rank", None)
    config = json.dumps(config, sort_keys=True)
    return hashlib.sha256((config + checksum.of_arrays(variables)).encode()).hexdigest()


def write(
    folder: pathlib.Path, key: dict, places, dimension: int, dtype: str, describe: Callable
) -> Store:
    """Extracts the rows that the store lacks and opens it; the first process alone writes.

    Args:
      folder: the store's folder, made if missing.
      key: the rows' origin, JSON: the model's fingerprint, dataset, split, ...
      places: `image_ids (n,)` and `positions (n, 2)`.
      dimension: d.
      dtype: one of `DTYPES`.
      describe: `describe(first)` yields blocks `(m, d)` float32 of the rows from `first` on.

    Raises:
      DataError: the folder holds something else, or damaged rows.
    """
    header = {"key": key, "rows": len(places.image_ids), "dimension": dimension, "dtype": dtype}
    row_bytes = dimension * np.dtype(DTYPES[dtype]).itemsize
    if parallel.is_primary():
        _start(folder, header, places)
    parallel.barrier("store")
    done = _finished(folder, row_bytes)
    _append(folder, done, row_bytes, DTYPES[dtype], describe(done) if done < header["rows"] else ())
    parallel.barrier("stored")
    return open_store(folder, key)


def discard_other(folder: pathlib.Path, key: dict, dtype: str) -> bool:
    """Removes a store of another origin or type; returns whether there was one.

    Raises:
      DataError: the store's header is damaged.
    """
    header = _header(folder)
    if header is None or (header["key"] == key and header["dtype"] == dtype):
        return False
    shutil.rmtree(folder)
    return True


def open_store(folder: pathlib.Path, key: dict | None = None) -> Store:
    """Opens a complete store; with `key`, only one of this origin.

    Raises:
      DataError: the store is missing, of another origin, incomplete or cut short.
    """
    header = _header(folder)
    if header is None:
        raise DataError(
            f"{folder} holds no descriptors, as there is no store.json; extract them again"
        )
    if key is not None:
        _check_key(folder, header["key"], key)
    n, d, dtype = header["rows"], header["dimension"], DTYPES[header["dtype"]]
    row_bytes = d * np.dtype(dtype).itemsize
    size = (folder / "rows").stat().st_size if (folder / "rows").exists() else 0
    if size != n * row_bytes or sum(b["rows"] for b in _blocks(folder)) != n:
        raise DataError(
            f"{folder} is incomplete: {size:,} bytes of {n * row_bytes:,}; run the same command again"
        )
    try:
        with (folder / "places.npz").open("rb") as file:  # numpy leaves a damaged file open
            places = np.load(file, allow_pickle=False)
            image_ids, positions = places["image_ids"], places["positions"]
    except Exception as error:  # a damaged file makes numpy and zipfile raise anything
        raise DataError(
            f"{folder / 'places.npz'} cannot be read ({error}); delete the folder"
        ) from error
    rows = np.memmap(folder / "rows", dtype, "r", shape=(n, d))
    return Store(folder, rows, image_ids, positions, header["key"])


def _header(folder: pathlib.Path) -> dict | None:
    try:
        return checksum.unseal((folder / "store.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(
            f"{folder / 'store.json'} cannot be read ({error}); delete the folder"
        ) from error


def _check_key(folder: pathlib.Path, found: dict, wanted: dict) -> None:
    differ = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    if differ:
        name = differ[0]
        raise DataError(
            f"{folder} holds descriptors of another {name} ({found.get(name)} instead of "
            f"{wanted.get(name)}); delete it or name another folder"
        )


def _start(folder: pathlib.Path, header: dict, places) -> None:
    """Begins a new store, or checks the one begun before."""
    found = _header(folder)
    if found is not None:
        _check_key(folder, found["key"], header["key"])
        _check_key(folder, found, header)
        return
    shutil.rmtree(folder, ignore_errors=True)  # a store killed before its header was there
    folder.mkdir(parents=True)
    ids = np.array([str(i) for i in places.image_ids], dtype=np.str_)
    with naming(folder / "places.npz"):
        np.savez(folder / "places.npz", image_ids=ids, positions=np.asarray(places.positions))
    (folder / "rows").touch()
    write_atomically(folder / "store.json", json.dumps(checksum.seal(header), indent=1) + "\n")


def _blocks(folder: pathlib.Path) -> list[dict]:
    """Returns the listed blocks, up to a line that is damaged or cut short by a kill."""
    path = folder / "blocks.jsonl"
    out = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            out.append(checksum.unseal(line))
        except ValueError:
            break
    return out


def _sound(folder: pathlib.Path, block: dict, row_bytes: int) -> bool:
    digest = hashlib.sha256()
    with (folder / "rows").open("rb") as file:
        file.seek(block["first"] * row_bytes)
        left = block["rows"] * row_bytes
        while left and (piece := file.read(min(left, 1 << 24))):
            digest.update(piece)
            left -= len(piece)
    return not left and digest.hexdigest() == block["sha256"]


def _finished(folder: pathlib.Path, row_bytes: int) -> int:
    """Counts the sound rows from the first on; drops the blocks that follow them from the list."""
    done, kept = 0, []
    for block in _blocks(folder):
        if block["first"] != done or not _sound(folder, block, row_bytes):
            break
        kept.append(block)
        done += block["rows"]
    parallel.barrier("read")
    if parallel.is_primary():
        write_atomically(folder / "blocks.jsonl", "".join(map(checksum.line, kept)))
        os.truncate(folder / "rows", done * row_bytes)
    return done


def _append(folder, done: int, row_bytes: int, dtype, blocks: Iterator[np.ndarray]) -> None:
    """Writes each block through the first process, then its line in the list; all processes compute."""
    if not parallel.is_primary():
        for _ in blocks:
            pass
        return
    with (
        naming(folder / "rows"),
        (folder / "rows").open("r+b") as rows,
        (folder / "blocks.jsonl").open("a") as listed,
    ):
        rows.seek(done * row_bytes)
        for block in blocks:
            data = np.ascontiguousarray(block, dtype).tobytes()
            rows.write(data)
            rows.flush()
            os.fsync(rows.fileno())
            line = {
                "first": done,
                "rows": len(block),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            listed.write(checksum.line(line))
            listed.flush()
            os.fsync(listed.fileno())
            done += len(block)
