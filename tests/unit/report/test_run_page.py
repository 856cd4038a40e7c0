"""A run's page: whole, self-contained, escaped, and showing what was found."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers import made_up_page
from vprjax.data import source
from vprjax.evaluation.result import LabelFcm, SequenceFcm
from vprjax.report import figures, pictures, run_page

HOSTILE = '<script>alert("x")</script>&<b>'


def dataset(name="places_csv/x"):
    return SimpleNamespace(
        name=name, version="1.0.0", counts={"test01": 40, "reference": 40}, metadata={}
    )


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a page of 40 queries, four of them wrong, and reads it back."""

    def write(
        name="places_csv/x", split="test01", cell=None, heading_degrees=0.0, steps="7", **parts
    ):
        config = made_up_page.config(split)
        config.eval.heading_degrees = heading_degrees
        if cell:
            config.loss.name, config.model.pooling, config.model.backbone = cell
        queries, references = made_up_page.places(split, shift=1.0), made_up_page.places("ref")
        load = {(split,): queries, ("reference",): references}
        monkeypatch.setattr(source, "load", lambda _, splits: load[splits])
        found = made_up_page.result(config, queries, references, wrong=(3, 11, 25, 38))
        found = made_up_page.changed(found, **parts)
        results = {"off_the_shelf": {split: found}, "fine_tuned": {split: found}}
        provenance = made_up_page.provenance(config) | {"steps": steps}
        trained_in = tmp_path
        if not steps:
            del results["fine_tuned"]
            trained_in, provenance["trained_on"] = None, ""
        page = run_page.page(trained_in, config, dataset(name), results, provenance)
        return made_up_page.Read(page)

    return write


def test_page_is_self_contained_and_shows_the_figures(write):
    page = write()
    made_up_page.check_self_contained(page)
    assert "MobileNetV2 + GeM, triplet on places_csv/x" in page.text
    assert (
        "90.0 % off the shelf, 90.0 % fine-tuned of 40 queries are answered within 5 m" in page.text
    )
    assert re.search(r"5 90\.00 ([\d.]+ to [\d.]+) 90\.00 \1 100\.00", page.text)
    assert "recall @1 90.00 90.00 recall @2 100.00 100.00" in page.text
    assert "loss.triplet.margin = 0.1" in page.text and "someword" in page.text
    # 3 maps, 3 curves; 3 images per case: 4 best, the 4 wrong ones, 4 random
    assert len(page.svgs()) == 6 and len(page.images) == 6 + 3 * 12
    assert "same way" not in page.text and "another way" not in page.text
    assert "No record of the training" in page.text and "paper difference" not in page.text


def test_every_name_is_escaped(write):
    page = write(name=HOSTILE, split=HOSTILE)
    made_up_page.check_self_contained(page)
    assert HOSTILE in page.text and "b" not in page.tags


def test_intervals_and_confidence_are_shown(write):
    page = write(
        figures={
            "interval": {"25": (80.0, 95.0), "10": (79.0, 94.0), "5": (78.0, 93.0)},
            "average_precision": 71.5,
            "recall_at_full_precision": 33.25,
        },
        curves={"precision": np.array([100.0, 90.0]), "recall": np.array([33.25, 90.0])},
    )
    made_up_page.check_self_contained(page)
    assert "78.0 to 93.0" in page.text
    assert any("fine-tuned, average precision 71.5 %" in image["alt"] for image in page.images)
    assert "average precision 71.50 71.50 recall at 100 % precision 33.25 33.25" in page.text
    assert any("nearest by position for 90 %" in image["alt"] for image in page.images)


def test_the_page_states_the_queries_below_an_interval_and_which_are_exact(write):
    assert "Small figures: 95 % interval over 40 queries." in (text := write().text)
    assert "Clopper" not in text
    page = write(figures={"queries": 12, "with_position": 12, "interval_exact": ["25"], "interval": {
        "25": (73.54, 100.0), "10": (79.0, 94.0), "5": (78.0, 93.0)}})  # fmt: skip
    assert (
        "Fine-tuned: 12 queries with these answers are too few for a bootstrap, so the 95 % interval is "
        "Clopper-Pearson's: 73.5 to 100.0 at 25 m." in page.text
    )


def test_what_makes_figures_doubtful_heads_the_page(write):
    assert "Warning" not in write().text
    page = write(figures={"warnings": ["<collapsed> (variance 0)"]})
    made_up_page.check_self_contained(page)
    assert "Warning: test01, fine-tuned: <collapsed> (variance 0)." in page.text
    assert page.text.index("Warning") < page.text.index("tolerance (m)")


def test_a_model_that_never_trained_names_no_loss_and_no_training(write):
    page = write(name="cold/paper", steps=0)
    made_up_page.check_self_contained(page)
    assert "MobileNetV2 + GeM, off the shelf on cold/paper" in page.text
    assert "Trained on" not in page.text and "fine-tuned" not in page.text
    assert "Table IV" not in page.text and "trained on nothing here" in page.text


