"""A small .mat that inflates to gigabytes: refused within the memory and time that are told."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import dbstruct
from tfds_builders.places_csv.layouts.variant import Told


def mat_bomb(kind, chunks):
    """A .mat whose compressed dbStruct is `chunks` x 16 MiB of zeros, or of empty cells."""
    size = chunks << 24
    unit, code = {"numbers": (bytes(8), 6), "cells": (struct.pack("<2I", 14, 0), 1)}[kind]
    head = struct.pack("<8I", 6, 8, code, 0, 5, 8, 1, size // 8) + struct.pack("<2I", 1, 8)
    head += b"dbStruct" + (struct.pack("<2I", 9, size) if kind == "numbers" else b"")
    squeeze = zlib.compressobj(1)
    data = squeeze.compress(struct.pack("<2I", 14, len(head) + size) + head)
    data += b"".join(squeeze.compress(unit * (1 << 21)) for _ in range(chunks)) + squeeze.flush()
    start = b"MATLAB 5.0".ljust(124) + struct.pack("<H2s", 0x100, b"IM")
    return start + struct.pack("<2I", 15, len(data)) + data


@pytest.mark.parametrize(
    ("kind", "chunks", "memory", "seconds", "told"),
    [
        ("numbers", 128, 1 << 30, 60, "more than 1,073,741,824 bytes"),
        ("cells", 32, 1 << 30, 60, "more than 1,073,741,824 bytes"),
        ("cells", 32, 6 << 30, 1, "crashed or took more than 1 s"),
    ],
    ids=["2 GiB of numbers", "67 million cells", "67 million cells and too little time"],
)
def test_a_mat_that_swells_is_refused(tmp_path, monkeypatch, kind, chunks, memory, seconds, told):
    monkeypatch.setattr(dbstruct, "MEMORY", memory)
    monkeypatch.setattr(dbstruct, "SECONDS", seconds)
    (tmp_path / "a.mat").write_bytes(mat_bomb(kind, chunks))
    assert (tmp_path / "a.mat").stat().st_size < 10_000_000
    with pytest.raises(RawDataError, match=rf"a\.mat: its .* {told}"):
        dbstruct.read_dbstruct(tmp_path, Told())


def test_the_bounds_leave_room_for_many_images(tmp_path):
    """As many names as Pittsburgh's whole set has, in a file as MATLAB writes it."""
    count = 254_064
    names = np.array([[f"{i // 1000:03d}/{i:06d}_pitch1_yaw1.jpg"] for i in range(count)], object)
    utm = np.arange(2.0 * count).reshape(2, -1)
    fields = ("whichSet", "dbImageFns", "utmDb", "qImageFns", "utmQ")
    struct = dict(zip(fields, ("val", names, utm, names[:9], utm[:, :9]), strict=True))
    scipy.io.savemat(tmp_path / "a.mat", {"dbStruct": struct}, do_compression=True)
    found, positions, *_ = dbstruct.dbstruct(tmp_path / "a.mat")
    assert len(found) == count and found[-1] == "254/254063_pitch1_yaw1.jpg"
    assert (positions == utm.T).all()
