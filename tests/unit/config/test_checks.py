"""Values that do not go together are refused; the single ones are tried end to end."""

import contextlib
import json
import pathlib
import re
import types

import pytest
from ml_collections import ConfigDict

from configs import base, nordland, robotcar, synthetic
from vprjax.config import changes, checks
from vprjax.errors import ConfigError


def test_no_more_negatives_are_remembered_than_mined():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    c.tuples.remembered = c.tuples.negatives
    checks.check_values(c)
    c.tuples.remembered += 1
    with pytest.raises(
        ConfigError, match=r"tuples.remembered=6 must be at most tuples.negatives=5"
    ):
        checks.check_values(c)


def test_the_config_of_an_earlier_version_gets_the_keys_it_lacks():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    saved = c.to_dict()
    for key in changes.LATER:
        section, name = key.split(".")
        del saved[section][name]
    checks.check_values(ConfigDict(changes.completed(saved)))
    for key in changes.LATER:  # what was saved stays as it is
        section, name = key.split(".")
        rest = changes.completed(saved)
        del rest[section][name]
        with pytest.raises(ConfigError, match=f"lacks {re.escape(key)}"):
            checks.check_values(ConfigDict(rest))
        assert name not in saved[section]
    saved = changes.completed(saved)
    saved["model"]["norms"] = ("local", "descriptor")
    saved["places"]["by"] = "label"
    saved["eval"].update(rerank=7, rerank_bits=64)
    saved["tuples"].update(positive="random", heading_degrees=30.0)
    saved["eval"].update(blend="auto", other_datasets=("places_csv/abroad",))
    saved["baseline"]["name"] = "hog"
    saved["eval"].update(standardise="sets", query_expansion=5)
    saved["eval"].update(database_augmentation=4, expansion_power=0.0)
    assert changes.completed(saved) == saved


def test_a_section_of_a_later_version_is_added_whole():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    saved = c.to_dict()
    del saved["keep"], saved["others"]
    checks.check_values(ConfigDict(changes.completed(saved)))
    assert changes.completed(saved) == c.to_dict() and "keep" not in saved


@pytest.mark.parametrize("saved", [{}, {"tuples": {}, "model": {"backbone": "vgg16"}}])
def test_a_damaged_config_still_names_what_it_lacks(saved):
    with pytest.raises(ConfigError, match="the config lacks seed"):
        checks.check_values(ConfigDict(changes.completed(saved)))


def test_a_section_that_is_a_number_is_told_like_an_unknown_key():
    with pytest.raises(ConfigError, match="config key tuples is unknown"):
        checks.check_values(ConfigDict(changes.completed({"tuples": 3})))


def begun(**provenance):
    c = base.get_config()
    c.dataset.name = "places_csv/mine"
    made = {"trained_on": "places_csv/mine:1.0.0", "weights_sha256": "12"} | provenance
    return c, made, {"config": json.loads(json.dumps(c.to_dict())), "provenance": dict(made)}


def test_a_run_goes_on_with_another_rate_length_and_memory():
    c, made, saved = begun()
    c.optim.update(learning_rate=1e-3, clip_norm=0.0)
    c.train.update(steps=5, accumulate=2)
    c.tuples.mining_pool = 500  # what mining asks for where negatives run out
    c.model.update(remat=True, weights="elsewhere/weights.pth")
    c.dataset.update(data_dir="/elsewhere", query_splits=("night",))
    c.eval.pca = 8
    changes.check_resumed(c, made, saved, "runs/mine")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("loss", "name", "arcface"),
        ("model", "pooling", "netvlad"),
        ("tuples", "batch", 8),
        ("optim", "name", "sgd"),
        ("optim", "ema", 0.9),
        ("validation", "every", 5),
        ("dataset", "train_splits", ("train", "more")),
    ],
)
def test_a_workdir_of_another_run_is_refused(section, key, value):
    c, made, saved = begun()
    was, c[section][key] = saved["config"][section][key], value
    now = json.loads(json.dumps(value))  # which has no tuples
    words = f"runs/mine holds a run with {section}.{key}={was!r}, this one has {now!r}"
    assert was != now
    with pytest.raises(ConfigError, match=re.escape(words)):
        changes.check_resumed(c, made, saved, "runs/mine")


