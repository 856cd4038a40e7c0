"""Which splits, tolerances and headings count on another dataset, and what is told of a missing one."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import standing
from vprjax.data import rendered, source
from vprjax.data.named import Named
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import elsewhere

HOME = types.SimpleNamespace(name="places_csv/home")
TRAINED = HOME, ("train_summer",)


@dataclasses.dataclass
class Made:
    """A dataset in memory."""

    name: str = "places_csv/abroad"
    version: str = "1.0.0"
    counts: dict = dataclasses.field(
        default_factory=lambda: {"train": 9, "train_2": 4, "reference": 8, "test01": 6, "val": 5}
    )
    metadata: dict = dataclasses.field(default_factory=lambda: {"position_unit": "frames"})
    folder: pathlib.Path = pathlib.Path("datasets/abroad")
    headings: object = None

    def places(self, splits):
        n = sum(self.counts[name] for name in splits)
        headings = None if self.headings is None else np.full(n, self.headings)
        return standing(np.arange(2.0 * n).reshape(n, 2), headings)


@pytest.fixture
def find(monkeypatch):
    """Opens the dataset `made` under a config whose positions have `unit`."""

    def find(made, unit="frames", trained=TRAINED, besides=(), **settings):
        config = base.get_config()
        config.dataset.update(name=HOME.name, position_unit=unit, tolerances=(10.0, 1.0, 0.0))
        config.eval.update(other_datasets=(made.name,), **settings)
        monkeypatch.setattr(rendered, "build_missing", lambda _: None)
        monkeypatch.setattr(source, "open_dataset", lambda _: made)
        (found,) = elsewhere.find(config, trained, besides)
        return found

    return find


def test_a_name_is_enough(find):
    found = find(Made())
    own = found.config
    assert (found.name, found.folder) == ("places_csv/abroad:1.0.0", "places_csv+abroad")
    assert own.dataset.reference_split == "reference"
    assert own.dataset.query_splits == ("test01", "val") and own.dataset.train_splits == ()
    assert own.dataset.tolerances == (10.0, 1.0, 0.0)
    assert own.eval.recalls == (1, 5) and own.eval.other_datasets == ()


def test_a_smaller_dataset_puts_all_its_references_in_order_and_is_named_where_it_is_too_small(
    find,
):
    assert find(Made(), rerank=5).config.eval.rerank == 5
    assert find(Made(), rerank=100).config.eval.rerank == 8
    with pytest.raises(ConfigError, match=r"^places_csv/abroad, .*query_expansion=9 .* over the 8"):
        find(Made(), query_expansion=9)


def test_tolerances_are_the_configs_then_the_protocols_then_of_the_same_unit_then_of_metres(find):
    protocol = {"name": "p", "radius": 25.0, "heading_degrees": 40.0}
    named = Made(metadata={"position_unit": "m", "protocol": protocol}, headings=0.0)
    own = find(named, other_tolerances=((5.0, 2.0),)).config
    assert own.dataset.tolerances == (5.0, 2.0) and own.eval.recall_radius == 25.0
    own = find(named, other_tolerances=((),)).config
    assert own.dataset.tolerances == (25.0,) and own.eval.heading_degrees == 40.0
    metres = Made(metadata={"position_unit": "m"})
    assert find(metres).config.dataset.tolerances == (25.0, 10.0, 5.0, 2.0)
    assert find(metres, unit="m").config.dataset.tolerances == (10.0, 1.0, 0.0)
    assert find(metres).config.dataset.position_unit == "m"
    with pytest.raises(
        ConfigError, match=r"are in frames, dataset.tolerances are in m: .*other_tol"
    ):
        find(Made(), unit="m")


def test_lists_of_right_answers_name_splits_and_leave_no_distance(find):
    lists = [[0], [1], [2], [3], [4]]
    positives = {"val": {"reference": "reference", "lists": lists}}
    made = Made(metadata={"positives": positives})
    own = find(made, heading_degrees=30.0).config
    assert own.dataset.query_splits == ("val",) and own.dataset.tolerances == (0.0,)
    assert own.eval.heading_degrees == own.eval.recall_radius == 0
    with pytest.raises(
        ConfigError, match=r"abroad lists .* in eval\.other_tolerances, not \(5\.0,"
    ):
        find(made, other_tolerances=((5.0, 2.0),))


def test_headings_count_where_all_images_have_one(find):
    assert find(Made(), heading_degrees=30.0).config.eval.heading_degrees == 0
    assert find(Made(headings=1.0), heading_degrees=30.0).config.eval.heading_degrees == 30


def test_a_split_that_was_trained_on_is_no_query(find):
    made = Made()
    assert find(made, trained=(made, ("val",))).config.dataset.query_splits == ("test01",)


def test_a_split_that_training_read_besides_is_no_query(find):
    """Of a further dataset to train on, or of keep images."""
    made = Made()
    besides = [Named(made, ("test01", "train_2"), None), Named(HOME, ("val",), None)]
    assert find(made, besides=besides).config.dataset.query_splits == ("val",)
    with pytest.raises(DataError, match="of images that training does not read"):
        find(made, besides=[Named(made, ("test01", "val"), None)])


def test_without_references_or_queries_it_is_told_what_there_is(find):
    for counts in ({"train": 4, "reference": 3}, {"test01": 4, "database": 3}):
        with pytest.raises(DataError, match=r"needs a split 'reference' and .* it has \w+ \(4\)"):
            find(Made(counts=counts))


def test_a_missing_dataset_is_told_with_its_build_command(tmp_path):
    config = base.get_config()
    config.dataset.update(name=HOME.name, data_dir=str(tmp_path))
    config.eval.other_datasets = ("places_csv/corridor",)
    with pytest.raises(DataError, match=r"'places_csv/corridor' is not built .* build places_csv"):
        elsewhere.find(config, TRAINED)
    folder = tmp_path / "places_csv/corridor/1.0.0"
    folder.mkdir(parents=True)
    config.eval.other_datasets = ("corridor",)
    said = "other_datasets: dataset 'corridor' .*; write there places_csv/corridor$"
    with pytest.raises(DataError, match=said):
        elsewhere.find(config, TRAINED)
    (folder / "dataset_info.json").touch()
    config.eval.other_datasets = ("places_csv/corridor:test01",)
    with pytest.raises(DataError, match=r"newest version there is 1\.0\.0, and none is 'test01'"):
        elsewhere.find(config, TRAINED)


def test_a_keep_set_is_opened_for_the_choice_alone(find, monkeypatch):
    config = base.get_config()
    config.dataset.update(name=HOME.name, position_unit="frames")
    config.eval.update(keep_dataset="places_csv/abroad", keep_tolerances=(3.0,))
    assert elsewhere.keep_set(config, TRAINED) is None
    find(Made())  # puts the dataset in place
    config.eval.blend = "auto"
    assert elsewhere.keep_set(config, TRAINED).config.dataset.tolerances == (3.0,)


def test_a_keep_set_whose_queries_have_no_position_is_refused_ahead_of_training(find):
    config = base.get_config()
    config.dataset.update(name=HOME.name, position_unit="frames")
    config.eval.update(blend="auto", keep_dataset="places_csv/abroad")
    made = Made()
    find(made)  # puts the dataset in place
    located, nowhere = made.places, standing(np.full((6, 2), np.nan))
    made.places = lambda splits: located(splits) if splits == ("reference",) else nowhere
    with pytest.raises(ConfigError, match=r"keep_dataset=places_csv/abroad:1\.0\.0: no query"):
        elsewhere.keep_set(config, TRAINED)