def test_the_evaluations_own_errors_count(write):
    """With headings an answer at the right place may be wrong, and another reference be the nearest."""
    errors = np.full(40, np.inf)
    errors[5] = 7.0
    nearest = (np.arange(40) + 1) % 40
    page = write(matches={"errors": errors, "nearest": nearest}, heading_degrees=60.0)
    assert "only where it looks the same way, to 60 degrees." in page.text
    alts = [image["alt"] for image in page.images]
    assert any("at 5 m: 0 of 40" in alt for alt in alts)
    assert any("at 10 m: 1 of 40" in alt for alt in alts)
    assert "There are none." in page.text and "inf" not in page.text
    query = next(i for i, alt in enumerate(alts) if alt.startswith("query test01/"))
    number = int(alts[query].split("/")[1])
    assert f"nearest reference ref/{(number + 1) % 40:03d}" in alts[query + 2]
    assert alts[query + 1].endswith("away" if number == 5 else "away, looking another way")
    assert sum(alt.endswith("looking another way") for alt in alts) > 4


def test_a_route_along_a_line_is_one_picture_of_rows():
    config = made_up_page.config()
    x = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    errors = np.where(np.arange(40) < 10, 1.0, 7.0)
    with pictures.style():
        (found,) = figures.route_maps(config, "q", x, x, errors)
        maps = figures.route_maps(config, "q", x[:, :1] * [[1.0, 1.0]], x, errors)
    assert "10 m: 100.0 % right; 5 m: 25.0 % right" in found.alt
    assert len(maps) == 3 and "at 5 m: 10 of 40" in maps[2].alt


def test_shares_are_of_all_queries_though_fewer_are_drawn(monkeypatch):
    config = made_up_page.config()
    x = np.stack([np.arange(40.0), np.arange(40.0)], axis=1)
    errors = np.where(np.arange(40) % 2, 99.0, 0.0)
    monkeypatch.setattr(figures, "DOTS", 20)
    with pictures.style():
        every = figures.route_maps(config, "q", x, x, errors)
        (line,) = figures.route_maps(config, "q", x * [1.0, 0.0], x * [1.0, 0.0], errors)
    assert all("20 of 20 queries drawn" in p.alt and "50.0 % right" in p.alt for p in every)
    assert "20 queries drawn" in line.alt and "5 m: 50.0 % right" in line.alt


def test_precision_holds_up_to_its_recall(monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "picture", lambda figure, alt: drawn.update(figure=figure))
    places = made_up_page.places("q")
    one = made_up_page.changed(
        made_up_page.result(made_up_page.config(), places, places),
        curves={"precision": np.array([0.0, 50.0]), "recall": np.array([0.0, 100.0])},
        figures={"average_precision": 50.0},
    )
    with pictures.style():
        figures.precision_recall("q", {"fine_tuned": one})
    (line,) = drawn["figure"].axes[0].lines
    assert line.get_drawstyle() == "steps-pre"
    x, y = line.get_xdata(), line.get_ydata()
    assert np.sum(np.diff(x) * y[1:]) == 50 * 100  # the area is the average precision


def test_a_query_that_no_reference_looks_like_has_no_nearest_one(write):
    errors = np.where(np.arange(40) == 5, 1.0, 99.0)
    nearest = np.where(np.arange(40) == 5, 5, -1)
    page = write(matches={"errors": errors, "nearest": nearest})
    alts = [image["alt"] for image in page.images]
    assert sum(alt.startswith("nearest reference") for alt in alts) == 1
    assert any("nearest by position for 2 %" in alt for alt in alts)


def test_labels_and_sequences_are_shown(write):
    fcm = {"25": 50.0, "10": 40.0, "5": 31.5}
    page = write(
        figures={
            "labels": {"<corridor>": LabelFcm(12, fcm)},
            "sequence": SequenceFcm(5, {"25": 98.5, "10": 97.5, "5": 96.5}),
        }
    )
    assert "<corridor> 12 50.00 40.00 31.50" in page.text
    assert "5 frames together" in page.text and "96.50" in page.text
    assert "label" not in write().text.split("Config")[0]


def test_the_papers_values_stand_beside_its_own_dataset(write):
    page = write(name="cold/paper", cell=("triplet", "gem", "resnet50"))
    assert "paper difference" in page.text and "Table IV" in page.text
    assert "paper" not in write(name="cold/small").text


def test_training_files_are_drawn(write, tmp_path):
    rows = [
        {"step": s, "loss": 1 / s, "grad_norm": 0.1 * s, "positive_histogram": [s] * 20,
         "negative_histogram": [1] * 20}
        for s in (10, 20)
    ]  # fmt: skip
    times = [{"step": s, "seconds": 61, "step_seconds": 50, "mining_seconds": 11} for s in (10, 20)]
    for name, found in (("metrics", rows), ("timing", times)):
        lines = "".join(json.dumps(row) + "\n" for row in found)
        (tmp_path / f"{name}.jsonl").write_text(lines + '{"step": 30, "lo')
    (tmp_path / "validation.jsonl").write_text('{"step": 10, "mean": 12.5}\n')
    page = write()
    made_up_page.check_self_contained(page)
    alts = " ".join(image["alt"] for image in page.images)
    assert "loss from 0.1 to 0.05" in alts and "best 12.5 % at step 10" in alts
    assert "2 min 02 s" in page.text and "5,000.0 ms" in page.text
    assert not any(re.search(r"mathdefault|\$", svg) for svg in page.svgs())
