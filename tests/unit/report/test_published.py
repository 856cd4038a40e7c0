"""The published values against the figures of the printed page."""

import csv

import pytest

from tests.helpers.commands import ROOT
from vprjax.report import published
from vprjax.report.published import Cell

FILES = {"robotcar/paper": "table3_robotcar.csv", "cold/paper": "table4_cold.csv"}


@pytest.mark.parametrize("dataset", FILES)
def test_every_value_of_the_file_is_there_once_and_exact(dataset):
    study = published.study(dataset)
    with (ROOT / "vprjax/report/published" / FILES[dataset]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.values) == 3 * 2 * 2 * 2 * 4
    for row in rows:
        cell = Cell(row["loss"], row["pooling"], row["backbone"])
        assert f"{study.ladder(cell, row['test'])[float(row['tau_m'])]:.2f}" == row["fcm_percent"]


def test_anchors_of_the_printed_page():
    outdoors, indoors = published.studies()
    best = outdoors.ladder(Cell("arcface", "gem", "resnet50"), "test01")
    assert best == {25: 96.51, 10: 94.08, 5: 68.91, 2: 48.09}
    worst = indoors.ladder(Cell("arcface", "netvlad", "resnet50"), "test02")
    assert worst == {1.0: 72.37, 0.75: 69.59, 0.5: 62.68, 0.25: 37.22}


def test_the_one_misprint():
    outdoors, indoors = published.studies()
    assert outdoors.misprints() == []
    ((wide, narrow),) = indoors.misprints()
    assert wide.cell == narrow.cell == Cell("triplet", "gem", "resnet50")
    assert (wide.test, wide.tolerance, wide.fcm) == ("test01", 1.0, 93.18)
    assert (narrow.tolerance, narrow.fcm) == (0.75, 94.03)


def test_other_sequences_have_no_published_values():
    assert published.study("robotcar/small") is None
    assert published.study("cold/paper") is not None
