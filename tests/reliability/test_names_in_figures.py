"""A `$` in a name is a `$`: Matplotlib would set what follows as a formula, or fail where it is none."""

import dataclasses
import html

import cv2
import matplotlib.figure
import numpy as np
import pytest
from analysis import scores, study
from grid import page as grid_page
from matplotlib.text import Text

from tests.helpers import made_up_page, made_up_runs
from tests.helpers.made_up_page import Read
from tfds_builders import show, show_plots
from vprjax.data import source
from vprjax.evaluation.result import LabelFcm
from vprjax.report import fcm_curve, run_page

NAMES = (r"$\frac$", "$x$", "a$b", "_a", r"\$_{^%&#~")


@pytest.fixture
def drawn(monkeypatch):
    """The texts of every figure that is saved, as they are when it is."""
    found, save = [], matplotlib.figure.Figure.savefig

    def saving(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        texts = [text for text in figure.findobj(Text) if not text.get_parse_math()]
        found.extend(text.get_text() for text in texts)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saving)
    return found


def figures_of(name):
    """Config and figures of 40 queries of a split, unit and labels of that name."""
    config = made_up_page.config(name)
    with config.unlocked():
        config.dataset.position_unit = config.dataset.name = name
    places = made_up_page.places(name)
    found = made_up_page.result(config, places, places, wrong=(3, 11))
    labels = {name: LabelFcm(4, found.figures.fcm)}
    found = made_up_page.changed(found, figures={"labels": labels})
    return config, places, {"fine_tuned": {name: found}}


@pytest.mark.parametrize("name", NAMES)
def test_curves(drawn, name):
    config, _, results = figures_of(name)
    picture = fcm_curve.png(config, results)
    assert {name, f"tolerance tau ({name})"} <= set(drawn)
    assert len(picture) > 5000


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_a_built_dataset(drawn, tmp_path, name):
    grey = cv2.imencode(".png", np.zeros((6, 8, 3), np.uint8))[1].tobytes()
    rows = np.arange(5.0)
    split = show.Split(name, np.stack([rows, rows], 1), 0 * rows, rows, [], [{"image": grey}] * 5)
    show_plots.routes([split], name, tmp_path / "routes.png")
    show_plots.contact_sheet([split], name, tmp_path / "places.png")
    assert {f"{name} (5)", f"easting / x ({name})", name, f"0.00 {name}"} <= set(drawn)


def texts_of(page):
    return html.unescape(" ".join(page.svgs()))


@pytest.mark.parametrize("name", NAMES)
def test_a_runs_page(tmp_path, monkeypatch, name):
    config, places, results = figures_of(name)
    monkeypatch.setattr(source, "load", lambda _, splits: places)
    provenance = made_up_page.provenance(config)
    dataset = type("D", (), dict(name=name, version="1", counts={name: 40}, metadata={}))
    page = Read(run_page.page(tmp_path, config, dataset, results, provenance))
    assert f"FCM over tolerance, {name}" in texts_of(page) and f"y ({name})" in texts_of(page)


@pytest.mark.parametrize("name", NAMES)
def test_a_grids_page(tmp_path, name):
    runs = {(("vgg16", "gem", loss), 0): 80.0 for loss in ("triplet", "arcface")}
    paths = made_up_runs.write(tmp_path, runs, dataset=f"{name}:1.0.0")
    found = dataclasses.replace(scores.read(paths), unit=name)
    grid_page.write(tmp_path, found, None, study.all_tables(found, None), paths, [])
    page = Read((tmp_path / "report.html").read_text())
    assert f"5 {name}" in texts_of(page)
