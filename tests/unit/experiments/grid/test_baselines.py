"""The jobs above a grid's models."""

import json
import sys

import delf
import jax
import numpy as np
import pytest
from grid import baselines, cells, files
from grid.cells import Settings
from ml_collections import ConfigDict

from configs import base
from vprjax import models
from vprjax.errors import ConfigError
from vprjax.retrieval.baselines import BASELINES
from vprjax.weights import pretrained


def settings(tmp_path, dataset="nordland", weights=None, changes=()):
    return Settings(dataset, tmp_path, (0, 1), False, weights, None, changes)


def test_all_takes_every_baseline_and_what_is_random_once_per_seed(tmp_path):
    jobs = baselines.jobs(settings(tmp_path), "all")
    seeds = {name: [job.seed for job in jobs if job.name == name] for name in BASELINES}
    assert seeds["pixels"] == seeds["hog"] == seeds["seqslam"] == [0]
    assert seeds["vlad_sift"] == seeds["dense_vlad"] == seeds["fabmap"] == [0, 1]
    assert len(jobs) == 9  # no weights, no model
    for job in jobs:
        assert job.config["baseline"]["name"] == job.name and "--mode=evaluate" in job.words
        assert job.workdir == tmp_path / f"nordland/baselines/{job.name}/seed{job.seed}"


def test_a_model_takes_its_weights_and_ends_where_they_do(tmp_path):
    real = cells.WEIGHTS["real"]
    for name in real.values():
        (tmp_path / name).touch()
    jobs = baselines.jobs(settings(tmp_path, weights=tmp_path), "*-mac,hog")
    assert [job.name for job in jobs] == ["hog", "vgg16-mac", "mobilenetv2-mac"]
    part, whole = (job.config["model"] for job in jobs[1:])
    assert part["stage"] == "conv3"
    assert whole["weights"] == str(tmp_path / real["mobilenetv2"])
    assert whole["pooling"] == "mac" and jobs[-1].config["baseline"]["name"] == ""


def test_a_part_of_vgg16_leaves_nothing_random(tmp_path):
    shapes = dict(pretrained.names_and_shapes("vgg16", "keras").values())
    held = {n: np.ones(s, np.float32) for n, s in shapes.items() if n < "block4"}
    np.savez(tmp_path / cells.WEIGHTS["real"]["vgg16"], **held)
    (job,) = baselines.jobs(settings(tmp_path, weights=tmp_path), "vgg16-mac")
    config = ConfigDict(job.config["model"])
    loaded = pretrained.load(config.weights, "vgg16", config.partial_weights)
    like = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    variables = jax.eval_shape(models.build(config).init, jax.random.key(0), like)
    assert not pretrained.missing(variables, loaded) and len(held) == 14


def test_delf_runs_where_its_weights_lie(tmp_path, monkeypatch):
    own = settings(tmp_path, weights=tmp_path, changes=(("eval.recalls", (1, 5)),))
    assert not baselines.jobs(own, "del*")  # a pattern takes what is there
    index = tmp_path / "delf_gld_20190411/variables/variables.index"
    index.parent.mkdir(parents=True)
    index.touch()
    (job,) = baselines.jobs(own, "delf")
    assert job.words[0].endswith("experiments/delf.py") and f"--weights={index}" in job.words
    monkeypatch.setattr(
        sys, "argv", list(job.words)
    )  # the job's process makes the config it is told
    args = delf.parse()
    config = files.config_of(args.dataset, dict(map(cells.change, args.set)))
    config.model.weights = args.weights
    assert args.out == job.workdir and config.to_dict() == job.config


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("vlad_surf", "'vlad_surf' matches none of pixels, hog"),
        ("", "'' matches none of pixels, hog"),
        ("mobilenetv2-rmac", "mobilenetv2-rmac needs the folder of its weights, --weights"),
        ("delf", r"delf needs delf\*/\*\*/variables.index below the folder --weights"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, patterns, words):
    with pytest.raises(ConfigError, match=words):
        baselines.jobs(settings(tmp_path), patterns)


def test_changes_of_other_sections_do_not_reach_a_baseline(tmp_path):
    changed = (("eval.standardise", "sets"), ("loss.triplet.margin", 0.3))
    changed += (("eval.other_datasets", ("places_csv/abroad",)),)
    (job,) = baselines.jobs(settings(tmp_path, changes=changed), "hog")
    assert job.config["eval"]["standardise"] == "sets" and not job.config["eval"]["other_datasets"]
    assert job.config["loss"] == cells.config_of("nordland", "hog", {}).loss.to_dict()
    assert "--config.eval.standardise=sets" in job.words


def test_finished_rows_are_written(tmp_path):
    assert baselines.write(tmp_path, None) is None
    folder = tmp_path / "baselines/hog/seed0"
    folder.mkdir(parents=True)
    figures = {
        "fcm": {"1": 7.0},
        "interval": {"1": [5, 9]},
        "oracle_fcm": {"1": 99.0},
        "recall": {"1": 3},
    }
    config = base.select(base.get_config(), "hog").to_dict()
    cost = {"dimension": 8, "bytes_per_image": 32, "ms_per_image": 1.0}
    document = {
        "dataset": "x",
        "results": {"baseline": {"test01": figures}},
        "provenance": {"config": config, "cost": cost, "code_version": "1", "machine": ""},
    }
    (folder / "results.json").write_text(json.dumps(document))
    rows, made = baselines.write(tmp_path, None)
    assert rows[0].name == "hog" and made.rows[0][:4] == ["HOG", "test01", "1", "7.0 [5.0, 9.0]"]
    assert "7.0 [5.0, 9.0]" in (tmp_path / "baselines.md").read_text()
    assert (tmp_path / "baselines.csv").read_text().startswith("set,dataset,name")
