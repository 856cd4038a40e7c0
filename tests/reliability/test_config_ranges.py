"""Every key of the config tree, whatever keys it will have: no wrong value gets past the first check.

The wrong values come from a key's default in `configs/base.py`, not from the table of ranges, so that a
new key without a range fails here.
"""

import functools
import importlib
import math
import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base, synthetic
from tests.helpers.memory_places import standing
from vprjax.config import changes, checks
from vprjax.errors import ConfigError, DataError

HUGE = 10**40


def usable(**changes):
    """A config that passes, with keys in dots changed; like one from a checkpoint it minds no types."""
    values = base.get_config().to_dict()
    changes = {"dataset.name": "places_csv/mine", "tuples.batch": 8, **changes}
    for key, value in changes.items():
        *sections, name = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[name] = value
    return ConfigDict(values, type_safe=False)


DEFAULTS = dict(changes.leaves(base.get_config().to_dict()))
NUMBERS = (math.nan, math.inf, -math.inf, -1, -HUGE, HUGE, "many", None, True, (1,))
WRONG = {
    bool: ("yes", 2, None, math.nan),
    int: (*NUMBERS, 0.5),
    float: NUMBERS,
    str: (3, None, math.nan, True, "a\0b", "\ud800", ("a",)),
    tuple: (3, None, math.nan, "text", (None,), (math.nan,), (("a",),)),
}


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_wrong_value_is_refused_with_the_keys_range(key):
    checks.check_values(usable())
    for value in WRONG[type(DEFAULTS[key])]:
        with pytest.raises(ConfigError) as refused:
            checks.check_values(usable(**{key: value}))
        said = str(refused.value)
        assert said.startswith(f"{key}={value!r} must be ") and "\n" not in said
        assert any(
            word in said for word in ("number", "text", "True or False", "one of '", "tuple")
        )


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_missing_key_is_named(key):
    config = usable()
    *sections, name = key.split(".")
    inner = config
    for section in sections:
        inner = inner[section]
    del inner[name]
    with pytest.raises(ConfigError, match=f"lacks {key}: it must be "):
        checks.check_values(config)


@pytest.mark.parametrize(
    ("key", "last", "beyond"),
    [
        ("loss.triplet.margin", 4.0, 4.01),
        ("loss.contrastive.margin", 2.0, 2.01),
        ("loss.arcface.margin", math.pi / 2, 1.58),
        ("model.gem.p", 0.1, 0.09),
        ("augment.crop", 0.99, 1.0),
        ("optim.ema", 0.999, 1.0),
        ("optim.momentum", 0.0, 1.0),
        ("optim.learning_rate", 1e38, 0.0),
        ("places.heading_degrees", 360.0, 361.0),
        ("eval.heading_degrees", 180.0, 181.0),
        ("validation.stretch", 0.5, 0.0),
        ("tuples.batch", 8, 0),
        ("model.netvlad.clusters", 2, 1),
        ("eval.recalls", (1,), ()),
        ("eval.recalls", (1,), (0,)),
        ("dataset.tolerances", (0.0,), ()),
        ("dataset.query_splits", (), (1,)),
        ("dataset.query_splits", ("a",), ("",)),
        ("dataset.query_splits", ("a.1-b",), ("../a",)),
        ("dataset.reference_split", "a", ".a"),
        ("validation.query_split", "", "a/b"),
        ("dataset.name", "a", ""),
    ],
)
def test_ranges_end_where_they_say(key, last, beyond):
    checks.check_values(usable(**{key: last}))
    with pytest.raises(ConfigError, match=f"^{key}="):
        checks.check_values(usable(**{key: beyond}))


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("model.backbone", "vgg19", "vgg16"),
        ("loss.name", "tripel", "triplet"),
        ("tuples.mining", "hart", "hard"),
        ("eval.search_scan", "float16", "bfloat16"),
    ],
)
def test_the_nearest_right_name_is_told(key, value, near):
    with pytest.raises(ConfigError, match=f"{key}='{value}'.*did you mean '{near}'?"):
        checks.check_values(usable(**{key: value}))


def test_an_unknown_key_is_refused_with_the_nearest():
    config = usable()
    config.train.step = 3
    with pytest.raises(ConfigError, match=r"train\.step is unknown; did you mean train\.steps"):
        checks.check_values(config)


PAIRS = [
    ({"tuples.positive_radius": 30.0}, "tuples.negative_radius=25"),
    ({"tuples.negatives": 0}, "margin without negatives"),
    ({"tuples.remembered": 6}, "at most tuples.negatives=5"),
    ({"tuples.mining_pool": 3}, "at least tuples.negatives=5"),
    ({"tuples.batch": 9}, "must be a multiple of 8: 8 devices"),
    ({"train.accumulate": 2}, "must be a multiple of 16"),
    ({"train.accumulate": 2, "tuples.batch": 16, "tuples.in_batch": "hardest"}, "hide part"),
    ({"train.accumulate": 2, "tuples.batch": 16, "model.batch_norm": "train"}, "statistics"),
    (
        {"loss.name": "arcface", "places.batch_places": 9},
        "places.batch_places=9 must be a multiple",
    ),
    ({"eval.pca_whiten": True}, "needs eval.pca above 0"),
    ({"validation.patience": 2}, "needs validation.every"),
    ({"validation.query_split": "v", "validation.reference_split": "r"}, "query_split='v' needs"),
    ({"validation.query_split": "a"}, "go together"),
    (
        {
            "validation.every": 5,
            "validation.query_split": "test01",
            "validation.reference_split": "b",
        },
        "uses the test split",
    ),
    (
        {
            "validation.every": 5,
            "validation.query_split": "train",
            "validation.reference_split": "b",
        },
        r"validation\.query_split='train' is trained on",
    ),
    (
        {"validation.every": 5, "validation.query_split": "a", "validation.reference_split": "a"},
        "are both 'a'",
    ),
    ({"dataset.train_splits": ("train", "test01")}, r"query_splits share \['test01'\]"),
    ({"dataset.train_splits": ("train", "train")}, r"train_splits names \['train'\] twice"),
    ({"dataset.query_splits": ("a", "a")}, r"query_splits names \['a'\] twice"),
    ({"dataset.query_splits": ("reference",)}, r"query_splits holds dataset\.reference_split"),
    ({"model.stage": "conv3"}, "model.stage='conv3'"),
    ({"model.stage": "block_1_expand", "model.train_from": "block_6_expand"}, "lies behind"),
]


