"""What a run says of itself."""

import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from configs import base
from tests.helpers import memory_places, short_run
from vprjax import run
from vprjax.config import apart, checks, limits
from vprjax.data import same_images, source
from vprjax.data.named import Named
from vprjax.errors import ConfigError, DataError, WeightsError
from vprjax.evaluation import blend, choose, elsewhere
from vprjax.report import provenance
from vprjax.storage import checkpoint, workdir
from vprjax.training import begin, beside, loop, preflight
from vprjax.training.validation import History


@pytest.mark.parametrize(("unit", "warned"), [("frames", True), ("m", False), (None, False)])
def test_a_unit_that_is_not_the_datasets_is_warned_of(unit, warned, monkeypatch):
    config, said = base.get_config(), []
    config.dataset.name = "places_csv/seasons"
    places = memory_places.standing(np.arange(10.0)[:, None] * [5.0, 5.0])
    dataset = types.SimpleNamespace(
        name=config.dataset.name,
        metadata={"position_unit": unit},
        places=lambda _: places,
    )
    monkeypatch.setattr(preflight, "log", said.append)
    monkeypatch.setattr(apart, "check", lambda *_: [])
    preflight.suspicions(config, dataset, None)
    assert [("are in frames, dataset.position_unit is 'm'" in line) for line in said] == (
        [True] * warned
    )


def test_evaluation_asks_ahead_of_its_long_work_whether_pca_fits(monkeypatch, tmp_path):
    config = base.get_config()
    config.eval.pca = 2000
    saved = types.SimpleNamespace(
        steps=lambda: [0], config=lambda _: {"config": config.to_dict(), "validations": []}
    )
    monkeypatch.setattr(run, "open_for_reading", lambda _: saved)
    places = memory_places.drive(size=(64, 64))
    dataset = types.SimpleNamespace(metadata={}, counts={"train": 3000}, places=lambda _: places)
    monkeypatch.setattr(checks, "check_values", lambda *_: None)
    monkeypatch.setattr(checks, "check_splits", lambda *_, **__: None)
    monkeypatch.setattr(source, "open_dataset", lambda _: dataset)
    with pytest.raises(ConfigError, match=r"eval.pca=2000 must be at most the \d+ dimensions"):
        run.evaluate_checkpoint("a run", None, tmp_path / "workdir")
    assert not (tmp_path / "workdir").exists()


def test_pca_without_images_to_fit_it_names_what_has_some(tmp_path):
    config = base.get_config()
    config.eval.update(pca=8, recalls=(1,))
    config.dataset.update(name="places_csv/mine", query_splits=("test01",))
    counts = {"reference": 24, "test01": 24, "first": 24}
    dataset = types.SimpleNamespace(counts=counts, folder=tmp_path, name="places_csv/mine")
    for splits, lacking in ((("train",), "train"), (("first", "second"), "second"), ((), "them")):
        config.dataset.train_splits = splits
        with pytest.raises(
            ConfigError,
            match=f"places_csv/mine has no images of {lacking}: name splits that it has",
        ):
            checks.check_splits(config, dataset, training=False)


def test_what_has_nothing_to_train_on_is_sent_to_evaluation(tmp_path):
    config = base.get_config()
    config.dataset.query_splits = ("test01",)
    dataset = types.SimpleNamespace(counts={"reference": 90, "test01": 24}, folder=tmp_path)
    with pytest.raises(DataError, match=r"no images in split 'train'.* alone, use --mode=evaluate"):
        checks.check_splits(config, dataset, training=True)


def test_a_sequence_longer_than_a_split_is_refused(tmp_path):
    config = base.get_config()
    config.eval.update(sequence_length=50, recalls=(1,))
    config.dataset.query_splits = ("test01",)
    dataset = types.SimpleNamespace(counts={"reference": 90, "test01": 24}, folder=tmp_path)
    with pytest.raises(ConfigError, match="=50 must not go over the 24 images of split 'test01'"):
        checks.check_splits(config, dataset, training=False)


