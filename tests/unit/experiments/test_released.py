"""The table of a folder's released models: which files are evaluated, and what the table shows."""

import json

import jax
import pytest
import released
from analysis import released_table
from grid import files

from configs import base
from tests.helpers import released_files
from vprjax.errors import ConfigError, DataError

FIGURES = {"fcm": {"25": 81.25, "5": None}, "recall": {"1": 50.0, "5": 75.0}}
MEASURED = {"dimension": 64, "parameters": 11_210_000, "ms_per_image": 1.234, "peak_bytes": 2**31}


def document(fcm, dataset="places_csv/mine:1.0.0", seed=0, ema=0.0, model="fine_tuned"):
    config = base.select(base.get_config(), "resnet50,gem,triplet")
    config.seed, config.optim.ema = seed, ema
    config.dataset.data_dir = f"folder{seed}"
    config = json.loads(json.dumps(config.to_dict()))
    figures = {"fcm": {"25": fcm, "5": None}, "recall": {"1": fcm / 2, "5": 75.0}}
    return {
        "dataset": dataset,
        "results": {model: {"test01": figures}},
        "provenance": {"config": config},
    }


def test_files_that_are_no_released_models_are_left_out(tmp_path, capsys):
    platforms = jax.config.jax_platforms
    released_files.write(tmp_path / "a.safetensors", released_files.cosplace(dimension=64))
    (tmp_path / "notes.txt").write_text("weights")
    (tmp_path / "cut.npz").write_bytes(b"PK")
    (tmp_path / "folder").mkdir()
    config = files.config_of("places_csv/mine", {"eval.batch": 8})
    (job,) = files.jobs(tmp_path, config, tmp_path / "out")
    said = capsys.readouterr().err
    assert said.count("left out: ") == 2 and "notes.txt has a suffix" in said and "cut.npz" in said
    assert job.name == "a.safetensors" and job.workdir == tmp_path / "out/a.safetensors"
    assert job.config["model"]["projection"] == 64 and job.config["eval"]["batch"] == 8
    assert job.config["model"]["weights"] == str(tmp_path / "a.safetensors")
    assert job.config["dataset"]["name"] == "places_csv/mine" and not job.finished()
    job.workdir.mkdir(parents=True)
    sha256 = files.pretrained.fingerprint(str(tmp_path / "a.safetensors"))
    job.results.write_text(json.dumps({"provenance": {"weights_sha256": sha256}}))
    assert files.jobs(tmp_path, config, tmp_path / "out") == [job]
    released_files.write(tmp_path / "a.safetensors", released_files.cosplace(dimension=64, seed=1))
    with pytest.raises(ConfigError, match=rf"another a\.safetensors, .* with {sha256[:8]}: remove"):
        files.jobs(tmp_path, config, tmp_path / "out")
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(ConfigError, match="holds no file of a released model"):
        files.jobs(tmp_path, config, tmp_path / "out")
    jax.config.update("jax_platforms", platforms)


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        ("nowhere", {}, "--dataset=nowhere is neither BUILDER/CONFIG nor one of .*nordland"),
        ("nordland", {"eval.batches": 3}, "--set: .*batches"),
    ],
)
def test_a_dataset_or_key_that_is_not_known(dataset, changes, message):
    with pytest.raises(ConfigError, match=message):
        files.config_of(dataset, changes)


def test_a_datasets_config_keeps_its_splits():
    assert files.config_of("nordland", {}).dataset.query_splits == ("test02",)
    assert files.config_of("places_csv/mine", {}).dataset.query_splits == ("test01",)


def test_the_table_has_files_and_own_runs(tmp_path, capsys):
    for seed, fcm in enumerate((80.0, 90.0)):
        run = tmp_path / f"grid/resnet50-gem-triplet/seed{seed}"
        run.mkdir(parents=True)
        (run / "results.json").write_text(json.dumps(document(fcm, seed=seed)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "results.json").write_text(json.dumps(document(1.0, "places_csv/else:1.0.0")))
    lines = released_table.of_file(
        "a.pth", {"results": {"off_the_shelf": {"test01": FIGURES}}}, MEASURED
    )
    lines += released_table.of_runs([tmp_path / "grid", other], "places_csv/mine:1.0.0")
    assert "is on places_csv/else:1.0.0, the table on places_csv/mine" in capsys.readouterr().err
    table = released_table.table(lines, "places_csv/mine:1.0.0", "m")
    assert table.head[2:8] == ["FCM 25 m", "FCM 5 m", "R@1", "R@5", "dimensions", "ms per image"]
    assert table.rows == [
        ["a.pth", "test01", "81.2", "", "50.0", "75.0", "64", "1.2", "2.00", "11.2"],
        ["ResNet50 + GeM, triplet, 2 runs", "test01", "85.0", "", "42.5", "75.0", *[""] * 4],
    ]
    released_table.write(tmp_path, table, lines)
    assert (
        (tmp_path / "released.csv").read_text().splitlines()[1].startswith("a.pth,test01,81.2,,50")
    )
    assert json.loads((tmp_path / "released.json").read_text())[1]["dimension"] is None
    assert "| a.pth | test01 |" in (tmp_path / "released.md").read_text()
    run = tmp_path / "grid+optim.ema=0.9/resnet50-gem-triplet/seed0"
    run.mkdir(parents=True)
    (run / "results.json").write_text(json.dumps(document(70.0, ema=0.9)))
    grids = [tmp_path / "grid", tmp_path / "grid+optim.ema=0.9"]
    lines = released_table.of_runs(grids, "places_csv/mine:1.0.0")
    assert {line.model: line.fcm["25"] for line in lines} == {
        "ResNet50 + GeM, triplet, 2 runs (grid)": 85.0,
        "ResNet50 + GeM, triplet, 1 run (grid+optim.ema=0.9)": 70.0,
    }
    with pytest.raises(DataError, match=r"holds no results\.json"):
        released_table.of_runs([tmp_path / "nothing"], "places_csv/mine:1.0.0")


def test_a_folder_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["released.py", "--weights=/nowhere", "--dataset=nordland"])
    assert released.main() == 2
    assert capsys.readouterr().err == "released: error: --weights=/nowhere is no folder\n"
