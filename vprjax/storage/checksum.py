"""Checksums of a run's files: a reader tells damage on the disk from figures."""

import hashlib
import json
import zlib
from typing import Any

import jax
import numpy as np

KEY = "crc32"


def seal(values: dict) -> dict:
    """`values` with their CRC-32 under the last key, `KEY`."""
    return {**values, KEY: _crc(values)}


def line(values: dict) -> str:
    """Sealed `values` as one line of a JSON Lines file."""
    return json.dumps(seal(values)) + "\n"


def unseal(text: str) -> dict:
    """The JSON object in `text` without its checksum; an object without a checksum passes.

    Raises:
      ValueError: `text` is no JSON object, or differs from its checksum.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    if KEY in values and values.pop(KEY) != _crc(values):
        raise ValueError("its checksum does not fit")
    return values


def _crc(values: dict) -> str:
    return f"{zlib.crc32(json.dumps(values).encode()):08x}"


def of_arrays(tree: Any) -> str:
    """SHA-256 of a tree's arrays: their paths, types, shapes and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()