def test_results_name_the_code_that_the_run_began_with(monkeypatch, tmp_path):
    """A checkout is often worked on while a long run goes on."""
    now, told = ["began"], []
    monkeypatch.setattr(provenance, "code_version", lambda: now[0])
    dataset = types.SimpleNamespace(name="places_csv/x", version="1.0.0", metadata={})
    ready = preflight.Ready(dataset, types.SimpleNamespace(held_out=None))
    monkeypatch.setattr(preflight, "check_training", lambda *_: ready)
    monkeypatch.setattr(workdir.compile_cache, "use", lambda _: None)

    def train(*_):
        assert "vprjax.report.run_page" in sys.modules  # which the end needs, as it is now
        now[0] += " and changed"

    monkeypatch.setattr(run.loop, "train", train)
    monkeypatch.setattr(run, "open_for_reading", lambda _: None)
    monkeypatch.setattr(run, "evaluate_models", lambda *words: told.append(words[-1]))
    config = base.get_config()
    config.dataset.name, config.tuples.batch = "places_csv/x", 8
    monkeypatch.delitem(sys.modules, "vprjax.report.run_page", raising=False)
    run.train_and_evaluate(config, tmp_path)
    assert now == ["began and changed"] and told == ["began"]


def test_the_commit_is_that_of_the_package_not_of_a_checkout_around_it(tmp_path, monkeypatch):
    package = tmp_path / "venv" / "vprjax"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(
        provenance,
        "vprjax",
        types.SimpleNamespace(__file__=str(package / "__init__.py"), __version__="9"),
    )

    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=b")
        subprocess.run(["git", "-C", tmp_path, *names, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / ".gitignore").write_text("venv\n")
    git("add", ".gitignore")
    git("commit", "-m", "another project")
    assert provenance.code_version() == "9"
    git("add", "-f", "venv")
    git("commit", "-m", "a checkout of the package")
    assert provenance.code_version().startswith("9 (") and "dirty" not in provenance.code_version()


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    """Evaluates the checkpoints in `tmp_path`: which step's model each result is of, and what is logged."""
    from vprjax.report import run_page  # here, as another test loads it anew

    config, said = base.get_config(), []
    dataset = types.SimpleNamespace(name="x", version="1", counts={}, metadata={})
    monkeypatch.setattr(run.evaluate, "evaluate", lambda *words: int(words[2]["step"][0]))
    monkeypatch.setattr(run_page, "page", lambda *_: "")
    monkeypatch.setattr(run.result_files, "write", lambda *_: None)
    monkeypatch.setattr(run, "log", said.append)
    (tmp_path / "results.md").touch()

    def evaluated():
        said.clear()
        reader = checkpoint.open_for_reading(tmp_path)
        ready = preflight.Ready(dataset)
        found = run.evaluate_models(config, ready, beside.Beside(), reader, tmp_path, "code")
        return found, said[:-1]

    return evaluated


def test_a_run_of_no_steps_has_no_second_model(evaluate, tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=3)
    model = {"step": np.zeros(3, int)}
    checkpoints.save(0, model, model, {"config": {}, "provenance": {}, "validations": []}, None)
    checkpoints.close()
    assert evaluate() == ({"off_the_shelf": 0}, [])


@pytest.mark.parametrize(("splits", "start"), [(("train",), "train"), (("none",), "reference")])
def test_weights_are_evaluated_as_they_are(monkeypatch, tmp_path, splits, start):
    """A map and queries, and nothing to train on: the head starts from the map."""
    from vprjax.report import run_page

    written, config = {}, base.get_config()
    dataset = short_run.Dataset()
    monkeypatch.setattr(apart, "check", lambda *_: [])
    dataset.places = lambda names: (written.update(start=names), memory_places.drive())[1]
    config.dataset.name, config.dataset.train_splits = dataset.name, splits
    config.model.weights, config.eval.recalls = "W.pth", (1,)
    monkeypatch.setattr(source, "open_dataset", lambda _: dataset)
    monkeypatch.setattr(preflight, "resolve", lambda path: path)
    monkeypatch.setattr(preflight.files, "read", lambda *_: {})
    monkeypatch.setattr(preflight.pretrained, "load", lambda *_, **__: {"w": 1})
    monkeypatch.setattr(preflight.pretrained, "fingerprint", lambda _: "12")
    monkeypatch.setattr(workdir.compile_cache, "use", lambda _: None)
    monkeypatch.setattr(
        begin.initialise, "initialise", lambda *words: ({"params": {"w": np.ones(3)}}, ["W"])
    )
    monkeypatch.setattr(run.evaluate, "with_cost", lambda *words: ({"of": words[2]}, {}))
    monkeypatch.setattr(run_page, "page", lambda *words: "")
    monkeypatch.setattr(
        run.result_files, "write", lambda *words: written.update(provenance=words[-3])
    )
    (tmp_path / "results.md").touch()
    results = run.evaluate_checkpoint(None, config, tmp_path)
    assert list(results) == ["off_the_shelf"] and written["start"] == (start,)
    told = {name: written["provenance"][name] for name in ("steps", "weights_sha256", "trained_on")}
    assert told == {"steps": 0, "weights_sha256": "12", "trained_on": ""}


def test_without_checkpoint_and_weights_both_ways_are_named(tmp_path):
    for config in (None, base.get_config()):
        with pytest.raises(ConfigError, match=r"needs --checkpoint, .* config\.model\.weights"):
            run.evaluate_checkpoint(None, config, tmp_path / "workdir")
    assert not (tmp_path / "workdir").exists()


def test_where_the_best_checkpoint_is_gone_the_best_of_the_others_is_evaluated(evaluate, tmp_path):
    """As the message about a damaged one says."""
    folder, history = tmp_path / "checkpoints", History(0, [])
    checkpoints = checkpoint.Checkpoints(folder, keep=3)
    scores = {0: None, 2: 9.0, 4: 8.0, 6: 5.0, 8: 7.0, 9: None, 10: 6.0}
    for step, score in scores.items():
        if score is not None:
            history.add(step, score)
        saved = {"config": {}, "provenance": {}, "validations": history.rows}
        model = {"step": np.full(3, step)}
        checkpoints.save(step, model, model, saved, history.best)
    checkpoints.close()
    assert evaluate() == ({"off_the_shelf": 0, "fine_tuned": 2}, [])
    data = next(path for path in (folder / "2/model").rglob("d/*") if path.stat().st_size)
    data.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"2 cannot be read .*; remove that folder to go on"):
        evaluate()
    for gone, left in ((2, 8), (8, 10)):  # of step 4, the second best, nothing was kept
        shutil.rmtree(folder / str(gone))
        results, said = evaluate()
        assert results == {"off_the_shelf": 0, "fine_tuned": left}
        assert said == [f"{folder}/2, which validated best, is gone: step {left} is evaluated"]
    shutil.rmtree(folder / "10")
    assert evaluate()[0]["fine_tuned"] == 9  # was not validated, but is the last


