"""`.mat` files of weights: nested arrays by name, and what a damaged or hostile one gets."""

import re
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from tests.helpers import matconvnet
from vprjax.errors import WeightsError
from vprjax.weights import files, matlab

SIZES = {0: (3, 3, 2, 4), 2: (1, 1, 6, 5)}


@pytest.fixture
def sound(tmp_path):
    rng = np.random.default_rng(0)
    layers = {n: (rng.normal(size=size), np.arange(4)) for n, size in SIZES.items()}
    return matconvnet.write(tmp_path / "net.mat", layers, (1.0, 2.0, 3.0), 3, opts="x"), layers


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_have_the_names_of_structs_and_cells(sound, compressed):
    file, layers = sound
    if compressed:
        scipy.io.savemat(file, {"net": scipy.io.loadmat(file)["net"]}, do_compression=True)
    found = files.read(file, "any")
    for name, wanted in {
        "net.layers.0.weights.0": layers[0][0],
        "net.layers.0.weights.1": layers[0][1],
        "net.layers.2.weights.0": layers[2][0][0, 0],
        "net.meta.normalization.imageSize": [224, 224, 3],
        "net.layers.1.stride": 1,
    }.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], np.float32(wanted))
    assert (found["net.meta.normalization.averageImage"] == [1, 2, 3]).all()
    assert not any("type" in name for name in found)


def bomb(kind, chunks):
    """A .mat whose compressed `net` is `chunks` x 16 MiB of zeros, doubles or bytes, or of empty cells."""
    size = chunks << 24
    unit, width, code, tag = {
        "numbers": (bytes(8), 8, 6, struct.pack("<2I", 9, size)),
        "bytes": (bytes(8), 1, 9, struct.pack("<2I", 2, size)),
        "cells": (struct.pack("<2I", 14, 0), 8, 1, b""),
    }[kind]
    head = struct.pack("<8I", 6, 8, code, 0, 5, 8, 1, size // width)
    head += struct.pack("<HH4s", 1, 3, b"net") + tag
    squeeze = zlib.compressobj(1)
    data = squeeze.compress(struct.pack("<2I", 14, len(head) + size) + head)
    data += b"".join(squeeze.compress(unit * (1 << 21)) for _ in range(chunks)) + squeeze.flush()
    start = b"MATLAB 5.0".ljust(124) + struct.pack("<H2s", 0x100, b"IM")
    return start + struct.pack("<2I", 15, len(data)) + data


@pytest.mark.parametrize(
    ("kind", "largest", "seconds", "told"),
    [
        ("numbers", 1 << 25, 60, "it takes more than 67,108,864 bytes to read"),
        ("bytes", 1 << 27, 60, "its arrays claim more than 134,217,728 bytes"),
        ("cells", 1 << 30, 1, "its reader crashed or took more than 1 s"),
    ],
)
def test_a_file_that_swells_is_refused(tmp_path, monkeypatch, kind, largest, seconds, told):
    monkeypatch.setattr(files, "LARGEST", largest)
    monkeypatch.setattr(matlab, "SECONDS", seconds)
    (tmp_path / "a.mat").write_bytes(bomb(kind, 4 if kind == "bytes" else 16))
    with pytest.raises(WeightsError, match=rf"a\.mat gives .* no weights: {re.escape(told)}"):
        files.read(tmp_path / "a.mat", "any")


def test_a_damaged_or_foreign_file_is_refused(sound, tmp_path):
    file, _ = sound
    (tmp_path / "cut.mat").write_bytes(file.read_bytes()[:1500])
    (tmp_path / "text.mat").write_text("no weights")
    scipy.io.savemat(tmp_path / "other.mat", {"dbStruct": np.ones(3)})
    for name, told in (
        ("cut", "truncated, corrupt or of another format"),
        ("text", "truncated, corrupt or of another format"),
        ("other", "it holds no variable net"),
    ):
        with pytest.raises(WeightsError, match=rf"{name}\.mat .*{told}"):
            files.read(tmp_path / f"{name}.mat", "any")
