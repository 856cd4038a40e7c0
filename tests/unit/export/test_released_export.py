"""A released model's file becomes an exported program that gives the same descriptors."""

import importlib.util

import pytest

import vprjax
from tests.helpers import released_files
from vprjax.export import FORMATS, write

SUFFIXES = {"stablehlo": ".zip", "onnx": ".onnx"}
PACKAGES = {"stablehlo": "flatbuffers", "onnx": "jax2onnx"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_released_file_exports(name, tmp_path):
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    file = released_files.write(tmp_path / "a.safetensors", released_files.cosplace())
    out = tmp_path / f"a{SUFFIXES[name]}"
    said = write.write(str(file), name, out, (48, 64), False)
    assert "ResNet18 + GeM, 48x64 -> 32 dimensions" in said
    model, loaded = vprjax.load(file, size=(48, 64)), vprjax.load(out)
    assert loaded.id == model.id and loaded.title == model.title  # `write` has compared descriptors