@pytest.fixture
def taken(monkeypatch, tmp_path):
    """Evaluates a run whose one number goes from 0 to 10: what each model's number is."""
    from vprjax.report import run_page

    config, told = base.get_config(), {}
    dataset = types.SimpleNamespace(name="x", version="1", counts={}, metadata={})
    monkeypatch.setattr(run.evaluate, "evaluate", lambda *words: float(words[2]["w"][0]))
    monkeypatch.setattr(run_page, "page", lambda *_: "")
    monkeypatch.setattr(run.result_files, "write", lambda *words: told.update(provenance=words[-3]))
    (tmp_path / "results.md").touch()
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=3)
    for step, number in ((0, 0.0), (4, 10.0)):
        saved = {"config": config.to_dict(), "provenance": {}, "validations": []}
        model = {"w": np.full(1, number, np.float32)}
        checkpoints.save(step, model, model, saved, None)
    checkpoints.close()

    def taken(besides, **settings):
        config.eval.update(**settings)
        reader = checkpoint.open_for_reading(tmp_path)
        ready = preflight.Ready(dataset, warnings=("of home",))
        found = run.evaluate_models(config, ready, besides, reader, tmp_path, "code")
        return found, told["provenance"]

    return taken


def test_evaluation_takes_the_blend_and_the_workdir_keeps_it(taken, tmp_path, monkeypatch):
    config = base.get_config()
    found, provenance = taken(beside.Beside(warnings=("of abroad",)))
    assert found["fine_tuned"] == 10.0 and "blend" not in provenance
    assert provenance["warnings"] == ["of home", "of abroad"]
    assert not (tmp_path / blend.FILE).exists()
    found, provenance = taken(beside.Beside(), blend="0.35")
    assert found == {"off_the_shelf": 0.0, "fine_tuned": 3.5}
    assert provenance["blend"]["share"] == blend.read(tmp_path, config).share == 0.35
    score, by = lambda variables: (-abs(float(variables["w"][0]) - 6), None), []
    monkeypatch.setattr(choose, "scorer", lambda *words: by.append(words[0]) or score)
    found, provenance = taken(beside.Beside(home="the run's own"), blend="auto")
    assert found["fine_tuned"] == 6.0 and len(provenance["blend"]["curve"]) == 11
    assert by == ["the run's own"]
    assert blend.read(tmp_path, config).curve[6].home == 0.0
    found, _ = taken(beside.Beside(), blend="off")  # what is loaded follows the last evaluation
    assert found["fine_tuned"] == 10.0 and blend.read(tmp_path, config).whole


