"""The catalogue's command, its table on the page, and the config of a released model."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from configs import base, released
from tests.helpers import released_files
from tests.helpers.commands import ROOT
from vprjax.config import checks
from vprjax.weights import catalogue
from vprjax.weights.__main__ import main
from vprjax.weights.released import FAMILIES

PAGE = ROOT / "vprjax/weights/README.md"


def test_the_list_has_every_release(capsys):
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [n for f in FAMILIES.values() for n in f.releases]
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "--config=configs/released.py:NAME" in text.splitlines()[-2]
    files = [line for line in text.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in files] == [row["name"] for row in rows]
    row = next(line for line in files if line.startswith("  cosplace_resnet50_2048 "))
    assert re.split(r"\s{2,}", row.strip())[1:] == [
        *("2048 dimensions", "27.7 M parameters", "ResNet50_2048_cosplace.pth")
    ]
    for family in FAMILIES.values():
        head = f"{family.title} (licence: {family.licence}), images: {family.input_rule}"
        assert text.count(f"{head}\n{family.reference}\n  {next(iter(family.releases))} ") == 1


def test_a_list_whose_reader_has_enough_ends_quietly():
    words = f"{sys.executable} -m vprjax.weights list | :; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n" and not done.stderr


def test_a_description_whose_reader_has_enough_ends_quietly(monkeypatch):
    monkeypatch.setattr(catalogue, "describe", lambda path: {"file": path})
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:  # whose end raises where the text is not yet out
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["describe", "FILE", "--json"]) == 0


def test_a_list_reads_no_weights_and_starts_no_device():
    program = (
        "import sys; from vprjax.weights.__main__ import main; main(['list']); "
        "from jax._src import xla_bridge; print(sorted({'torch', 'h5py', 'orbax', 'safetensors', "
        "'vprjax.weights.released.load'} & set(sys.modules)), xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[] False"


def test_a_file_is_described(tmp_path, capsys):
    arrays = released_files.cosplace(dimension=64)
    file = released_files.write(tmp_path / "mine.safetensors", arrays)
    assert main(["describe", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["family"] == "CosPlace or EigenPlaces" and facts["dimension"] == 64
    assert "cosplace_resnet18_64" in facts["released_as"]
    assert facts["architecture"] == "ResNet18, GeM, linear layer to 64"
    assert facts["normalised"] == ["local", "descriptor"]
    counted = sum(
        array.size for name, array in arrays.items() if not re.search("running|num_batches", name)
    )
    assert facts["parameters"] == counted and len(facts["sha256"]) == 64
    assert facts["mean"] == [123.675, 116.28, 103.53] and len(facts["unused"]) == 20
    assert main(["describe", str(file)]) == 0
    text = capsys.readouterr().out
    assert f"{counted:,}" in text and facts["sha256"] in text
    assert re.search(r"\nunused arrays +20 counters of BatchNorm\n", text)
    assert re.search(r"\nL2 length 1 +each local descriptor, the linear layer's output\n", text)
    several = catalogue.text(facts | {"unused": [f"x{i}" for i in range(20)], "normalised": []})
    assert "x6, x7 and 12 more\n" in f"{several}\n" and "x8" not in several
    assert re.search(r"\nL2 length 1 +nothing\n", several)
    released_files.write(file, released_files.cosplace(dimension=33))
    assert main(["describe", str(file)]) == 0
    assert "no file of the catalogue" in capsys.readouterr().out


def test_a_file_that_is_no_released_model_is_an_error(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", a=np.zeros(3), b=np.zeros(3))
    assert main(["describe", str(tmp_path / "other.npz")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "it has a, b" in said and "backbone.0.weight" in said
    assert main(["describe", str(tmp_path / "nothing.pth")]) == 2
    assert "nothing.pth does not exist" in capsys.readouterr().err
    assert main(["describe", "salad"]) == 2
    assert "describe takes the path of dino_salad.ckpt" in capsys.readouterr().err


def section():
    """The page's table of released models, generated."""
    rows = ["| family | names | input | licence | reference |", "| --- | --- | --- | --- | --- |"]
    for family in FAMILIES.values():
        names = dict.fromkeys(re.sub(r"_\d+$", "", name) for name in family.releases)
        shown = ", ".join(f"`{name}`" for name in names)
        rows.append(
            f"| {family.title} | {shown} | {family.input_rule} | {family.licence} | {family.reference} |"
        )
    return "\n".join(rows)


def test_the_page_lists_every_family():
    text = PAGE.read_text(encoding="utf-8")
    found = text.partition("<!-- released -->\n")[2].partition("\n<!-- end -->")[0]
    assert found == section(), f"{PAGE} must hold, between its marks:\n{section()}"


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_the_kernel_of_a_form_is_that_of_the_rule(kernel):
    told = {name for name, family in FAMILIES.items() if kernel in family.input_rule}
    assert told and told == {n for n, family in FAMILIES.items() if family.form.kernel == kernel}


def test_a_config_takes_a_releases_model_and_a_datasets_rest():
    config = released.get_config("cosplace_vgg16_64")
    m = config.model
    assert (m.backbone, m.stage, m.projection) == ("vgg16", "conv5_linear", 64)
    assert m.norms == ("local", "descriptor") and config.dataset.query_splits == ("test01",)
    config = released.get_config("cosplace_resnet18_64,synthetic,arcface")
    m = (
        config.model
    )  # the dataset's config sets a stage, a projection and BatchNorm for its own models
    assert (m.stage, m.projection, m.batch_norm) == ("", 64, "frozen")
    assert config.dataset.name.startswith("synthetic/") and config.loss.name == "arcface"
    checks.check_values(config, config.dataset.name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cosplace_resnet18_65", "did you mean 'cosplace_resnet18_64'"),
        ("", "weights list names all"),
        ("cosplace_resnet18_64,nowhere", "unknown name 'nowhere'"),
    ],
)
def test_names_that_a_config_does_not_know(names, message):
    with pytest.raises(ValueError, match=message):
        released.get_config(names)


def test_only_a_released_models_config_minds_a_backbone_alone():
    config = released.get_config("salad").model
    config.weights = "dinov2_vitb14_pretrain.pth"
    words = catalogue.backbone_alone(config)
    assert words.startswith("dinov2_vitb14_pretrain.pth gives the backbone alone")
    assert words.endswith("not those of salad; set model.weights to its own file, dino_salad.ckpt")
    for name in ("", "of_another_version"):
        config.released = name
        assert catalogue.backbone_alone(config) == ""
    plain = base.select(base.get_config(), "dinov2_vitb14,salad").model
    assert catalogue.backbone_alone(plain) == ""


def test_every_release_has_a_config():
    for row in catalogue.rows():
        config = released.get_config(row["name"])
        assert config.model.released == row["name"]
        config.dataset.name = "places_csv/mine"
        checks.check_values(config, config.dataset.name)


def test_the_dataset_configs_are_the_shipped_ones():
    shipped = {file.stem for file in pathlib.Path(ROOT / "configs").glob("*.py")}
    assert set(released.DATASETS) == shipped - {"__init__", "base", "released"}
