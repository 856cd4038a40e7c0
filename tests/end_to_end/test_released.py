"""A released model's file through every command, each in a process of its own as a user types it."""

import csv
import io
import json
import os
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest
import released
from flax import traverse_util

from configs import released as shipped
from tests.helpers import commands, released_files
from vprjax import models, run
from vprjax.data.pictures import Form
from vprjax.errors import ConfigError
from vprjax.localize import sources
from vprjax.models.backbones import BACKBONES, dinov2
from vprjax.report import run_page
from vprjax.training import preflight
from vprjax.weights import names
from vprjax.weights.initialise import random_head
from vprjax.weights.names import torch_shape
from vprjax.weights.released import FAMILIES, load

NAME = "cosplace_resnet18_32"


@pytest.fixture(scope="module")
def room(tmp_path_factory, tiny):
    """A folder with one small file in `files`, and beside it what is none."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "files").mkdir()
    file = folder / "files/ResNet18_32_cosplace.safetensors"
    released_files.write(file, released_files.cosplace())
    (folder / "files/notes.txt").write_text("from the authors' page")
    return folder


def flags(room, tiny, *more):
    return (
        f"--config=configs/released.py:{NAME},synthetic,triplet",
        f"--config.model.weights={room / 'files/ResNet18_32_cosplace.safetensors'}",
        "--config.dataset.name=synthetic/tiny",
        f"--config.dataset.data_dir={tiny}",
        "--config.dataset.query_splits=('test02',)",
        "--config.eval.batch=8",
        *more,
    )


def test_list_and_describe(room):
    assert f"{NAME} " in commands.run("vprjax.weights", "list").stdout
    file = str(room / "files/ResNet18_32_cosplace.safetensors")
    facts = json.loads(commands.run("vprjax.weights", "describe", file, "--json").stdout)
    assert NAME in facts["released_as"] and facts["dimension"] == 32


def test_evaluation_as_it_is_and_two_steps_of_fine_tuning(room, tiny):
    shelf = room / "shelf"
    done = commands.run("vprjax.main", "--mode=evaluate", f"--workdir={shelf}", *flags(room, tiny))
    words = "the network sees images of 48 x 64 pixels"
    assert done.stderr.count(f"warning: {words}") == 1
    results = json.loads((shelf / "results.json").read_text())
    assert any(w.startswith(words) for w in results["provenance"]["warnings"])
    tuned = room / "tuned"
    done = commands.run(
        "vprjax.main",
        f"--workdir={tuned}",
        *flags(room, tiny, *TRAINING),
    )
    trained = json.loads((tuned / "results.json").read_text())
    before, after = (trained["results"][name]["test02"] for name in ("off_the_shelf", "fine_tuned"))
    assert before["fcm"] == results["results"]["off_the_shelf"]["test02"]["fcm"]
    assert trained["provenance"]["steps"] == 2 and after["queries"] == before["queries"]
    assert any(w.startswith(words) for w in trained["provenance"]["warnings"])


TRAINING = (
    "--config.train.steps=2",
    "--config.train.checkpoint_every=2",
    "--config.train.log_every=1",
    "--config.model.train_from=head",
    "--config.tuples.batch=2",
    "--config.tuples.negatives=2",
    "--config.tuples.positive_radius=10.0",
    "--config.tuples.negative_radius=25.0",
    "--config.tuples.other_visit_seconds=0.0",
)


def test_a_map_finds_its_own_images(room, tiny, tmp_path):
    file = room / "files/ResNet18_32_cosplace.safetensors"
    places = sources.read("synthetic/tiny:reference", str(tiny))
    commands.run(
        "vprjax.localize",
        "map",
        *(f"--model={file}", "--images=synthetic/tiny:reference", f"--data_dir={tiny}"),
        *(f"--out={tmp_path / 'map'}", "--size=48x64"),
    )
    (tmp_path / "asked").mkdir()
    numbers = [1, 7]
    for number, image in zip(numbers, places.pictures(Form(48, 64)).images(numbers), strict=True):
        cv2.imwrite(str(tmp_path / f"asked/{number}.png"), image[:, :, ::-1])
    found = commands.run(
        "vprjax.localize",
        "query",
        *(f"--map={tmp_path / 'map'}", f"--images={tmp_path / 'asked'}", "--k=1"),
    )
    rows = [*csv.DictReader(io.StringIO(found.stdout))]
    assert [places.frames.image_ids[n] for n in numbers] == [row["match"] for row in rows]


def test_the_table_of_a_folder(room, tiny, monkeypatch, capsys):
    out = room / "table"
    words = [
        *("experiments/released.py", f"--weights={room / 'files'}", "--dataset=synthetic/tiny"),
        *(f"--out={out}", f"--set=dataset.data_dir={tiny}", "--set=eval.batch=8"),
    ]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stderr and "notes.txt" in done.stderr
    said = (out / "ResNet18_32_cosplace.safetensors/log.txt").read_text()
    assert "head is left out" not in said
    (line,) = json.loads((out / "released.json").read_text())
    assert line["dimension"] == 32 and line["ms_per_image"] > 0 and line["peak_gib"] > 0
    assert np.isfinite([*line["fcm"].values(), *line["recall"].values()]).all()
    assert line["model"] in (out / "released.md").read_text()
    monkeypatch.setattr("sys.argv", words)
    assert released.main() == 0  # again: it computes nothing
    assert "1 of 1 runs are finished" in capsys.readouterr().err


def test_a_head_that_fits_one_size_says_so_before_any_work(tiny, tmp_path):
    family = FAMILIES["mixvpr"]
    module = models.build(load.section(family.releases["mixvpr_resnet50_128"].model))
    image = jax.ShapeDtypeStruct((1, 320, 320, 3), np.float32)
    shapes = traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), image))
    arrays = {
        family.name(path): np.zeros(torch_shape(path, leaf.shape), np.float32)
        for path, leaf in shapes.items()
        if path[0] != "preprocess"
    }
    config = shipped.get_config("mixvpr_resnet50_128,synthetic,triplet")
    config.model.weights = str(released_files.write(tmp_path / "m.safetensors", arrays))
    config.dataset.update(name="synthetic/tiny", data_dir=str(tiny), query_splits=("test02",))
    with pytest.raises(
        ConfigError, match=r"mixvpr: the feature map has 3 x 4 = 12 positions, .* 400"
    ):
        preflight.check_untrained(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plain_backbone_under_a_released_config_is_told(tiny, tmp_path, capsys):
    """Its head would else be PCA of the dataset's own images, under the released model's name."""
    file = released_files.write(tmp_path / "r18.safetensors", released_files.backbone("resnet18"))
    config = shipped.get_config(f"{NAME},synthetic,triplet")
    config.model.weights = str(file)
    config.dataset.update(name="synthetic/tiny", data_dir=str(tiny), query_splits=("test02",))
    config.tuples.update(
        batch=8, other_visit_seconds=0.0, positive_radius=10.0, negative_radius=25.0
    )
    words = (
        f"{file} gives the backbone alone: the head starts anew, and these figures are not those of "
        f"{NAME}; set model.weights to its own file, ResNet18_32_cosplace.pth"
    )
    for check in (preflight.check_untrained, preflight.check_training):
        assert check(config, tmp_path / "run").warnings.count(words) == 1
        assert f"warning: {words}" in capsys.readouterr().err
    config.model.released = ""  # as another config with the same model
    assert words not in preflight.check_untrained(config, tmp_path / "run").warnings


def test_a_file_that_lost_its_head_is_told_in_the_results(tiny, tmp_path, monkeypatch):
    """SALAD's backbone without its aggregator would else be evaluated under a random head."""
    small = dinov2.declare("DINOv2 small", dinov2.Size(24, 1, 3))
    monkeypatch.setitem(BACKBONES, "dinov2_small", small)
    shapes = names.names_and_shapes("dinov2_small", "torch").values()
    arrays = {f"backbone.model.{name}": np.ones(shape, np.float32) for name, shape in shapes}
    config = shipped.get_config("salad,synthetic,triplet")
    config.model.backbone, config.model.salad.clusters = "dinov2_small", 8
    config.model.weights = str(released_files.write(tmp_path / "m.safetensors", arrays))
    config.dataset.update(name="synthetic/tiny", data_dir=str(tiny), query_splits=("test02",))
    ready = preflight.check_untrained(config, tmp_path / "run")
    words = random_head(config.model, ready.weights)
    assert "m.safetensors gives the backbone alone, and SALAD is of random values here" in words
    assert not random_head(config.model, {**ready.weights, "head": {}})
    config.model.pooling = "gem"
    assert not random_head(config.model, ready.weights)
    told = []

    def keep(folder, config, dataset, results, provenance, others, more):
        (folder / "results.md").touch()
        told.extend([*provenance["warnings"], provenance["start"]])

    monkeypatch.setattr(run.begin, "untrained_variables", lambda *_: ({}, ["weights", "SALAD so"]))
    monkeypatch.setattr(run.evaluate, "with_cost", lambda *_: ({}, {}))
    monkeypatch.setattr(run_page, "page", lambda *_: "")
    monkeypatch.setattr(run.result_files, "write", keep)
    config.model.pooling = "salad"
    run.evaluate_untrained(config, tmp_path / "run")
    assert words in told and "weights; SALAD so" in told
