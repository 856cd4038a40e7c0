"""A model at home and abroad: table, warning, JSON, tables of matches, and the page's two sections."""

import json
from types import SimpleNamespace

import pytest

from tests.helpers import made_up_page
from vprjax.data import source
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.report import abroad, result_files, run_page

WRONG = {"off_the_shelf": (1, 2), "fine_tuned": tuple(range(1, 40, 2))}
LOST = "the model forgot: on places_csv/abroad, val, it falls from 95.0 % off the shelf to 50.0 %"


def dataset(name, places):
    counts = {split: len(found) for split, found in places.items()}
    return SimpleNamespace(
        name=name,
        version="1.0.0",
        counts=counts,
        metadata={},
        places=lambda names: places[names[0]],
    )


def measured(split, wrong=WRONG):
    """Config, dataset and results of one query split whose `wrong` queries each model has wrong."""
    config = made_up_page.config(split)
    places = {split: made_up_page.places(split), "reference": made_up_page.places("ref")}
    results = {
        model: {split: made_up_page.result(config, *places.values(), wrong=numbers)}
        for model, numbers in wrong.items()
    }
    return config, places, results


@pytest.fixture
def other():
    config, places, results = measured("val")
    config.dataset.update(position_unit="frames", tolerances=(10.0, 5.0))
    return Elsewhere(config, dataset("places_csv/abroad", places), results)


@pytest.fixture
def home():
    config, places, results = measured("test01", {"off_the_shelf": range(9), "fine_tuned": ()})
    return config, dataset("places_csv/x", places), results


def test_the_table_has_home_first_and_the_paired_difference(home, other):
    rows = abroad.rows(*home, [other])
    assert len(rows) == 3 + 2 and {len(row) for row in rows} == {len(abroad.head())}
    assert rows[0][:5] == ["places_csv/x (home)", "test01", "25 m", "77.50", "100.00"]
    assert rows[0][5].startswith("+22.50 [") and rows[0][6:] == ["0", "9"]
    assert rows[4][:5] == ["places_csv/abroad", "val", "5 frames", "95.00", "50.00"]
    assert rows[4][5].startswith("-45.00 [-") and rows[4][6:] == ["19", "1"]
    text = "\n".join(abroad.markdown(*home, [other]))
    assert "a block bootstrap, no narrower than an exact one where fewer than 30 queries" in text
    assert "| places_csv/abroad | val | 10 frames | 95.00 | 50.00 | -45.00 [" in text
    assert "- places_csv/abroad:1.0.0: against reference; protocol: the config's" in text


def test_one_model_at_home_alone_has_no_table_and_abroad_has_its_figures(home, other):
    config, data, results = home
    alone = {"off_the_shelf": results["off_the_shelf"]}
    assert abroad.markdown(config, data, alone, []) == []
    one = Elsewhere(other.config, other.dataset, {"off_the_shelf": other.results["off_the_shelf"]})
    assert abroad.rows(config, data, alone, [one])[3][3:] == ["95.00", "", "", "", ""]
    assert abroad.losses([one]) == []


def test_a_loss_abroad_is_warned_of_and_a_gain_or_a_chance_is_not(home, other):
    (words,) = abroad.losses([other])
    assert words.startswith(LOST) and "within 10 frames, -45.00 [-" in words
    _, places, results = measured("val", {"off_the_shelf": range(9), "fine_tuned": (2,)})
    gained = Elsewhere(other.config, dataset("places_csv/abroad", places), results)
    assert abroad.losses([gained]) == []
    _, _, results = measured("val", {"off_the_shelf": (2,), "fine_tuned": (2, 20)})
    assert abroad.losses([Elsewhere(other.config, gained.dataset, results)]) == []


def test_doubtful_figures_abroad_are_warned_of_with_their_dataset(home, other):
    config, _, results = home
    other.results["fine_tuned"]["val"].figures.warnings.append("descriptors fell together")
    (told,) = (x for x in result_files.warnings(config, results, {}, [other]) if "fell" in x)
    assert told == "places_csv/abroad, val, fine-tuned: descriptors fell together"