def test_keys_of_heads_and_losses_that_a_run_does_not_use_are_free():
    c, made, saved = begun()
    assert (c.model.pooling, c.loss.name) == ("gem", "triplet")
    c.model.salad.token_dim, c.model.netvlad.clusters = 7, 3
    c.loss.arcface.scale = 2.0
    changes.check_resumed(c, made, saved, "runs/mine")
    c.loss.triplet.margin = 0.9
    with pytest.raises(ConfigError, match=r"holds a run with loss\.triplet\.margin="):
        changes.check_resumed(c, made, saved, "runs/mine")


def test_a_run_that_an_earlier_version_began_goes_on():
    """The file holds the config that version d1364c0 saved in a checkpoint of RobotCar's config."""
    saved = json.loads((pathlib.Path(__file__).parent / "robotcar_d1364c0.json").read_text())
    c = robotcar.get_config("resnet50,gem,triplet")
    c.dataset.name, c.model.stage, c.places.batch_places = "robotcar/small", "conv1", 2
    c.tuples.heading_degrees = 0.0  # that version drew positives whichever way they look
    made = {"trained_on": "robotcar/small:1.0.0", "weights_sha256": "12"}
    changes.check_resumed(c, made, {"config": saved, "provenance": made}, "runs/mine")
    c.tuples.batch += 1
    with pytest.raises(ConfigError, match=r"holds a run with tuples\.batch="):
        changes.check_resumed(c, made, {"config": saved, "provenance": made}, "runs/mine")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("dataset", "tolerances", (5.0,)),
        ("eval", "heading_degrees", 30.0),
        ("eval", "standardise", "sets"),
        ("eval", "rerank", 5),
    ],
)
def test_what_a_validation_measures_with_stays(section, key, value):
    c, made, saved = begun()
    c[section][key] = value
    changes.check_resumed(c, made, saved, "runs/mine")  # without validation it is free
    c.validation.every = saved["config"]["validation"]["every"] = 5
    with pytest.raises(ConfigError, match=rf"runs/mine holds a run with {section}\.{key}="):
        changes.check_resumed(c, made, saved, "runs/mine")


@pytest.mark.parametrize(
    ("key", "value", "switch"),
    [
        ("rerank_bits", 64, "rerank"),
        ("expansion_power", 1.5, "query_expansion"),
        ("expansion_power", 1.5, "database_augmentation"),
    ],
)
def test_what_a_validation_does_not_use_is_free(key, value, switch):
    c, made, saved = begun()
    c.validation.every = saved["config"]["validation"]["every"] = 5
    c.eval[key] = value
    changes.check_resumed(c, made, saved, "runs/mine")
    c.eval[switch] = saved["config"]["eval"][switch] = 4
    with pytest.raises(ConfigError, match=rf"runs/mine holds a run with eval\.{key}="):
        changes.check_resumed(c, made, saved, "runs/mine")


def test_a_run_of_an_earlier_version_did_not_say_its_images():
    c, made, saved = begun()
    changes.check_resumed(c, made | {"image_set": "12"}, saved, "runs/mine")


def test_a_run_of_an_earlier_version_drew_its_positives_whichever_way_they_look():
    c, made, saved = begun()
    del saved["config"]["tuples"]["heading_degrees"]
    words = r"tuples\.heading_degrees=0\.0, this one has 90\.0"
    with pytest.raises(ConfigError, match=words):
        changes.check_resumed(c, made, saved, "runs/mine")
    changes.check_resumed(c, made, saved, "runs/mine", ("tuples.heading_degrees",))  # none is known
    c.tuples.heading_degrees = 0.0
    changes.check_resumed(c, made, saved, "runs/mine")


@pytest.mark.parametrize("fact", ["trained_on", "weights_sha256", "image_set"])
def test_a_workdir_of_other_data_or_weights_is_refused(fact):
    c, made, saved = begun(image_set="12")
    with pytest.raises(ConfigError, match=f"{fact}='.*', this one has 'other'"):
        changes.check_resumed(c, made | {fact: "other"}, saved, "runs/mine")


@pytest.mark.parametrize(
    ("degrees", "groups", "good"), [(72, 2, False), (72, 1, True), (45, 2, True)]
)
def test_heading_bins_of_neighbours_differ_all_the_way_round(degrees, groups, good):
    c, *_ = begun()
    c.loss.name, c.places.heading_degrees, c.places.groups = "arcface", float(degrees), groups
    with contextlib.nullcontext() if good else pytest.raises(ConfigError, match="into 5 parts"):
        checks.check_values(c)


