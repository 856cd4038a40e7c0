"""NumPy's arrays and PCA in a PyTorch file's pickle: read as arrays, and nothing of the file runs."""

import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from vprjax.errors import WeightsError
from vprjax.weights import files, pickles

torch = pytest.importorskip("torch")

ARRAYS = {
    "rows": np.arange(600, dtype=np.float32).reshape(20, 30),
    "columns": np.asfortranarray(np.arange(600, dtype=np.float64).reshape(20, 30)),
    "big_endian": np.arange(4, dtype=">f4"),
    "whole": np.arange(3),
    "one": np.float32(2.5),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_of_numbers_are_read(tmp_path, zipped):
    others = {"text": np.array(["a"]), "object": np.array([{}, 3], object), 5: np.float64(0.5)}
    content = {
        "t": torch.ones(2),
        "inner": {**ARRAYS, **others},
        "mean": [1, 2.0, 3],
        "std": [1, 2],
    }
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = files.read(tmp_path / "a.pth", "any")
    assert set(found) == {"t", "mean", *(f"inner.{name}" for name in ARRAYS)}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[f"inner.{name}"], array)
    np.testing.assert_array_equal(found["mean"], [1, 2, 3])


def test_another_class_is_refused_by_its_name(tmp_path, monkeypatch):
    module = types.ModuleType("sklearn.decomposition.pca")
    module.KernelPCA = type("KernelPCA", (), {"__module__": module.__name__})
    for name in ("sklearn", "sklearn.decomposition"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"a": torch.ones(1), "pca": module.KernelPCA()}, tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"its pickle names sklearn\.decomposition\.pca\.KernelPCA"
    ):
        files.read(tmp_path / "a.pth", "any")


def write(folder, operations):
    """A PyTorch file whose pickle is these operations."""
    torch.save({"a": torch.ones(1)}, folder / "sound.pth")
    with (
        zipfile.ZipFile(folder / "sound.pth") as old,
        zipfile.ZipFile(folder / "a.pth", "w") as new,
    ):
        for name in old.namelist():
            sound = not name.endswith("data.pkl")
            new.writestr(name, old.read(name) if sound else b"\x80\x02" + operations + b".")
    return folder / "a.pth"


def text(words, number=None):
    stored = b"" if number is None else b"q" + bytes([number])
    return b"X" + len(words).to_bytes(4, "little") + words.encode() + stored


ENCODE, LONG = b"c_codecs\nencode\n", "a" * 300
# idna takes seconds for a text that Latin-1 takes none for: the square of its length.
HOSTILE = {
    "no codec": text(LONG),
    "another codec": ENCODE + text(LONG) + text("idna") + b"\x86R",
    "another codec, stored": text("idna", 1) + b"0" + ENCODE + text(LONG) + b"h\x01\x86R",
    "a stored text": text("latin1", 1)
    + b"0"
    + ENCODE
    + text(LONG, 2)
    + b"h\x01\x86R0"
    + ENCODE
    + b"h\x02"
    + text("idna")
    + b"\x86R",
    "a codec's number, taken again": text("latin1", 1)
    + b"0"
    + text("idna", 1)
    + b"0"
    + ENCODE
    + text(LONG)
    + b"h\x01\x86R",
    "a long name": b"c" + LONG.encode() + b"\nb\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_long_text_is_an_arrays_bytes_alone(tmp_path, what):
    with pytest.raises(WeightsError, match="a text of more than 200 characters"):
        files.read(write(tmp_path, HOSTILE[what]), "any")


def test_many_operations_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST_PICKLE", 1000)
    with pytest.raises(WeightsError, match="its pickle takes more than 1,000 bytes"):
        files.read(write(tmp_path, b"}0" * 600), "any")
    torch.save({"a": torch.ones(1), "b": np.ones(2000)}, tmp_path / "a.pth")
    assert len(files.read(tmp_path / "a.pth", "any")["b"]) == 2000  # an array's bytes are none


def test_a_pickle_of_any_length_is_no_weights_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST_INSIDE", 1000)
    torch.save({"a": torch.ones(1), "b": np.ones(2000)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="its pickle takes more than 1,000 bytes"):
        files.read(tmp_path / "a.pth", "any")


@pytest.mark.parametrize("shape", [(1 << 40,), (-1, 7), "a", (2.5,)])
def test_a_shape_that_the_bytes_do_not_fill_is_damage(shape):
    array = pickles.Array(None, (0,), b"b")
    kind = pickles.Kind("f4")
    kind.__setstate__((3, "<"))
    array.__setstate__((1, shape, kind, False, np.ones(3, np.float32).tobytes()))
    with pytest.raises((ValueError, TypeError)):
        array.numbers()


def test_the_stand_ins_are_for_one_file_alone(tmp_path):
    torch.save({"a": torch.ones(1), "b": np.ones(2)}, tmp_path / "a.pth")
    before = set(
        torch.serialization.get_safe_globals()
    )  # a set inside torch: its list has no order
    files.read(tmp_path / "a.pth", "any")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError, match="multiarray"):
        torch.load(tmp_path / "a.pth", weights_only=True)
