"""Exported files of every backbone and head, computed in a process that has no vprjax.

By default two heads of one backbone and a transformer's; `VPRJAX_EXPORT=all` takes all.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

import vprjax
from configs import base
from tests.helpers.small_models import EARLY, small
from vprjax.errors import ConfigError, ExportError
from vprjax.export import FORMATS, check, stablehlo, write
from vprjax.models.backbones import BACKBONES
from vprjax.models.heads import HEADS
from vprjax.models.heads.vectors import l2_normalize

SUFFIXES = {"stablehlo": ".zip", "onnx": ".onnx"}
EXTRAS = [{}, {"projection": 6}, {"pca": 5}, {"projection": 6, "pca": 5}]
# Every backbone has every head that it can feed once and, over its heads, every extra; GeM pools the whole
# network.
CELLS = {
    f"{backbone}-{head}": (
        backbone,
        head,
        EXTRAS[(row + column) % len(EXTRAS)]
        | ({"stage": "", "size": (64, 64)} if head == "gem" else {}),
    )
    for row, backbone in enumerate(BACKBONES)
    for column, head in enumerate(HEADS)
    if BACKBONES[backbone].class_token
    or not HEADS[head].class_token(base.get_config().model.get(head))
}
ALL = os.environ.get("VPRJAX_EXPORT") == "all"
CHOSEN = CELLS if ALL else ("mobilenetv2-gem", "mobilenetv2-netvlad", "dinov2_vits14-salad")
CONVOLUTIONAL = [name for name, variant in BACKBONES.items() if not variant.class_token]
NETWORKS = ("mobilenetv2", "vgg16", "resnet50")[: None if ALL else 1]

# The loaders of vprjax/export/README.md; a program prints the largest relative difference.
LOADERS = {
    "stablehlo": """
import json, zipfile
import jax
from jax import export
def loaded(path):
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read("model.json"))
        return export.deserialize(bytearray(archive.read("model.stablehlo"))).call, facts
""",
    "onnx": """