def test_a_model_computes_in_bfloat16_and_trains_in_float32():
    c, *_ = begun()
    c.tuples.batch, c.model.compute_dtype = 8, "bfloat16"
    checks.check_values(c)


def old_names(config):
    """The config as an earlier version saved it: a head's and a loss's own keys without a section."""
    saved = config.to_dict()
    saved["model"]["param_dtype"] = "float32"
    for old, new in changes.RENAMED.items():
        *sections, last = new.split(".")
        values = saved
        for section in sections:
            values = values[section]
        section, _, name = old.partition(".")
        saved[section][name] = values.pop(last)
    for section, names in (
        ("model", ("gem", "netvlad")),
        ("loss", ("triplet", "contrastive", "arcface")),
    ):
        for name in names:
            assert saved[section].pop(name).keys() <= {"order"}  # which came later
    return saved


def test_a_config_with_the_old_names_reads_as_one_with_the_new():
    c, *_ = begun()
    c.model.netvlad.clusters, c.loss.triplet.margin, c.loss.arcface.class_rate = 5, 0.25, 7.0
    saved = old_names(c)
    assert saved["model"]["netvlad_clusters"] == 5 and saved["optim"]["class_rate"] == 7.0
    assert changes.completed(saved) == c.to_dict()
    assert changes.differences(saved, c.to_dict()) == {}
    c.tuples.batch = 8
    checks.check_values(ConfigDict(changes.completed(old_names(c))))


def test_a_saved_type_of_parameters_that_never_trained_is_named():
    c, *_ = begun()
    saved = old_names(c)
    saved["model"]["param_dtype"] = "bfloat16"
    with pytest.raises(ConfigError, match=r"config key model\.param_dtype is unknown"):
        checks.check_values(ConfigDict(changes.completed(saved)))


def test_flags_with_old_names_become_the_new_ones_with_a_sentence():
    flags = ["--config=a.py", "--config.loss.triplet_margin=0.2", "--config.model.gem_p", "4.0"]
    found, sentences = changes.renamed_flags([*flags, "--config.model.param_dtype=float32"])
    assert found == [
        "--config=a.py",
        "--config.loss.triplet.margin=0.2",
        "--config.model.gem.p",
        "4.0",
    ]
    assert sentences == [
        "config key loss.triplet_margin is now loss.triplet.margin",
        "config key model.gem_p is now model.gem.p",
        "config key model.param_dtype is gone: parameters are always float32",
    ]
    kept = [
        "vprjax",
        "--config.train.steps=3",
        "loss.triplet_margin",
        "--workdir=loss.triplet_margin",
    ]
    assert changes.renamed_flags(kept) == (kept, [])


def test_accumulation_changes_the_statistics_of_a_backbone_that_has_some():
    c, *_ = begun()
    c.tuples.batch, c.train.accumulate, c.model.batch_norm = 16, 2, "train"
    c.model.backbone = "vgg16"
    checks.check_values(c)
    c.model.backbone = "resnet50"
    with pytest.raises(ConfigError, match="accumulate above 1 would change the statistics"):
        checks.check_values(c)


@pytest.mark.parametrize("module", [synthetic, nordland])
def test_both_versions_of_resnet50_have_the_same_settings(module):
    for names in ("gem,triplet", "netvlad,contrastive", "gem,arcface"):
        one, two = (module.get_config(f"{b},{names}") for b in ("resnet50", "resnet50_v1"))
        assert one.model.backbone != two.model.backbone
        two.model.backbone = one.model.backbone
        assert one == two


