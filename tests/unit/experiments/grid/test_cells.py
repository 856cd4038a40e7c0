"""Which runs a grid consists of, with which settings, and which count as finished."""

import json
import pathlib
import sys

import pytest
from absl import flags
from grid import cells, datasets
from grid.cells import Settings
from ml_collections import config_flags

from configs import nordland, synthetic
from vprjax.errors import ConfigError, DataError


def settings(dataset="synthetic", **values):
    known = {
        "dataset": dataset,
        "runs": pathlib.Path("runs/grid"),
        "seeds": (0,),
        "smoke": False,
        "weights": None,
        "images": None,
    }
    return Settings(**(known | values))


def test_twelve_cells_in_the_papers_order_each_with_its_folder():
    jobs = cells.training_jobs(settings(seeds=(0, 2)))
    assert len(jobs) == 24 and len({job.workdir for job in jobs}) == 24
    assert [job.seed for job in jobs] == [0] * 12 + [2] * 12
    names = [job.name for job in jobs[:5]]
    assert names == [
        "vgg16-gem-triplet",
        "resnet50-gem-triplet",
        "vgg16-netvlad-triplet",
        "resnet50-netvlad-triplet",
        "vgg16-gem-contrastive",
    ]
    assert jobs[14].workdir == pathlib.Path("runs/grid/synthetic/vgg16-netvlad-triplet/seed2")


def test_config_is_the_datasets_own_with_this_grids_keys():
    job = cells.training_jobs(settings(seeds=(2,)))[1]
    expected = synthetic.get_config("resnet50,gem,triplet")
    expected.seed = 2
    expected.dataset.name = "synthetic/cold_counts"
    expected.dataset.data_dir = "runs/grid/datasets"
    assert job.config == expected.to_dict() and job.steps == 1000
    assert "--config.dataset.name=synthetic/cold_counts" in job.words


def test_smoke_is_small_and_lies_apart():
    job = cells.training_jobs(settings(smoke=True))[0]
    assert job.steps == 4 and job.config["dataset"]["name"] == "synthetic/tiny"
    assert job.workdir.parts[2] == "synthetic-smoke"


def test_changed_keys_reach_config_and_command_and_the_grid_lies_apart():
    asked = settings(changes=(("tuples.mining", "random"), ("optim.ema", 0.5)))
    job = cells.training_jobs(asked)[0]
    assert job.config["tuples"]["mining"] == "random" and job.config["optim"]["ema"] == 0.5
    assert {"--config.tuples.mining=random", "--config.optim.ema=0.5"} <= set(job.words)
    assert job.workdir.parts[2] == "synthetic+tuples.mining=random+optim.ema=0.5"
    with pytest.raises(ConfigError, match='Did you mean "mining"'):
        cells.training_jobs(settings(changes=(("tuples.minning", "random"),)))
    with pytest.raises(ConfigError, match="--set"):
        cells.training_jobs(settings(changes=(("train.steps", "many"),)))


def test_real_datasets_start_from_the_weights_at_hand(tmp_path):
    for name in cells.WEIGHTS["real"].values():
        (tmp_path / name).touch()
    jobs = cells.training_jobs(settings("nordland", weights=tmp_path))
    assert len(jobs) == 12
    mobile, vgg = jobs[:2]
    expected = nordland.get_config("mobilenetv2,gem,triplet")
    assert mobile.config["train"] == expected.train.to_dict()
    assert mobile.config["model"]["weights"].endswith("notop.npz")
    assert vgg.config["model"]["partial_weights"] and vgg.steps == 100


def test_the_study_of_heads_has_real_weights_and_a_folder_of_its_own(tmp_path):
    (tmp_path / cells.WEIGHTS["real"]["mobilenetv2"]).touch()
    with pytest.raises(ConfigError, match=r"of mobilenetv2_1\.00_224_imagenet_notop\.npz with"):
        cells.training_jobs(settings(study="heads"))
    for dataset in ("synthetic", "nordland"):
        asked = settings(dataset, weights=tmp_path, study="heads", seeds=(0, 1))
        jobs = cells.training_jobs(asked)
        assert {job.name for job in jobs} == {
            f"mobilenetv2-{head}-{loss}"
            for head in ("gem_linear", "mixvpr", "salad", "flatten")
            for loss in ("multi_similarity", "triplet")
        }
        assert len(jobs) == 16 and jobs[0].workdir.parts[2] == f"{dataset}-heads"
        assert all(job.config["model"]["weights"].endswith("notop.npz") for job in jobs)
        assert all(job.config["model"]["batch_norm"] == "frozen" for job in jobs)
    gem, _, salad = (job.config["model"] for job in jobs[:3])
    assert gem["norms"] == ("local", "pooled")  # CosPlace's: L2, GeM, linear layer, L2
    assert salad["salad"]["token_dim"] == 0 and salad["salad"]["clusters"] < 8 * 4


def test_corridor_evaluates_nordlands_models(tmp_path):
    for name in cells.WEIGHTS["real"].values():
        (tmp_path / name).touch()
    asked = settings("corridor", weights=tmp_path)
    trained = cells.training_jobs(asked)
    jobs = cells.corridor_jobs(asked, trained)
    assert trained[0].workdir.parts[-3] == "nordland" and jobs[0].workdir.parts[-3] == "corridor"
    assert f"--checkpoint={trained[0].workdir}" in jobs[0].words and jobs[0].steps == 0
    assert jobs[0].config["dataset"]["name"] == "places_csv/corridor"
    assert jobs[0].config["train"] == trained[0].config["train"]


