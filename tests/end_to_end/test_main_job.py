"""The shipped synthetic config through the real entry point, at a size for tests."""

import functools
import json

import numpy as np
import pytest

import vprjax
from tests.helpers import commands
from vprjax.storage.checkpoint import open_for_reading

STEPS = (
    "--config.train.steps=6",
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=2",
    "--config.tuples.mining_interval=4",
)
ABROAD = {"name": "abroad", "height": 48, "width": 64, "route_length": 150.0, "seed": 1, "train": 8}
ABROAD |= {"train_laps": 1, "reference": 16, "test01": 16, "test02": 12}
run = functools.partial(commands.run_with, commands.USERS, "vprjax.main")


def train(folder, data_dir, names="gem,triplet", *more):
    return run(*commands.small(names, folder, data_dir), *STEPS, *more)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    """A finished run, blended and measured abroad too; the first one also builds the missing dataset."""
    folder = tmp_path_factory.mktemp("trained")
    option = f"--config={json.dumps(ABROAD)}"
    commands.run("tfds_builders", "build", "synthetic", f"--data_dir={data_dir}", option)
    others = "--config.eval.other_datasets=('synthetic/abroad',)"
    return folder, train(folder, data_dir, "gem,triplet", others, "--config.eval.blend=0.5")


def test_results_hold_both_models_and_where_they_come_from(trained):
    folder, done = trained
    results = json.loads((folder / "results.json").read_text())
    assert results["schema"] == 1 and results["dataset"].startswith("synthetic/tiny:")
    assert results["tolerances_m"] == [25.0, 10.0, 5.0, 2.0]
    for model in ("off_the_shelf", "fine_tuned"):
        for split in ("test01", "test02"):
            figures = results["results"][model][split]
            values = list(figures["fcm"].values())
            assert list(figures["fcm"]) == ["25", "10", "5", "2"]
            assert values == sorted(values, reverse=True) and 0 <= values[-1] <= values[0] <= 100
            assert all(figures["oracle_fcm"][t] >= v for t, v in figures["fcm"].items())
            assert list(figures["recall"]) == ["1", "5", "10", "20"]
    provenance = results["provenance"]
    assert provenance["weights_sha256"] == "random" and provenance["steps"] == 6
    assert (
        provenance["dataset"]["counts"]["test01"]
        == results["results"]["fine_tuned"]["test01"]["queries"]
    )
    assert (folder / "fcm.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text()
    assert "MobileNetV2 + GeM, triplet" in page and "loss over training steps" in page
    assert "fine-tuned" in (folder / "results.md").read_text() and "FCM 2 m" in done.stdout


def test_the_model_is_shown_abroad_and_loaded_as_it_was_evaluated(trained):
    folder, done = trained
    results = json.loads((folder / "results.json").read_text())
    abroad = results["others"]["synthetic/abroad:1.1.0"]
    for model in ("off_the_shelf", "fine_tuned"):
        assert abroad["results"][model]["test02"]["queries"] == 12
    for by_split, queries in ((results["change"], 24), (abroad["change"], 16)):
        change = by_split["test01"]["25"]
        assert change["queries"] == queries
        gap = 100 * (change["gained"] - change["lost"]) / queries
        assert change["difference"] == pytest.approx(gap, abs=1e-3)
    assert results["provenance"]["blend"]["share"] == 0.5
    assert "| synthetic/abroad | test01 | 25 m |" in done.stdout
    assert "What this model forgot" in (folder / "report.html").read_text()
    model = vprjax.load(folder)
    reader = open_for_reading(folder)
    ends = (reader.restore_model(step)["params"]["pooling"]["p"] for step in (0, 6))
    assert model.engine.variables["params"]["pooling"]["p"] == pytest.approx(np.mean([*ends]))
    reader.close()


def test_metrics_are_logged_every_interval(trained):
    folder, _ = trained
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert {"loss", "active", "positive_distance", "grad_norm", "gem_p"} <= set(rows[0])
    # Three convolutions, each with its norm's scale and bias.
    assert (folder / "parameters.txt").read_text().count("backbone/") == 9


def test_evaluate_needs_only_the_checkpoint_and_gives_the_same_figures(trained, data_dir, tmp_path):
    folder, _ = trained
    run("--mode=evaluate", f"--checkpoint={folder}", f"--workdir={tmp_path}")
    first = json.loads((folder / "results.json").read_text())
    again = json.loads((tmp_path / "results.json").read_text())
    assert first["results"] == again["results"] and first["others"] == again["others"]


def test_netvlad_trains(data_dir, tmp_path):
    train(tmp_path, data_dir, "netvlad,triplet", "--config.model.netvlad_clusters=8")
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 3


def test_arcface_pair_trains(data_dir, tmp_path):
    train(tmp_path, data_dir, "gem,arcface", "--config.loss.arcface.classes=pair")
    assert (tmp_path / "results.json").exists()