def test_an_evaluation_needs_queries_and_a_training_does_not():
    c = base.get_config()
    c.dataset.update(name="places_csv/mine", query_splits=())
    c.tuples.batch = 8
    checks.check_values(c)
    nothing = types.SimpleNamespace(counts={"reference": 9}, folder="x", name="places_csv/mine")
    with pytest.raises(ConfigError, match="query_splits is empty: name at least one split to eval"):
        checks.check_splits(c, nothing, training=False)
    c.validation.update(every=5, query_split="a", reference_split="reference")
    checks.check_values(c)  # no evaluation reads the references
    c.dataset.query_splits = ("b",)
    with pytest.raises(ConfigError, match="validation uses the test split"):
        checks.check_values(c)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"other_datasets": ("a/b", "a/b:1.0.0")}, r"other_datasets names \['a/b'\] twice"),
        (
            {"other_datasets": ("places_csv/mine:2.0.0",)},
            r"holds dataset.name='places_csv/mine' itself",
        ),
        ({"other_tolerances": ((1.0,),)}, "has 1 entries, eval.other_datasets 0"),
        (
            {"other_datasets": ("a/b",), "other_tolerances": ((), ())},
            "has 2 entries, .*_datasets 1",
        ),
        (
            {"blend": "1.5"},
            r"eval.blend='1.5' must be 'off', 'auto', or a number 0 or more and at most 1",
        ),
        ({"blend": "nan"}, "eval.blend='nan' must be"),
        (
            {"blend": "auto"},
            "auto' chooses on validation, which .* train with validation.every above 0",
        ),
        ({"blend_runs": ("runs/b",)}, "eval.blend_runs needs eval.blend"),
        ({"blend": "1", "blend_weights": (1.0, 2.0)}, r"=\(1.0, 2.0\) must hold 1 numbers"),
        ({"blend": "1", "blend_runs": ("b",), "blend_weights": (0.0, 0.0)}, "are all 0"),
        ({"keep_dataset": "a/b"}, "keep_dataset='a/b' needs eval.blend='auto'"),
        ({"keep_dataset": "a/b", "other_datasets": ("a/b",)}, "chosen on its test"),
        ({"keep_dataset": "places_csv/mine"}, "keep_dataset='places_csv/mine' is evaluated too"),
    ],
)
def test_other_datasets_and_blends_that_do_not_go_together(settings, says):
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    checks.check_values(c)
    c.eval.update(settings)
    with pytest.raises(ConfigError, match=says):
        checks.check_values(c)


def test_other_datasets_and_blends_that_go_together():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    c.validation.every = 10
    c.eval.update(other_datasets=("a/b", "a/c"), other_tolerances=((5.0, 1.0), ()))
    for blend in ("off", "auto", "0", "0.35", "1"):
        c.eval.blend = blend
        checks.check_values(c)
    c.eval.update(blend="auto", keep_dataset="a/d", keep_tolerances=(2.0,))
    c.eval.update(blend_runs=("runs/b",), blend_weights=(1.0, 3.0))
    checks.check_values(c)


def test_a_hash_has_whole_words():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    c.eval.update(rerank=100, rerank_bits=256)
    checks.check_values(c)
    c.eval.rerank_bits = 100
    with pytest.raises(ConfigError, match=r"eval.rerank_bits=100 must be a multiple of 32"):
        checks.check_values(c)


@pytest.mark.parametrize(
    ("training", "changed", "words"),
    [
        (True, {}, r"baseline\.name='seqslam' is not trained: evaluate it with --mode=evaluate"),
        (False, {"standardise": "sets"}, r"eval\.standardise='sets' is for descriptors that L2"),
        (False, {"query_expansion": 5}, r"eval\.query_expansion=5 is for descriptors that L2"),
        (False, {"pca": 8}, r"eval\.pca=8 is for descriptors that L2"),
        (False, {"sequence_length": 2}, r"eval\.sequence_length=2 is for descriptors that L2"),
    ],
)
def test_a_baseline_is_not_trained_and_keeps_its_own_costs(training, changed, words):
    c = base.select(base.get_config(), "seqslam")
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    c.eval.update(changed)
    with pytest.raises(ConfigError, match=words):
        checks.check_values(c, None if training else c.dataset.name)
    c.baseline.name = "" if training else "hog"  # compared by L2
    checks.check_values(c, None if training else c.dataset.name)
    if "sequence_length" in changed:
        c.baseline.name, c.eval.sequence_length = "seqslam", 1  # off
        checks.check_values(c, c.dataset.name)


def test_a_baseline_is_measured_on_one_dataset():
    c = base.select(base.get_config(), "hog")
    c.dataset.name, c.eval.other_datasets = "places_csv/mine", ("places_csv/abroad",)
    with pytest.raises(
        ConfigError, match=r"eval\.other_datasets=\('places_csv/abroad',\) is for mod"
    ):
        checks.check_values(c, c.dataset.name)


def test_a_config_from_before_the_baselines_is_completed_and_runs_no_baseline():
    saved = base.get_config().to_dict()
    del saved["baseline"]
    assert changes.completed(saved) == base.get_config().to_dict()


@pytest.mark.parametrize("names", ["vgg16,hog", "hog,triplet", "hog,pixels"])
def test_a_baseline_stands_alone_after_the_colon(names):
    with pytest.raises(
        ValueError, match=f"'hog' is no network and stands alone .* as in '{names}'"
    ):
        base.select(base.get_config(), names)