def test_corridor_is_evaluated_as_the_grid_sets(tmp_path):
    for name in cells.WEIGHTS["real"].values():
        (tmp_path / name).touch()
    asked = settings("corridor", weights=tmp_path, changes=(("eval.sequence_length", 5),))
    (job,) = cells.corridor_jobs(asked, cells.training_jobs(asked)[:1])
    assert job.config["eval"]["sequence_length"] == 5
    assert "--config.eval.sequence_length=5" in job.words


def test_missing_weights_are_told_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"vgg16-397923af\.pth and resnet50-0676ba61\.pth"):
        cells.training_jobs(settings("robotcar"))
    with pytest.raises(ConfigError, match=r"holds no vgg16-397923af\.pth"):
        cells.training_jobs(settings("cold", weights=tmp_path))
    assert len(cells.training_jobs(settings("robotcar", smoke=True))) == 12


def test_missing_data_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="tfds_builders build robotcar"):
        datasets.prepare(settings("robotcar"))
    there = tmp_path / "there"
    elsewhere = settings("robotcar", changes=(("dataset.data_dir", str(there)),))
    assert elsewhere.folder == settings("robotcar").folder
    with pytest.raises(DataError, match=f"--data_dir={there}"):
        datasets.prepare(elsewhere)
    with pytest.raises(DataError, match="needs --images"):
        datasets.prepare(settings("nordland", runs=tmp_path))


def test_many_settings_still_make_a_name_that_a_folder_may_have(tmp_path):
    many = [(key, "x" * 60) for key in ("model.weights", "dataset.name", "dataset.reference_split")]
    folders = []
    for value in (many, [*many, ("tuples.batch", 8)], [*many, ("tuples.batch", 9)]):
        folder = settings(runs=tmp_path, changes=tuple(value)).folder
        folder.mkdir()  # a name that is too long raises OSError
        folders.append(folder)
    assert len(set(folders)) == 3 and all(f.name.startswith("synthetic+") for f in folders)


def test_finished_means_results_of_this_config(tmp_path):
    changes = (("tuples.positive", "best"),)
    job = cells.training_jobs(settings(runs=tmp_path, changes=changes))[0]
    job.config["model"]["weights"] = "here/vgg16.pth"
    assert not job.finished()
    job.note_config()
    assert not job.finished()  # begun

    saved = json.loads(json.dumps(job.config))
    saved["dataset"]["data_dir"] = "/elsewhere"  # data and weights may move
    saved["model"]["weights"] = "/elsewhere/vgg16.pth"
    job.results.write_text(json.dumps({"provenance": {"config": saved}}))
    assert job.finished()

    del saved["tuples"]["positive"]  # an earlier version knew no such key, and took the best one
    job.results.write_text(json.dumps({"provenance": {"config": saved}}))
    assert job.finished()

    saved["model"]["weights"] = "/elsewhere/other.pth"
    job.results.write_text(json.dumps({"provenance": {"config": saved}}))
    with pytest.raises(ConfigError, match=r"model\.weights='/elsewhere/other\.pth', this grid"):
        job.finished()

    saved["model"]["weights"] = "/elsewhere/vgg16.pth"
    saved["train"]["steps"] = 7
    job.results.write_text(json.dumps({"provenance": {"config": saved}}))
    with pytest.raises(ConfigError, match=r"train\.steps=7, this grid 1000"):
        job.finished()


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    job = cells.training_jobs(settings(runs=tmp_path))[0]
    job.note_config()
    for text in ('{"provenance": {', '{"provenance": []}', '{"provenance": {}, "crc32": "0"}'):
        job.results.write_text(text)
        with pytest.raises(ConfigError, match=r"results\.json cannot be read .*remove .*seed0"):
            job.finished()


@pytest.mark.parametrize(
    ("text", "flag"), [("seed=7", "--seeds"), ("model.backbone=vgg16", "--cells")]
)
def test_what_a_grid_has_several_of_is_not_set(text, flag):
    with pytest.raises(ConfigError, match=f"choose with {flag}"):
        cells.change(text)


def test_a_run_that_was_begun_with_another_config_is_not_gone_on_with(tmp_path):
    job = cells.training_jobs(settings(runs=tmp_path))[0]
    job.note_config()
    path = job.workdir / "config.json"
    begun = json.loads(path.read_text())
    begun["optim"]["learning_rate"] = 0.5
    path.write_text(json.dumps(begun))
    with pytest.raises(ConfigError, match=r"optim\.learning_rate=0\.5, this grid 0\.0001"):
        job.finished()


def test_other_datasets_reach_every_run_and_a_finished_one_is_evaluated_again(
    tmp_path, monkeypatch
):
    names = ("places_csv/corridor", "synthetic/default")
    asked = settings(runs=tmp_path, others=names)
    plain, job = (cells.training_jobs(x)[0] for x in (settings(runs=tmp_path), asked))
    assert job.workdir == plain.workdir
    assert job.config["eval"]["other_datasets"] == names
    assert job.config["eval"]["other_tolerances"] == ((5.0, 3.0, 2.0, 1.0), ())
    assert f"--config.eval.other_datasets={names}" in job.words
    for config, with_others in ((plain.config, False), (job.config, True)):
        job.workdir.mkdir(parents=True, exist_ok=True)
        job.results.write_text(json.dumps({"provenance": {"config": config}}))
        assert plain.finished() and job.finished() == with_others
    config = synthetic.get_config("vgg16,gem,triplet")
    words = ["main", *(word for word in job.words if word.startswith("--config.eval"))]
    monkeypatch.setattr(sys, "argv", words)  # where ml_collections looks for the keys
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values)
    values(words)
    assert config.eval.other_datasets == names
    assert config.eval.other_tolerances == ((5.0, 3.0, 2.0, 1.0), ())
