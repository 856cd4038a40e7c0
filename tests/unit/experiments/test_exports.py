"""The record of exported files: which cells there are, what counts as sound, and one cell for real."""

import argparse
import json
import os

import cv2
import exports
import numpy as np
import pytest
from analysis import export_table
from analysis.export_table import Row
from grid import one_export, parts_export

from vprjax.errors import ConfigError, DataError
from vprjax.export import check, program, stablehlo
from vprjax.models.backbones import BACKBONES
from vprjax.models.heads import HEADS

FACTS = {
    "stage": "whole",
    "files": "1",
    "sizes": "160x160",
    "images": "16",
    "own": "0",
    "foreign": "",
}
FACTS |= {"mib": "1", "peak_mib": "900", "packages": "jax=1", "code_version": "0", "note": ""}


def row(exported="1e-06", head="gem", **more):
    cell = {"backbone": "vgg16", "head": head, "format": "onnx", "exported": exported}
    return Row(**{**FACTS, **cell, **more})


def test_every_backbone_has_every_head_that_it_can_feed():
    cells = export_table.cells()
    assert {backbone for backbone, _ in cells} == set(BACKBONES)
    assert {head for _, head in cells} == set(HEADS)
    assert ("dinov2_vits14", "salad") in cells and ("vgg16", "salad") not in cells
    assert len(cells) == 15 * 18 + 9 * 20


def test_what_is_sound():
    assert row().sound and row("1e-05").sound
    assert not row("1.1e-05").sound and not row("nan").sound
    assert row("1.1e-05", own="3e-06").sound and not row("1.3e-05", own="3e-06").sound
    assert not row(foreign="jax").sound


def test_rows_are_kept_in_order_and_replaced(tmp_path):
    old = [row(head="netvlad"), row("2e-06"), row(format="stablehlo")]
    rows = export_table.merged(old, [row("3e-06")])
    assert [(one.head, one.format, one.exported) for one in rows] == [
        ("gem", "onnx", "3e-06"),
        ("gem", "stablehlo", "1e-06"),
        ("netvlad", "onnx", "1e-06"),
    ]
    file = tmp_path / "exports.csv"
    file.write_text(export_table.text(rows))
    assert export_table.read(file) == rows and export_table.read(tmp_path / "none.csv") == []
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"exports\.csv has other columns"):
        export_table.read(file)


def test_the_page_marks_what_is_coarse_or_differs():
    rows = [
        row("2e-06"),
        row("1.1e-05", head="mac", own="3e-06"),
        row("2e-05", head="rmac", note="why"),
    ]
    page = export_table.page(export_table.merged([], rows), "the command")
    assert "| vgg16 | 1.1e-05* | 2.0e-06 | **2e-05** |" in page and "- rmac: why" in page
    assert "- 2 of 3 files are within 1e-05" in page and "897 cells have not been run" in page
    cut = export_table.page([row(stage="conv2")], "the command")
    assert "| vgg16 [conv2] |" in cut and "Whole backbones: none" in cut


def test_two_files_never_replace_one():
    whole, parts = row("3e-06"), row("2e-06", files="2")
    assert export_table.merged([parts], [whole]) == export_table.merged([whole], [parts]) == [whole]
    page = export_table.page([parts, row("1e-06", head="mac")], "the command")
    assert "| vgg16 | 1.0e-06 | _2.0e-06_ |" in page and "- 1 cells in italics" in page


def test_rows_of_an_older_work_folder_fill_gaps_alone(tmp_path):
    args = argparse.Namespace(work=tmp_path / "work", records=tmp_path)
    left = tmp_path / "work/vgg16" / export_table.ROWS
    left.parent.mkdir(parents=True)
    lines = [json.dumps(one._asdict()) for one in (row("2e-06"), row("4e-06", head="mac"))]
    left.write_text("\n".join(lines) + "\n")
    table = tmp_path / export_table.FILE
    table.write_text(export_table.text([row("3e-06", code_version="1")]))

    def shown(changed):
        os.utime(left, (changed, changed))
        os.utime(table, (100, 100))
        return {one.head: one.exported for one in exports.record(args)}

    assert shown(99) == {"gem": "3e-06", "mac": "4e-06"}
    assert shown(101) == {"gem": "2e-06", "mac": "4e-06"}  # a killed call's, or this one's