@pytest.mark.parametrize(("changes", "says"), PAIRS)
def test_values_that_do_not_go_together(changes, says):
    with pytest.raises(ConfigError, match=says):
        checks.check_values(usable(**changes))


def test_a_trained_model_is_evaluated_whatever_it_was_trained_with():
    """On another number of devices, or on a dataset whose test has the name of its validation."""
    validated = {
        "validation.every": 5,
        "validation.query_split": "test01",
        "validation.reference_split": "b",
    }
    checks.check_values(usable(**{"tuples.batch": 7}), "synthetic/default")
    checks.check_values(usable(**validated), "places_csv/other")
    for same in ("synthetic/default", "synthetic/default:1.0.0"):
        with pytest.raises(ConfigError, match="uses the test split"):
            checks.check_values(
                usable(**validated, **{"dataset.name": "synthetic/default:1.1.0"}), same
            )
    with pytest.raises(ConfigError, match=r"query_splits holds dataset\.reference_split"):
        checks.check_values(usable(**{"dataset.query_splits": ("reference",)}), "other")


def check_splits(training=True, counts=None, headings=None, **changes):
    counts = counts or {"train": 50, "reference": 20, "test01": 5, "test02": 5}

    def places(splits):
        found = (headings or {}).get(splits[0], [0.0])
        return standing(np.zeros((len(found), 2)), found)

    dataset = SimpleNamespace(folder="somewhere", counts=counts, places=places)
    checks.check_splits(usable(**changes), dataset, training)


def test_figures_that_the_splits_cannot_give():
    check_splits()
    with pytest.raises(ConfigError, match="must not go over the 20 images of split 'reference'"):
        check_splits(**{"eval.recalls": (1, 21)})
    for key, most, images in (
        ("rerank", 20, "20 images"),
        ("query_expansion", 20, "20 images"),
        ("database_augmentation", 19, "19 other images"),
    ):
        check_splits(**{f"eval.{key}": most})
        with pytest.raises(ConfigError, match=rf"eval\.{key}=50 must not go over the {images} of"):
            check_splits(**{f"eval.{key}": 50})
    check_splits(**{"eval.pca": 49})
    with pytest.raises(ConfigError, match=r"eval\.pca=50 must be below the 50 images"):
        check_splits(**{"eval.pca": 50})
    with pytest.raises(DataError, match="no images in split 'night'; it has train"):
        check_splits(**{"dataset.query_splits": ("night",)})
    alone = {"train": 50, "reference": 20, "test01": 5, "test02": 1}
    check_splits(counts=alone)
    with pytest.raises(ConfigError, match=r"eval\.standardise='sets' .* 'test02' has one image"):
        check_splits(counts=alone, **{"eval.standardise": "sets"})
    check_splits(training=False, **{"dataset.train_splits": ()})
    with pytest.raises(DataError, match=r"dataset\.train_splits is empty"):
        check_splits(**{"dataset.train_splits": ()})


def test_headings_are_looked_for_before_training():
    headings = {"reference": [0.0, 1.0], "test01": [0.0], "test02": [math.nan]}
    check = functools.partial(check_splits, headings=headings)
    check()
    check(**{"eval.heading_degrees": 90.0, "dataset.query_splits": ("test01",)})
    with pytest.raises(ConfigError, match=r"eval\.heading_degrees=90 needs .* split 'test02'"):
        check(**{"eval.heading_degrees": 90.0})
    # Those of the training route are needed where its end is validated on.
    headings |= {"train": [math.nan], "test02": [0.0]}
    check(**{"eval.heading_degrees": 90.0})
    with pytest.raises(ConfigError, match=r"eval\.heading_degrees=90 needs .* split 'train'"):
        check(**{"eval.heading_degrees": 90.0, "validation.every": 5})
    check(training=False, **{"eval.heading_degrees": 90.0, "validation.every": 5})


CONFIGS = sorted(path.stem for path in pathlib.Path(base.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configs_pass(name):
    chosen = ("salad",) if name == "released" else ()
    config = importlib.import_module(f"configs.{name}").get_config(*chosen)
    with config.unlocked():
        config.dataset.name = config.dataset.name or "places_csv/mine"
        config.tuples.batch = config.places.batch_places = 8  # eight virtual devices in the tests
    checks.check_values(config)


def test_the_readmes_first_command_fits_eight_devices():
    checks.check_values(synthetic.get_config())  # a Colab TPU has eight, as these tests do
