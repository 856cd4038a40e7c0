"""Baselines' rows and table, from made-up results."""

import pytest
from analysis import baselines, scores

from configs import base
from tests.helpers import made_up_runs
from vprjax.errors import DataError
from vprjax.retrieval.baselines import BASELINES


def document(names="hog", fcm=40.0, seed=0, ms=2.5):
    config = base.select(base.get_config(), names)
    config.seed, config.dataset.position_unit = seed, "frames"
    figures = {
        "fcm": {"5": fcm, "1": fcm / 2},
        "interval": {"5": [fcm - 5, fcm + 5], "1": [fcm / 2 - 5, fcm / 2 + 5]},
        "oracle_fcm": {"5": 100.0, "1": 90.0},
        "recall": {"1": 33.0, "5": 66.0},
    }
    cost = {"dimension": 1024, "bytes_per_image": 4096, "ms_per_image": ms}
    provenance = {
        "config": config.to_dict(),
        "cost": cost,
        "code_version": "1",
        "machine": "CPU, Python 3",
    }
    return {
        "dataset": "places_csv/x:1.0.0",
        "results": {"baseline": {"test01": figures}},
        "provenance": provenance,
    }


def test_a_row_holds_the_settings_figures_and_cost():
    (row,) = baselines.of_results(document(), "corridor", "hog")
    assert (row.set, row.name, row.title, row.split) == ("corridor", "hog", "HOG", "test01")
    assert row.ladder == {"5": 40.0, "1": 20.0} and row.settings == '{"cell": 16, "size": 512}'
    assert (row.bytes_per_image, row.ms_per_image, row.machine) == ("4096", "2.5", "CPU")
    (model,) = baselines.of_results(document("mobilenetv2,mac"), "corridor", "mobilenetv2-mac")
    assert model.title == "MobileNetV2 + MAC, off the shelf"
    assert model.settings == '{"stage": "", "weights": "random"}'
    cut = document("vgg16,mac")
    cut["provenance"]["config"]["model"]["stage"] = "conv3"
    (part,) = baselines.of_results(cut, "corridor", "vgg16-mac")
    assert part.title == "VGG16 to conv3 + MAC, off the shelf"


def test_the_file_gives_its_rows_back_and_new_ones_replace(tmp_path):
    rows = baselines.of_results(document(), "corridor", "hog")
    (tmp_path / baselines.FILE).write_text(baselines.text(rows))
    assert baselines.read(tmp_path) == rows and baselines.read(tmp_path / "none") == []
    more = [
        *baselines.of_results(document(fcm=50.0), "corridor", "hog"),
        *baselines.of_results(document(seed=1), "corridor", "hog"),
    ]
    assert baselines.replaced(rows, more) == more
    (tmp_path / baselines.FILE).write_text("set,fcm\na,b\n")
    with pytest.raises(DataError, match="holds no record of baselines"):
        baselines.read(tmp_path)


def test_rows_stand_in_the_order_of_the_methods_whenever_they_are_added():
    (row,) = baselines.of_results(document(), "corridor", "hog")
    names = ["pixels", "hog", "seqslam", "delf", "delf_checked", "vgg16-mac", "vgg16-crow"]
    late = [row._replace(name=name) for name in reversed(names)]
    assert [x.name for x in baselines.replaced(late[:4], late[4:])] == names
    other = row._replace(set="nordland")
    assert baselines.replaced([other, row], []) == [other, row]


def test_the_baselines_stand_above_the_grid_s_models(tmp_path):
    rows = [
        *baselines.of_results(document("vlad_sift", fcm=40.0), "corridor", "vlad_sift"),
        *baselines.of_results(document("vlad_sift", fcm=50.0, seed=1), "corridor", "vlad_sift"),
        *baselines.of_results(document(ms=None), "corridor", "hog"),
    ]
    table = baselines.table(rows)
    assert table.head == [
        "method",
        "queries",
        "seeds",
        "5 frames",
        "1",
        "recall@1",
        "dimensions",
        "bytes",
        "ms per image",
    ]
    # Student's t of one degree of freedom is 12.706, times half the difference of the two seeds
    over_seeds = ["45.0 [-18.5, 108.5]", "22.5 [-9.3, 54.3]"]
    over_queries = ["40.0 [35.0, 45.0]", "20.0 [15.0, 25.0]"]
    assert table.rows == [
        ["VLAD with SIFT", "test01", "2", *over_seeds, "33.0", "1,024", "4,096", "2.5"],
        ["HOG", "test01", "1", *over_queries, "33.0", "1,024", "4,096", ""],
        ["ceiling", "test01", "", "100.0", "90.0", "", "", "", ""],
    ]
    paths = made_up_runs.write(tmp_path, {(("vgg16", "gem", "triplet"), 0): 80.0})
    found = scores.read(paths)
    widest = [baselines.Row(*row)._replace(fcm='{"25": 40.0, "2": 5.0}') for row in rows[:2]]
    bounds = '{"25": [35.0, 45.0], "2": [15.0, 25.0]}'
    widest = [row._replace(oracle='{"25": 100.0, "2": 100.0}', interval=bounds) for row in widest]
    lines = baselines.table(widest, found).rows
    assert [line[0] for line in lines[:3]] == [
        "VLAD with SIFT",
        "VGG16 + GeM, off the shelf",
        "VGG16 + GeM, off the shelf",
    ]
    assert lines[0][3:5] == ["40.0 [35.0, 45.0]", "5.0 [15.0, 25.0]"]  # equal seeds: the queries'
    triplet = ["1", "80.0 [79.0, 81.0]", "10.0 [9.0, 11.0]", "", "", "", ""]
    assert ["VGG16 + GeM, triplet", "test01", *triplet] in lines


def test_methods_are_explained_once_with_their_source():
    rows = [
        *baselines.of_results(document(), "a", "hog"),
        *baselines.of_results(document("mobilenetv2,mac"), "a", "mobilenetv2-mac"),
        *baselines.of_results(document(seed=1), "a", "hog"),
    ]
    (title, about), (head, what) = baselines.methods(rows)
    assert title == "HOG" and "Dalal & Triggs 2005" in about
    assert head == "MAC" and "Tolias et al. 2016" in what
    assert baselines.methods_table(rows).rows == [[title, about], [head, what]]
    assert "- HOG: " in baselines.markdown(rows, baselines.table(rows[:1]))


@pytest.mark.parametrize("name", [*BASELINES, *baselines.ABOUT])
def test_an_explanation_has_two_sentences_and_a_source(name):
    row = baselines.of_results(document(), "a", "hog")[0]._replace(name=name)
    ((_, about),) = baselines.methods([row])
    sentences, source = about.split(" Source: ")
    assert sentences.count(". ") == 1 and sentences.endswith(".") and source.endswith(".")