@pytest.mark.parametrize("abroad", [False, True])
def test_a_blend_is_chosen_by_the_tolerances_of_the_validation_it_looks_at(monkeypatch, abroad):
    """Another dataset may list its right answers, within which no share would be better than another."""
    own, config = base.get_config(), base.get_config()
    own.dataset.update(name="places_csv/home", tolerances=(10.0, 1.0), train_splits=("a", "b"))
    own.eval.heading_degrees = 40.0
    config.dataset.update(name="places_csv/" + ("there" if abroad else "home"), tolerances=(0.0,))
    config.eval.standardise = "sets"
    opened, held = [], types.SimpleNamespace(queries="q", references="r")
    dataset = types.SimpleNamespace(places=lambda names: names)
    monkeypatch.setattr(
        beside.source, "open_dataset", lambda c: opened.append(c.dataset.name) or dataset
    )
    monkeypatch.setattr(beside, "split_off", lambda c, places, _: (places, held))
    found = beside.with_validation(beside.Beside(warnings=("w",)), config, own)
    assert found.held_out == ("q", "r") and found.warnings == ("w",)
    assert opened == ["places_csv/home"] and found.home.dataset.train_splits == ("a", "b")
    counts = found.home.dataset.tolerances, found.home.eval.heading_degrees
    assert counts == (((10.0, 1.0), 40.0) if abroad else ((0.0,), 0.0))
    assert found.home.eval.standardise == "sets" and own.dataset.tolerances == (10.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"other_datasets": ("places_csv/nowhere",)}, "'places_csv/nowhere' is not built under"),
        ({"blend": "0.5", "blend_runs": ("nowhere",)}, "no checkpoint in .*nowhere"),
    ],
)
def test_what_is_missing_besides_is_told_before_training(monkeypatch, tmp_path, settings, says):
    config = base.get_config()
    config.dataset.update(name="places_csv/x", data_dir=str(tmp_path))
    config.eval.update(**settings)
    dataset = types.SimpleNamespace(name="places_csv/x", version="1.0.0", metadata={})
    ready = preflight.Ready(dataset, types.SimpleNamespace(held_out=None))
    monkeypatch.setattr(preflight, "check_training", lambda *_: ready)
    with pytest.raises((DataError, WeightsError), match=says):
        run.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_blended_run_of_another_start_is_refused_ahead_of_the_slow_work(monkeypatch, tmp_path):
    config = base.get_config()
    config.eval.update(blend="0.5", blend_runs=("/other",))
    saved = types.SimpleNamespace(
        steps=lambda: [0], config=lambda _: {"config": config.to_dict(), "validations": []}
    )

    def refuse(checkpoints, runs):
        assert checkpoints is saved and runs == ("/other",)
        raise ConfigError("apart")

    monkeypatch.setattr(blend, "check_starts", refuse)
    monkeypatch.setattr(run, "open_for_reading", lambda _: saved)
    monkeypatch.setattr(preflight, "check_checkpoint", lambda *_: preflight.Ready(None))
    with pytest.raises(ConfigError, match="apart"):  # nothing beside is opened yet
        run.evaluate_checkpoint("a run", None, tmp_path / "workdir")
    assert not (tmp_path / "workdir").exists()

    monkeypatch.setattr(loop, "Job", lambda *_: types.SimpleNamespace(checkpoints=saved))
    monkeypatch.setattr(loop, "begin", lambda *_: ("step", "state", 0, None))
    monkeypatch.setattr(loop, "run_rounds", lambda *_: pytest.fail("it trains"))
    data = types.SimpleNamespace(facts={})
    with pytest.raises(ConfigError, match="apart"):
        loop.train(config, data, tmp_path, None, {})


