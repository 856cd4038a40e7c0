"""VPR-Bench folders: order, lists in all their written forms, and hostile tables."""

import io
import json
import os
import pickle

import numpy as np
import pytest

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv import npy_lists

LISTS = [[0, 1], [1, 2, 3], [-1], [4]]
REFERENCES = 12


def objects(rows, shape) -> np.ndarray:
    """An array of objects as the datasets' own scripts make it."""
    array = np.empty(shape, object)
    for number, row in enumerate(rows):
        array[number] = row
    return array


def written(form: str) -> np.ndarray:
    if form == "rows":  # VPR-Bench: [query, list]
        return objects([[q, right] for q, right in enumerate(LISTS)], (4, 2))
    if form == "shuffled":
        return objects([[q, LISTS[q]] for q in (2, 0, 3, 1)], (4, 2))
    if form == "arrays":  # made anew by others: no query column
        return objects([np.array(right) for right in LISTS], (4,))
    if form == "numpy numbers":
        return objects(
            [[np.int64(q), [np.int32(n) for n in r]] for q, r in enumerate(LISTS)], (4, 2)
        )
    assert form == "first and last"
    return np.array([[0, 0, 1], [1, 1, 3], [2, -1, -1], [3, 4, 4]], float)


def make(raw, table=None, name="ground_truth_new.npy") -> None:
    write(raw / "query", *(f"{n}.jpg" for n in (9, 10, 100, 20)))
    write(raw / "ref", *(f"{n:07d}.jpg" for n in range(REFERENCES)), first=50)
    np.save(raw / name, written("rows") if table is None else table, allow_pickle=True)


def run(tmp_path, verb) -> int:
    option = json.dumps({"name": "mine", "layout": "vpr_bench"})
    return command(verb, "places_csv", tmp_path / "raw", tmp_path / "out", f"--config={option}")


@pytest.mark.parametrize("form", ["rows", "shuffled", "arrays", "numpy numbers", "first and last"])
def test_lists(tmp_path, form):
    old = form == "first and last"
    make(tmp_path / "raw", written(form), "ground_truth.npy" if old else "ground_truth_new.npy")
    assert run(tmp_path, "build") == 0
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    query, ref = records(folder, "query"), records(folder, "ref")
    assert [r["image_id"] for r in query] == [f"query/{n}.jpg".encode() for n in (9, 10, 20, 100)]
    assert [r["position"].tolist() for r in ref] == [[n, 0] for n in range(REFERENCES)]
    assert np.isnan([r["position"] for r in query]).all()
    told = metadata(tmp_path, builder="places_csv")
    right = [[] if r == [-1] else r for r in LISTS]
    assert told["positives"] == {"query": {"reference": "ref", "lists": right}}
    assert told["protocol"]["name"] == "vpr_bench" and told["protocol"]["radius"] is None
    assert any("1 of 4 queries have no right answer" in warning for warning in told["warnings"])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_tables_of_every_pickle_protocol(tmp_path, protocol, module):
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        data, {"descr": "|O", "fortran_order": False, "shape": (4, 2)}
    )
    text = pickle.dumps(written("rows"), protocol)
    own, other = b"numpy._core.multiarray", module.encode()
    if protocol >= 4:  # a short text with its length before it
        own, other = bytes([len(own)]) + own, bytes([len(other)]) + other
        text = text[:2] + text[11:]  # without the frame, whose length would change
    assert own in text
    (tmp_path / "a.npy").write_bytes(data.getvalue() + text.replace(own, other))
    rows = npy_lists.read(tmp_path / "a.npy")
    assert [row[1] for row in rows] == LISTS and [row[0] for row in rows] == [[0], [1], [2], [3]]


class Calls:
    """Calls a function when a pickle of it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(path, payload: bytes) -> None:
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        data, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    path.write_bytes(data.getvalue() + payload)


def test_no_function_of_the_file_runs(tmp_path):
    marker = tmp_path / "ran"
    array = np.empty(1, object)
    for call in (Calls(os.mkdir, str(marker)), Calls(eval, f"open({str(marker)!r}, 'w')")):
        array[0] = call
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        with pytest.raises(RawDataError, match=r"asks for (posix|builtins)"):
            npy_lists.read(tmp_path / "a.npy")
        assert not marker.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80\x04" + b"]" * 50,
        b"\x80\x02]r\x00\x10\x00\x00.",  # an object numbered beyond the file's size
        b"\x80\x04\x8e\x00\x10\x00\x00\x00\x00\x00\x00.",  # claims more bytes than the file has
        pickle.dumps([1, 2]),
        pickle.dumps(np.array(["a"], object)),
        pickle.dumps(np.array([1.5], object)),
        pickle.dumps(np.array([np.array(["2020"], "M8[Y]"), None], object)[:1]),
    ],
)
def test_other_pickles_are_refused(tmp_path, payload):
    hostile(tmp_path / "a.npy", payload)
    with pytest.raises(RawDataError, match="is no table of whole numbers"):
        npy_lists.read(tmp_path / "a.npy")


def test_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    make(raw, objects([[q, [q, 12]] for q in range(4)], (4, 2)))
    assert run(tmp_path, "validate") == 2
    assert "row 0: it names references 0 to 12 of 12 images in ref/" in capsys.readouterr().err
    np.save(raw / "ground_truth_new.npy", objects([[0, [1]]] * 4, (4, 2)), allow_pickle=True)
    assert run(tmp_path, "validate") == 2
    assert "row 1: it is of query 0, which is twice in the table" in capsys.readouterr().err
    np.save(raw / "ground_truth_new.npy", written("rows")[:3], allow_pickle=True)
    assert run(tmp_path, "validate") == 2
    assert "has 3 rows for 4 images in query/" in capsys.readouterr().err
    (raw / "query/9.jpg").rename(raw / "query/a9.jpg")
    assert run(tmp_path, "validate") == 2
    assert "query: 1 images have names that are no numbers: a9.jpg" in capsys.readouterr().err