def test_a_process_starts_with_no_rows_of_another(tmp_path, monkeypatch):
    """Else its first row would make them all newer than the record."""
    args = argparse.Namespace(
        work=tmp_path / "work", records=tmp_path, images=tmp_path, only="vgg16-gem"
    )
    args.again, args.parts, seen = True, False, []
    left = tmp_path / "work/vgg16" / export_table.ROWS
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps(row("2e-06")._asdict()) + "\n")
    monkeypatch.setattr(exports, "pictures", lambda _: [])

    def run(command, **_):
        seen.append(left.exists())
        return argparse.Namespace(returncode=1)

    monkeypatch.setattr(exports.subprocess, "run", run)
    assert exports.export(args) == ["vgg16 gem stablehlo"] and seen == [False]
    assert export_table.read(tmp_path / export_table.FILE) == [row("2e-06")]


def test_pictures_are_spread_evenly(tmp_path):
    for number in range(31):
        (tmp_path / f"{number:02d}.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    found = exports.pictures(tmp_path)
    assert [path[-6:-4] for path in found] == [f"{number:02d}" for number in range(0, 31, 2)]
    (tmp_path / "few").mkdir()
    with pytest.raises(ConfigError, match="holds 0 pictures; 16 are needed"):
        exports.pictures(tmp_path / "few")


def job(folder):
    """The job of a network of a few layers, on three pictures."""
    folder.mkdir()
    shown = []
    for number, picture in enumerate(check.pictures(48, 64, 3)):
        shown.append(str(folder / f"{number}.png"))
        cv2.imwrite(shown[-1], picture)
    facts = {"backbone": "mobilenetv2", "heads": ["gem"], "stage": "expanded_conv"}
    return {**facts, "pictures": shown, "size": [64, 64]}


@pytest.fixture
def one_format(monkeypatch):
    pytest.importorskip("flatbuffers")
    monkeypatch.setattr(one_export, "FORMATS", {"stablehlo": "vprjax.export.stablehlo"})
    monkeypatch.setattr(one_export, "packages", lambda: "jax=1")
    monkeypatch.setattr(one_export, "READER", one_export.READER)


def test_a_cell_is_compared_in_a_process_without_vprjax(tmp_path, one_format, monkeypatch):
    told = job(tmp_path / "work")
    (tmp_path / "work" / export_table.JOB).write_text(json.dumps(told))
    monkeypatch.setattr(one_export.sys, "argv", ["one_export.py", str(tmp_path / "work")])
    one_export.main()
    _, (found,) = exports.collect(tmp_path)
    assert found.sound and 0 < float(found.exported) <= check.MOST and found.note == ""
    assert (found.sizes, found.images, found.stage) == ("64x64 96x128 115x35", "3", "expanded_conv")
    assert not list((tmp_path / "work").glob("model.*"))

    sound = program.program

    def off(*words):
        describe = sound(*words)
        return lambda images: describe(images) * np.float32(1 + 1e-4)

    monkeypatch.setattr(stablehlo, "program", off)
    start = one_export.start_of(told, np.zeros((3, 64, 64, 3), np.uint8))
    model = one_export.model_of(told, "gem", start, (64, 64))
    monkeypatch.setattr(check, "FREE", ((0, 0),))
    (other,) = one_export.rows_of(model, told, "gem", tmp_path / "work")
    assert not other.sound and float(other.exported) == pytest.approx(1e-4, rel=0.1)
    monkeypatch.setattr(one_export, "READER", tmp_path / "gone.py")
    (failed,) = one_export.rows_of(model, told, "gem", tmp_path / "work")
    assert not failed.sound and failed.exported == "nan" and "RuntimeError" in failed.note


def test_a_backbone_and_its_heads_are_files_of_their_own(tmp_path, one_format):
    told = job(tmp_path / "work") | {"heads": ["gem", "mac", "rmac"]}
    parts = parts_export.Parts(told)
    rows = [*parts_export.rows_of(parts, "stablehlo", tmp_path / "work")]
    three = "64x64 96x128 115x35"
    assert [(one.head, one.sizes) for one in rows] == [
        ("gem", three),
        ("mac", three),
        ("rmac", "64x64"),
    ]
    assert all(one.sound and one.files == "2" for one in rows)
    assert all(0 < float(one.exported) <= check.MOST for one in rows)
    heads = tmp_path / "heads-32x32x16"
    names = {"gem.stablehlo", "mac.stablehlo", "rmac.one.stablehlo"}
    assert {file.name for file in heads.iterdir()} == names

    (heads / "mac.stablehlo").rename(heads / "gem.stablehlo")  # another head's program
    (heads / "rmac.one.stablehlo").write_bytes(b"no program")
    told["heads"] = ["gem", "rmac"]
    other, failed = parts_export.rows_of(parts, "stablehlo", tmp_path / "work")
    assert not other.sound and float(other.exported) > 1e-3
    assert not failed.sound and failed.exported == "nan" and failed.note