def test_of_other_datasets_the_doubts_are_told_and_their_images_must_be_apart(
    monkeypatch, tmp_path
):
    """Their queries are compared with the images that the model trained on."""
    config, looked = base.get_config(), []
    other = elsewhere.Elsewhere(config, types.SimpleNamespace(name="places_csv/there"))
    monkeypatch.setattr(elsewhere, "find", lambda *_: (other,))
    monkeypatch.setattr(limits, "check_disk", lambda *_: None)
    monkeypatch.setattr(
        preflight, "suspicions", lambda *words: looked.append(words[1:]) or ["two are alike"]
    )
    read, trained, pairs, shares = (
        types.SimpleNamespace(name="places_csv/more"),
        ("home", ("train",)),
        [],
        [1, 9],
    )
    besides = (Named(read, ("summer",), None),)
    monkeypatch.setattr(
        same_images, "shared", lambda *pair: pairs.append(pair) or same_images.Shared(*shares)
    )
    found = beside.find_beside(config, None, trained, tmp_path, 2, besides)
    assert found.warnings[0] == "places_csv/there: two are alike"
    assert "1 of 9 images of split 'test01' are those of split 'summer'" in found.warnings[1]
    assert looked == [(other.dataset, trained)]
    assert pairs[0] == (other.dataset, "test01", read, "summer")
    shares[0] = 9
    with pytest.raises(ConfigError, match="places_csv/more, byte for byte: training would see"):
        beside.find_beside(config, None, trained, tmp_path, 2, besides)


def test_a_checkpoint_is_not_measured_on_what_its_training_read_besides(monkeypatch, tmp_path):
    """Keep images and further datasets, as far as they are still there."""
    config, opened = base.get_config(), []
    config.keep.images, config.dataset.query_splits = ("places_csv/there:a,b",), ("test01",)
    config.others.names = ("places_csv/gone:train",)
    there = types.SimpleNamespace(name="places_csv/there", places=lambda names: names)

    def open_dataset(c):
        opened.append((c.dataset.name, c.dataset.data_dir))
        if "gone" in c.dataset.name or not c.dataset.data_dir:
            raise DataError("it is not built")
        return there

    monkeypatch.setattr(source, "open_dataset", open_dataset)
    monkeypatch.setattr(preflight, "_check_evaluation", lambda *_: "the dataset")
    monkeypatch.setattr(preflight, "trained_on_images", lambda *_: None)
    monkeypatch.setattr(preflight, "suspicions", lambda *_: ("alike",))
    monkeypatch.setattr(
        same_images, "shared", lambda *pair: same_images.Shared(5 * (pair[-1] == "b"), 9)
    )
    trained_on = base.get_config().dataset
    trained_on.data_dir = "folder"
    with pytest.raises(ConfigError, match="5 of 9 images of split 'test01' are those of split 'b'"):
        preflight.check_checkpoint(config, tmp_path, trained_on, 2)
    names = ("places_csv/gone", "places_csv/there")
    assert opened == [(name, folder) for name in names for folder in ("", "folder")]
    config.keep.images = ("places_csv/there:a",)
    found = preflight.check_checkpoint(config, tmp_path, trained_on, 2)
    assert found.warnings == ("alike",)
    assert [part.dataset.name for part in found.besides] == ["places_csv/there"]
    config.train.steps = 0
    assert preflight.check_checkpoint(config, tmp_path, trained_on, 2).besides == ()
