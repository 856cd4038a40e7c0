"""TensorFlow's checkpoints: variables by name, and files that are cut, damaged or of another network."""

import ml_dtypes
import numpy as np
import pytest

from tests.helpers import raw_bundle
from vprjax.errors import WeightsError
from vprjax.weights import bundle, files, pretrained

RNG = np.random.default_rng(0)
ARRAYS = {
    f"resnet_v1_50/block1/unit_{i}/bottleneck_v1/conv1/weights": RNG.normal(
        size=(1, 1, 3, i)
    ).astype("float32")
    for i in range(1, 60)
} | {
    "half": RNG.normal(size=(2, 3)).astype("float16"),
    "brain": RNG.normal(size=5).astype(ml_dtypes.bfloat16),
    "double": RNG.normal(size=4),
    "global_step": np.array(7, np.int64),
    "nothing": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def index(tmp_path):
    return raw_bundle.write(tmp_path / "variables", ARRAYS, texts=["a_text"])


def test_every_number_is_read_under_its_name(index):
    found = files.read(index, "a test")
    assert found.keys() == ARRAYS.keys()  # the text is left out
    for name, array in ARRAYS.items():
        assert found[name].dtype == np.float32 and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array.astype(np.float32))


def test_the_fingerprint_is_of_index_and_data(index):
    before = pretrained.fingerprint(str(index))
    data = index.with_name("variables.data-00000-of-00001")
    assert bundle.parts(index) == [index, data]
    raw = bytearray(data.read_bytes())
    raw[100] ^= 1
    data.write_bytes(raw)
    assert pretrained.fingerprint(str(index)) != before


def test_a_name_in_capitals_is_an_index_too(index):
    before = pretrained.fingerprint(str(index))
    capitals = index.rename(index.with_name("variables.INDEX"))
    assert files.read(capitals, "a test").keys() == ARRAYS.keys()
    assert pretrained.fingerprint(str(capitals)) == before


def refused(index, words):
    with pytest.raises(WeightsError, match=words) as error:
        files.read(index, "a test")
    assert str(index) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_cut_or_missing(index):
    whole, data = index.read_bytes(), index.with_name("variables.data-00000-of-00001")
    for end in (0, 40, len(whole) // 2, len(whole) - 1):
        index.write_bytes(whole[:end])
        refused(index, "truncated, corrupt")
    index.write_bytes(whole)
    data.write_bytes(data.read_bytes()[:-5])
    refused(index, "the data end before .*: they are cut")
    data.unlink()
    refused(index, "data-00000-of-00001 is not beside it")


def entry(**fields):
    shape = fields.pop("shape", ())
    made = raw_bundle.CLASSES["Entry"](dtype=1, **fields)
    for side in shape:
        made.shape.dim.add(size=side)
    return made.SerializeToString()


HEADER = raw_bundle.CLASSES["Header"](num_shards=1).SerializeToString()
BIG = raw_bundle.CLASSES["Header"](num_shards=1, endianness=1).SerializeToString()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(b"", HEADER), (b"a", entry(size=1 << 60, shape=(1 << 58,)))], "claim more than"),
        ([(b"", HEADER), (b"a", entry(size=4, shape=(1 << 40,)))], "has 4 bytes, but its shape"),
        ([(b"", HEADER), (b"a", entry(size=4, offset=1 << 50, shape=(1,)))], "the data end before"),
        ([(b"", HEADER), (b"a", entry(size=4, shard_id=3, shape=(1,)))], "the data end before"),
        ([(b"", HEADER), (b"a", entry(size=4) + b"\x3a\x00")], "cut into slices"),
        ([(b"a", entry(size=4))], "no header of a little-endian"),
        ([(b"", BIG)], "no header of a little-endian"),
        ([(b"", HEADER), (b"\xff\xfe", entry(size=4))], "truncated, corrupt"),
    ],
)
def test_a_hostile_index(tmp_path, entries, words):
    index = raw_bundle.write(tmp_path, {"x": np.zeros(3, np.float32)})
    index.write_bytes(raw_bundle.table(entries))
    refused(index, words)


def test_a_damaged_table(tmp_path):
    """The first key shares nothing; a key's length; a block's type; the last byte of the magic number."""
    index = raw_bundle.write(tmp_path, {"a": np.zeros(3, np.float32)})
    whole = index.read_bytes()
    for at, value in ((0, 9), (1, 200), (len(whole) - 1, 0)):
        damaged = bytearray(whole)
        damaged[at] = value
        index.write_bytes(damaged)
        refused(index, "truncated, corrupt")
    entries = [(b"", HEADER), (b"a", entry(size=4, shape=(1,)))]
    end = len(raw_bundle.block(entries))
    damaged = bytearray(raw_bundle.table(entries))
    assert damaged[end] == 0
    damaged[end] = 1
    index.write_bytes(damaged)
    refused(index, "its index is compressed")


def test_other_files_of_a_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(WeightsError, match=r"name the variables/variables\.index"):
        files.read(tmp_path / "saved_model.pb", "a test")
    index = raw_bundle.write(tmp_path, {"dense/kernel": np.zeros((2, 3), np.float32)})
    words = "it has dense/kernel, expected are resnet_v1_50/conv1"
    with pytest.raises(WeightsError, match=words):
        pretrained.load(str(index), "resnet50_slim")