import json
import onnxruntime
def loaded(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    return lambda images: session.run(["descriptors"], {"images": images})[0], facts
""",
}
PROGRAM = """
import pathlib, sys
import numpy as np
worst, files = 0.0, sorted(pathlib.Path(sys.argv[1]).glob("*" + sys.argv[2]))
for file in files:
    run, facts = loaded(str(file))
    kept = np.load(file.with_suffix(".npz"))
    for images, wanted in ((kept["images"], kept["wanted"]), (kept["images"][:2], kept["wanted"][:2])):
        found = np.asarray(run(images))
        assert found.shape == wanted.shape and found.dtype == np.float32, (file, found.shape)
        worst = max(worst, float(np.linalg.norm(found - wanted, axis=1).max()))
    assert facts["id"] == str(kept["id"]) and facts["dataset"] == "places_csv/mine:1.0.0"
    assert facts["calibration"] == {"threshold": 0.5, "measure": "ratio"}
    assert facts["size"] == [*images.shape[1:3]]
foreign = {"vprjax", "flax"} | ({"jax"} if sys.argv[2] == ".onnx" else set())
print(len(files), worst, *sorted(foreign & set(sys.modules)))
"""


def needs(name):
    packages = {"stablehlo": ("flatbuffers",), "onnx": ("jax2onnx", "onnx", "onnxruntime")}[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    reason = f"{', '.join(missing)} is not installed: pip install 'vprjax[onnx]'"
    return pytest.mark.skipif(bool(missing), reason=reason)


each_format = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs(name)) for name in FORMATS]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@each_format
@pytest.mark.parametrize("cell", CHOSEN)
def test_every_backbone_and_head_exports(name, cell, folder):
    backbone, head, extras = CELLS[cell]
    calibration = {"threshold": 0.5, "measure": "ratio"}
    facts = {"dataset": "places_csv/mine:1.0.0", "calibration": calibration}
    model, file = small(backbone, head, **extras, **facts), folder / f"{cell}{SUFFIXES[name]}"
    said = write.write_model(model, name, file, free=False)
    assert f"{model.dimension} dimensions, id {model.id[:12]}" in said
    images = check.pictures(*model.size, 4)
    loaded = vprjax.load(file)
    wanted = loaded.describe(images)  # which the export has compared with the model's
    for fact in ("id", "size", "dimension", "title", "dataset", "calibration", "batch", "form"):
        assert getattr(loaded, fact) == getattr(model, fact), fact
    np.savez(file.with_suffix(".npz"), images=images, wanted=wanted, id=model.id)


@each_format
def test_files_run_in_a_process_without_vprjax(name, folder, tmp_path):
    count = len(list(folder.glob(f"*{SUFFIXES[name]}")))
    if not count:
        pytest.skip("the test before exports the files")
    done = subprocess.run(
        [sys.executable, "-c", LOADERS[name] + PROGRAM, folder, SUFFIXES[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen, worst, *foreign = done.stdout.split()
    assert int(seen) == count and float(worst) <= check.MOST and not foreign


@each_format
@pytest.mark.parametrize("backbone", CONVOLUTIONAL if ALL else NETWORKS)
def test_height_and_width_may_be_free(name, backbone, tmp_path):
    model = small(backbone, "netvlad", size=(64, 64))
    file = tmp_path / f"free{SUFFIXES[name]}"
    write.write_model(model, name, file, free=True)
    for size in ((64, 64), (35, 50), (33, 97)):
        images = check.pictures(*size, 3)
        found = vprjax.load(file, size=size)
        assert found.size == size
        assert check.compare(model, found, images).exported <= check.MOST
    with pytest.raises(ConfigError, match="takes images of 32 pixels or more"):
        vprjax.load(file, size=(31, 64))


@each_format
def test_a_transformer_needs_a_size(name, tmp_path):
    """Its positions are interpolated for one size."""
    model, file = small("dinov2_vits14", "gem"), tmp_path / f"free{SUFFIXES[name]}"
    with pytest.raises(ExportError, match=r"for any size: name one, such as --size=224x224"):
        write.write_model(model, name, file, free=True)


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (True, "for any size: name one"),
        (False, r"64x64 \(AttributeError: no rules\): use another --format"),
    ],
)
def test_whatever_a_converter_raises_is_a_sentence(free, words, tmp_path, monkeypatch):
    def fail(*_):
        raise AttributeError("no rules\nmore")

    monkeypatch.setattr(stablehlo, "write", fail)
    model = small("mobilenetv2", "gem", stage="", size=(64, 64))
    with pytest.raises(ExportError, match=words):
        write.write_model(model, "stablehlo", tmp_path / "a.zip", free)


@needs("stablehlo")
@pytest.mark.parametrize("backbone", NETWORKS)
def test_programs_for_other_platforms_hold_the_stock_convolutions(backbone, tmp_path):
    from jax import export

    model = small(backbone, "gem", stage="", size=(64, 64))
    stablehlo.write(model, (64, 64), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        program = export.deserialize(bytearray(archive.read("model.stablehlo")))
    assert program.platforms == ("cpu", "cuda", "tpu")
    text = program.mlir_module()
    convolutions = {"vgg16": 13, "resnet50": 53, "mobilenetv2": 52}[backbone]
    # jax writes a convolution once per platform.
    assert text.count("stablehlo.convolution") == convolutions * len(stablehlo.PLATFORMS)
    network = text.rpartition("stablehlo.convolution")[0]
    assert "rsqrt" not in network and "dot_general" not in network  # BatchNorm is in the kernels


def test_every_backbone_has_an_early_stage_here():
    assert set(EARLY) == set(BACKBONES)


@needs("onnx")
def test_a_pair_of_constant_bounds_is_one_clip():
    """ReLU6 then enters the convolution; a Max that has another reader, or bounds no Min, stays."""
    from onnx import TensorProto, helper

    from vprjax.export.onnx_graph import join_clips

    bounds = [
        helper.make_tensor(name, TensorProto.FLOAT, (), [value])
        for name, value in (("low", 0.0), ("high", 6.0))
    ]
    nodes = [
        helper.make_node("Max", ["x", "low"], ["a"]),
        helper.make_node("Min", ["a", "high"], ["b"]),
        helper.make_node("Max", ["b", "low"], ["read_twice"]),
        helper.make_node("Min", ["read_twice", "high"], ["c"]),
        helper.make_node("Min", ["read_twice", "c"], ["d"]),
        helper.make_node("Max", ["d", "x"], ["e"]),
        helper.make_node("Min", ["e", "high"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n",)) for n in "xy")
    model = helper.make_model(helper.make_graph(nodes, "clips", [x], [y], bounds))
    join_clips(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Clip", "Max", "Min", "Min", "Max", "Min"]
    assert [*model.graph.node[0].input] == ["x", "low", "high"] and model.graph.node[0].output == [
        "b"
    ]


@needs("onnx")
def test_long_sums_of_squares_are_exact(tmp_path):
    """A NetVLAD descriptor's length comes out of 131,072 squares; short sums and other axes stay."""
    import onnx
    import onnxruntime

    from vprjax.export import onnx as ours

    def run(x):
        return l2_normalize(l2_normalize(x).reshape(x.shape[0], -1))  # of 64 and of 131,072 numbers

    (b,) = jax.export.symbolic_shape("b")
    graph = ours.convert(run, {"x": jax.ShapeDtypeStruct((b, 2048, 64), np.float32)}, ["y"])
    onnx.checker.check_model(graph)
    sums = [node for node in graph.graph.node if node.op_type == "ReduceSumSquare"]
    assert len(sums) == 2 and sums[1].output[0].endswith("_parts")
    x = np.random.default_rng(0).standard_normal((2, 2048, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (y,) = session.run(None, {"x": x})
    assert np.abs(np.linalg.norm(y.astype(np.float64), axis=1) - 1).max() < 3e-7


@needs("onnx")
def test_relu6_is_a_clip_and_images_are_turned_first(tmp_path):
    import onnx

    from vprjax.export import onnx as ours

    ours.write(small("mobilenetv2", "gem", size=(64, 64)), (64, 64), tmp_path / "a.onnx")
    graph = onnx.load(tmp_path / "a.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Clip") == 5 and "Min" not in kinds
    assert kinds[:4] == ["Transpose", "Cast", "Sub", "Div"]
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read
    shapes = {tensor.name: [*tensor.dims] for tensor in graph.initializer}
    assert [shapes[node.input[1]] for node in graph.node[2:4]] == [[1, 3, 1, 1]] * 2