def test_the_files_hold_every_dataset_and_leave_none_of_an_earlier_evaluation(
    home, other, tmp_path
):
    config, data, results = home
    provenance = made_up_page.provenance(config)
    provenance["trained_on"] = "places_csv/x:1.0.0"
    provenance["blend"] = {"share": 0.35, "runs": [], "weights": [1.0], "curve": [], "keep": ""}
    result_files.write(tmp_path, config, data, results, provenance, [other])
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["change"]["test01"]["5"]["gained"] == 9
    there = saved["others"]["places_csv/abroad:1.0.0"]
    assert (there["position_unit"], there["tolerances"]) == ("frames", [10.0, 5.0])
    assert there["results"]["fine_tuned"]["val"]["fcm"]["5"] == 50.0
    assert there["change"]["val"]["5"] | {"interval": 0, "p": 0} == {
        "queries": 40, "before": 95.0, "after": 50.0, "difference": -45.0, "lost": 19, "gained": 1,
        "interval": 0, "p": 0}  # fmt: skip
    text = (tmp_path / "results.md").read_text()
    assert f"**Warning:** {LOST}" in text and "## At home and abroad" in text
    assert "- trained on: " not in text
    assert "- parameters: 0.35 of the fine-tuned and 0.65 of the untrained parameters, as" in text
    folder = tmp_path / "matches/places_csv+abroad"
    assert len((folder / "fine_tuned_val.csv").read_text().splitlines()) == 41
    provenance["trained_on"] = "places_csv/far:1.0.0"
    result_files.write(tmp_path, config, data, results, provenance)
    assert not folder.exists()
    assert "- trained on: places_csv/far:1.0.0\n" in (tmp_path / "results.md").read_text()
    assert "## Before and after training" in (tmp_path / "results.md").read_text()


@pytest.fixture
def page(home, other, monkeypatch):
    """Makes the page and reads it."""
    config, data, results = home
    monkeypatch.setattr(source, "load", lambda _, splits: data.places(splits))

    def write(others, **provenance):
        facts = made_up_page.provenance(config) | {"steps": "7"} | provenance
        return made_up_page.Read(run_page.page(None, config, data, results, facts, others))

    return write


def test_the_page_shows_what_the_model_forgot(page, other):
    found = page([other])
    made_up_page.check_self_contained(found)
    assert {"#both", "#forgotten"} <= set(found.links)
    assert f"Warning: {LOST}" in found.text
    assert "places_csv/abroad val 5 frames 95.00 50.00 -45.00 [" in found.text
    assert (
        "Within 5 frames: 19 of 40 queries were right and are wrong, 1 were wrong and are right."
        in found.text
    )
    alts = [image["alt"] for image in found.images]
    cases = [i for i, alt in enumerate(alts) if alt.startswith("query val/")]
    assert len(cases) == 4
    for i in cases:
        number = int(alts[i].split("/")[1])
        assert number % 2 == 1 and number != 1  # it was right, and is wrong
        assert alts[i + 1] == f"retrieved before: ref/{number:03d}, 0.00 frames away"
        assert alts[i + 2].startswith(f"retrieved after: ref/{(number + 20) % 40:03d}, ")
    assert found.text.count("right before, wrong after") == 4


def test_without_another_dataset_the_page_has_no_such_section(page):
    found = page([])
    assert "forgot" not in found.text and "Before and after training" in found.text
    assert "blend" not in found.text.split("Config")[1].split("seed")[0]


def test_the_page_shows_the_blend_and_its_curve(page):
    curve = [{"share": a / 10, "home": 4.0 * a, "keep": 60.0 - 5 * a} for a in range(11)]
    blend = {"share": 0.3, "runs": [], "weights": [1.0], "curve": curve, "keep": "synthetic/x:1"}
    found = page([], blend=blend)
    made_up_page.check_self_contained(found)
    assert "0.3 of the fine-tuned and 0.7 of the untrained parameters, the best of 11" in found.text
    alts = [image["alt"] for image in found.images]
    assert any("chosen is 0.3: 12.0 % on validation, 45.0 % on synthetic/x:1" in a for a in alts)
