"""The command's errors, each ahead of anything slow; a file that computes something else is not written."""

import pathlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

import vprjax
from tests.helpers.commands import ROOT
from tests.helpers.small_models import small
from vprjax.errors import ConfigError, DataError, ExportError, WeightsError
from vprjax.export import FORMATS, __main__, check, program, stablehlo, write
from vprjax.export import onnx as onnx_format
from vprjax.localize import exported

pytest.importorskip("flatbuffers")


def run(capsys, *words):
    status = __main__.main([f"--{word}" for word in words])
    return status, capsys.readouterr()


def test_help_shows_one_whole_example_quickly():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vprjax.export", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python -m vprjax.export --model=runs/mine --format=onnx --out=mine.onnx" in done.stdout
    assert " jax" not in done.stderr and " numpy" not in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["size=8"], "--size=8 is neither HEIGHTxWIDTH, such as 224x224, nor free"),
        (["size=0x8"], "--size=0x8 is neither"),
        (["out=nowhere/a.zip"], "--out=nowhere/a.zip cannot be written: name a file in a folder"),
        (["out=."], "--out=. cannot be written"),
        (["out=a.onnx"], "a file of ONNX ends in .onnx, and no other does"),
        (["out=A.ONNX"], "a file of ONNX ends in .onnx, and no other does"),
        (["format=onnx"], "a file of ONNX ends in .onnx"),
        ([], "runs/typo is not there: give a run's workdir, an exported file"),
    ],
)
def test_mistakes_end_in_one_sentence(words, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"model": "runs/typo", "format": "stablehlo", "out": "a.zip"}
    given |= dict(word.split("=") for word in words)
    status, said = run(capsys, *(f"{name}={value}" for name, value in given.items()))
    assert status == 2 and said.out == ""
    assert said.err.startswith("vprjax: error: ") and reason in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights.pth", "photos.zip", "other.onnx", "OTHER.ONNX"])
def test_files_of_others_stay(name, capsys, tmp_path):
    out, kind = tmp_path / name, "onnx" if name.lower().endswith("onnx") else "stablehlo"
    out.write_bytes(b"a file of somebody")
    status, said = run(capsys, "model=runs/typo", f"format={kind}", f"out={out}")
    assert status == 2 and f"{name} is a file that this command did not write; name" in said.err
    assert out.read_bytes() == b"a file of somebody"


@pytest.mark.parametrize(
    ("module", "name"), [(stablehlo, "flatbuffers"), (onnx_format, "jax2onnx")]
)
def test_a_missing_package_is_named_with_its_command(module, name, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"needs {name}.*pip install"):
        module.check_installed()


@pytest.fixture
def model():
    return small("mobilenetv2", "gem", stage="expanded_conv")


def test_a_file_that_computes_something_else_is_not_written(model, tmp_path, monkeypatch):
    file = tmp_path / "a.zip"
    file.write_text("an older file")
    sound = program.program

    def off(*words):
        describe = sound(*words)
        return lambda images: describe(images) + 1e-3

    monkeypatch.setattr(stablehlo, "program", off)
    with pytest.raises(ExportError, match=r"differ from the model's by .* nothing is written"):
        write.write_model(model, "stablehlo", file, free=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert file.read_text() == "an older file"


def test_not_a_number_is_a_difference_too():
    assert not np.nan <= check.Difference(np.nan, 0.0).limit
    assert check.Difference(0.0, 1e-7).limit == check.MOST
    assert check.Difference(0.0, 1e-5).limit == 4e-5


def test_a_size_that_cannot_be_free_is_said(model, tmp_path, monkeypatch):
    def fails(*_):
        raise jax.errors.InconclusiveDimensionOperation("h")

    monkeypatch.setattr(stablehlo, "write", fails)
    with pytest.raises(ExportError, match=r"cannot be exported for any size: name one"):
        write.write_model(model, "stablehlo", tmp_path / "a.zip", free=True)


def test_what_cannot_be_exported_is_refused(model, tmp_path, monkeypatch):
    file = tmp_path / "a.zip"
    write.write_model(model, "stablehlo", file, free=False)
    with pytest.raises(ConfigError, match=r"a\.zip is an exported file already"):
        write.write(str(file), "stablehlo", tmp_path / "b.zip", None, False)
    model.engine.config.compute_dtype = "bfloat16"
    monkeypatch.setattr(write, "load", lambda *_: model)
    with pytest.raises(ConfigError, match="computes in bfloat16"):
        write.write("runs/mine", "stablehlo", tmp_path / "b.zip", None, False)


def test_files_that_are_no_export_are_named(model, tmp_path):
    file = tmp_path / "a.zip"
    write.write_model(model, "stablehlo", file, free=False)
    with pytest.raises(ConfigError, match=r"images of 32x40 .* alone, not 64x64: export it again"):
        vprjax.load(file, size=(64, 64))
    assert vprjax.load(file, size=(32, 40), engine="jax").id == model.id
    with pytest.raises(DataError, match="is computed by jax, not by onnxruntime"):
        vprjax.load(file, engine="onnxruntime")
    for name in ("a.onnx", "A.ONNX"):
        with pytest.raises(DataError, match="is computed by onnxruntime, not by jax"):
            vprjax.load(tmp_path / name, engine="jax")
    (tmp_path / "A.ONNX").write_bytes(b"x")
    assert exported.is_exported(tmp_path / "A.ONNX")
    with pytest.raises(DataError, match="engine is 'torch'; give one of 'jax', 'onnxruntime'"):
        vprjax.load(file, engine="torch")
    other(file, {exported.FACTS: "{}"})
    with pytest.raises(WeightsError, match="does not say its title, digest, form"):
        vprjax.load(file)
    other(file, {exported.PROGRAM: "no program"})
    with pytest.raises(WeightsError, match=r"a\.zip cannot be read .*export it again"):
        vprjax.load(file)
    file.write_bytes(file.read_bytes()[:60])  # it has few more
    with pytest.raises(WeightsError, match=r"a\.zip cannot be read .*export it again"):
        vprjax.load(file)


def other(file: pathlib.Path, changes):
    """Writes the archive again with members changed."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_damaged_onnx_file_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(WeightsError, match=r"a\.onnx cannot be read .*export it again"):
        vprjax.load(tmp_path / "a.onnx")


def test_every_format_is_a_module_with_the_two_functions():
    assert set(FORMATS) == {"stablehlo", "onnx"}
    for module in (stablehlo, onnx_format):
        assert callable(module.check_installed) and callable(module.write)
