"""`.caffemodel` and OverFeat's raw file: layouts, wrong networks, damaged and hostile files."""

import tracemalloc

import numpy as np
import pytest

from tests.helpers import raw_caffe
from vprjax.errors import WeightsError
from vprjax.models.backbones import overfeat, overfeat_accurate, overfeat_fast
from vprjax.weights import files, names, pretrained
from vprjax.weights.released import load

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((4, 3, 2, 2)).astype(np.float32)
FULLY = RNG.standard_normal((5, 16)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)
LAYERS = {"conv1": [KERNEL, BIAS], "relu1": [], "fc2": [FULLY], "scale": [BIAS, BIAS, BIAS[:1]]}


def written(path, raw):
    path.write_bytes(raw)
    return path


def refused(path, words, backbone="vgg16"):
    with pytest.raises(WeightsError, match=words) as error:
        pretrained.load(str(path), backbone)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "how", [{}, {"old": True}, {"doubles": True}, {"old": True, "doubles": True}]
)
def test_both_formats_hold_the_same_arrays(tmp_path, how):
    path = written(tmp_path / "a.caffemodel", raw_caffe.caffemodel(LAYERS, **how))
    found = files.read(path, "a test")
    order = [name for name in found if name.startswith("meta.order.")]
    assert order == [f"meta.order.{layer}" for layer in LAYERS]
    assert [int(found[name]) for name in order] == [0, 1, 2, 3]
    arrays = {name: array for name, array in found.items() if name not in order}
    wanted = {
        "conv1.weight": KERNEL,
        "conv1.bias": BIAS,
        "fc2.weight": FULLY,
        "scale.weight": BIAS,
        "scale.bias": BIAS,
        "scale.2": BIAS[:1],
    }
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays[name], array)


def state_of(backbone, source="caffe"):
    shapes = dict(names.names_and_shapes(backbone, source).values())
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def caffenet(tmp_path_factory):
    state = state_of("caffenet")
    state["conv1.weight"][:, 0] = 1  # blue
    layers = raw_caffe.layers_of(state, ("pool1", "norm1"))
    layers |= {"fc6": [FULLY], "fc8_places": [FULLY]}
    path = tmp_path_factory.mktemp("caffenet") / "bvlc_reference_caffenet.caffemodel"
    return written(path, raw_caffe.caffemodel(layers))


def test_blue_comes_first_in_the_file_and_last_here(caffenet):
    found = pretrained.load(str(caffenet), "caffenet")
    kernel = found["params"]["conv1"]["kernel"]
    assert kernel.shape == (11, 11, 3, 96)
    assert (kernel[:, :, 2] == 1).all() and not kernel[:, :, :2].any()
    np.testing.assert_allclose(
        found["preprocess"]["mean"], [122.6789, 116.6688, 104.007], atol=1e-3
    )
    released = load.read(str(caffenet))
    assert (released.family, released.config.backbone) == ("alexnet_caffe", "caffenet")
    assert (released.config.stage, released.config.pooling) == ("conv3", "flatten")
    np.testing.assert_array_equal(
        released.variables["params"]["backbone"]["conv1"]["kernel"], kernel
    )


def test_alexnet_and_caffenet_differ_by_the_order_of_their_layers(caffenet):
    assert pretrained.recognise(str(caffenet)) == "caffenet"
    words = "its pool1 comes before its norm1, expected norm1 before pool1"
    refused(caffenet, words, "alexnet_caffe")


def test_a_network_without_normalisation_is_not_told_their_order(caffenet):
    """And the hint names both networks that share their names."""
    words = (
        r"none of its 12 arrays .* expected are conv1_1\.bias, .*; they are of alexnet_caffe or "
    )
    words += "caffenet$"
    refused(caffenet, words, "vgg16")


def test_an_unknown_layer_is_named(caffenet, tmp_path):
    state = state_of("caffenet") | {"adapter.weight": np.zeros((2, 2), np.float32)}
    layers = raw_caffe.layers_of(state, ("pool1", "norm1")) | {"fc6": [FULLY]}
    path = written(tmp_path / "a.caffemodel", raw_caffe.caffemodel(layers))
    refused(path, r"extra \(1\): adapter\.weight", "caffenet")
    words = r"1 are unknown; it has adapter\.weight, .* expected are conv1\.(bias|weight), conv1"
    with pytest.raises(WeightsError, match=words):
        load.read(str(path))


def test_a_file_of_another_network_names_found_and_expected_arrays(tmp_path):
    layers = {"conv1/7x7_s2": [KERNEL, BIAS], "conv2/3x3": [KERNEL]}
    path = written(tmp_path / "googlenet.caffemodel", raw_caffe.caffemodel(layers))
    words = r"it has conv1/7x7_s2\.weight, .*expected are conv1\.bias, conv1\.weight"
    refused(path, words, "alexnet_caffe")
    with pytest.raises(WeightsError, match=r"it has conv1/7x7_s2\.bias, .* a CosPlace file has"):
        load.read(str(path))
    refused(path, "it has no names for files of caffe; known sources: torch", "resnet50")


@pytest.mark.parametrize("old", [False, True])
def test_a_cut_file_is_refused_wherever_it_ends(tmp_path, old):
    raw = raw_caffe.caffemodel({"conv1_1": [KERNEL, BIAS], "conv1_2": [KERNEL]}, old=old)
    path = tmp_path / "a.caffemodel"
    for end in range(0, len(raw), 7):
        path.write_bytes(raw[:end])
        refused(path, "truncated, corrupt|holds no weights|does not fit")


def varint(n):
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


def field(number, raw):
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def layer(*blobs, name=b"conv1_1"):
    return field(100, field(1, name) + b"".join(field(7, blob) for blob in blobs))


SHAPE = field(7, field(1, varint(1 << 62) + varint(1 << 62)))
HOSTILE = {
    "a layer of 2^60 bytes": (varint(100 << 3 | 2) + varint(1 << 60), "ends behind its message"),
    "numbers of 2^60 bytes": (
        field(100, field(7, varint(5 << 3 | 2) + varint(1 << 60))),
        "ends behind its message",
    ),
    "a shape of 2^124 numbers": (layer(SHAPE), "0 numbers, but its shape is"),
    "sides of 2^40": (
        layer(b"".join(varint(side << 3) + varint(1 << 40) for side in range(1, 5))),
        "0 numbers, but its shape is",
    ),
    "many axes": (layer(field(7, field(1, b"\x01" * 10_000))), "more than 32 axes"),
    "many layers": (b"\xa2\x06\x00" * 10_001, "more than 10,000 layers"),
    "many fields": (b"\x18\x01" * 60_000, "more than 50,000 fields"),
    "numbers one by one": (layer(varint(5 << 3 | 5) + b"\0\0\0\0"), "holds its numbers one by one"),
    "half a number": (layer(field(5, b"\0" * 6)), "ends inside a number"),
    "an endless number": (b"\xff" * 40, "ends inside a number"),
    "a group": (varint(1 << 3 | 3), "has type 3"),
    "a name that is a number": (field(100, varint(1 << 3) + b"\x05"), "number where a text"),
    "the same name twice": (layer(field(5, b"\0" * 4)) * 2, "two of its layers have the same name"),
    "no layer": (field(1, b"a net"), "none of its layers holds numbers"),
    "text": (b'name: "AlexNet"\nlayer {\n  name: "data"\n}\n', "truncated, corrupt"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_takes_no_memory(tmp_path, name):
    raw, words = HOSTILE[name]
    path = written(tmp_path / "a.caffemodel", raw)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=words):
            files.read(path, "a test")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_hole_in_a_sparse_file_is_no_weights(tmp_path):
    """A file of 6 GiB that takes none on the disk, with a shape that fits."""
    path, size = tmp_path / "a.caffemodel", 6 << 30
    blob = field(7, field(1, varint(size // 4))) + varint(5 << 3 | 2) + varint(size)
    inner = field(1, b"conv1_1") + varint(7 << 3 | 2) + varint(len(blob) + size) + blob
    with path.open("wb") as f:
        f.write(varint(100 << 3 | 2) + varint(len(inner) + size) + inner)
        f.truncate(f.tell() + size)
    with pytest.raises(WeightsError, match="its arrays claim more than"):
        files.read(path, "a test")


def test_a_prototxt_is_told_from_weights(tmp_path):
    path = written(tmp_path / "deploy.prototxt", b"layer {}")
    refused(path, r"it describes a network: name its \.caffemodel")


def test_overfeats_numbers_are_counted(tmp_path):
    """583,683,488 and 578,625,952 bytes: a kernel and biases a layer, the classifier's too."""
    assert overfeat.numbers(overfeat_fast.STEPS) == 145_920_872
    assert overfeat.numbers(overfeat_accurate.STEPS) == 144_656_488
    path = tmp_path / "net_weight_0"
    np.zeros(10, "<f4").tofile(path)
    words = r"it has 10 unnamed numbers, expected are conv1\.(bias|weight), conv1\."
    refused(path, words, "overfeat_fast")
    path.write_bytes(b"\0" * 11)
    refused(path, "ends inside a number", "overfeat_fast")
