"""The tables: the published numbers to the digit, comparisons by hand, three formats of one content."""

import csv
import io
import re

import pytest
from analysis import conclusions, scores, text_table
from analysis import study as study_tables

from tests.helpers import made_up_runs
from vprjax.report import published

OUTDOORS, INDOORS = published.studies()


def test_an_interval_below_0_has_the_minus_of_the_differences():
    assert text_table.shown(scores.Mean(1.5, (-2.25, 5.25), 3)) == "1.50 [−2.25, 5.25]"
    assert text_table.difference(scores.Mean(-1.5, (-3.0, 0.0), 3)) == "−1.50 [−3.00, 0.00]"


@pytest.mark.parametrize("study", published.studies(), ids=lambda s: s.dataset)
def test_the_papers_own_table_to_the_digit_and_in_its_order(study):
    table = study_tables.main_table(None, study)
    printed = [f"{value.fcm:.2f}" for value in study.values]
    assert [text.rstrip("*") for row in table.rows for text in row[4:]] == printed
    losses = [row[0] for row in table.rows]
    assert losses == ["triplet"] * 8 + ["contrastive"] * 8 + ["ArcFace"] * 8
    assert [row[1:4] for row in table.rows[:3]] == [
        ["test01", "GeM", "VGG16"],
        ["test01", "GeM", "ResNet50"],
        ["test01", "NetVLAD", "VGG16"],
    ]


def test_the_misprint_is_marked_and_told():
    table = study_tables.main_table(None, INDOORS)
    marked = [text for row in table.rows for text in row if text.endswith("*")]
    assert marked == ["93.18*", "94.03*"]
    assert "93.18 at 1.0 m but 94.03 at 0.75 m" in table.notes[0]
    assert not study_tables.main_table(None, OUTDOORS).notes


def test_comparison_recomputed_from_the_paper_by_hand():
    table = conclusions.comparison_table(scores.of_study(OUTDOORS), "paper")
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    # GeM at 25 m: VGG16 91.37-90.89 and 89.64-89.09, ResNet50 96.51-95.18 and 92.00-91.74: 0.515 and
    # 0.795, mean 0.655, s 0.198, t(1) 12.706
    assert rows["ArcFace − triplet", "all with GeM"][:2] == ["2", "+0.66 [−1.12, +2.43]"]
    everything = rows["ArcFace − contrastive", "all"]
    assert everything[0] == "4" and everything[1].startswith("+15.93 [")
    assert rows["GeM − NetVLAD", "all"][0] == "6"


def test_claims_against_the_papers_own_tables():
    outdoors = {tuple(row[:2]): row[2:] for row in conclusions.claim_table(OUTDOORS).rows}
    assert outdoors["triplet", "GeM"] == [
        "16", "+1.08", "−0.19", "+7.30", "1", "12", "1", "3"
    ]  # fmt: skip
    assert outdoors["triplet", "NetVLAD"][2:4] == ["−23.36", "+12.72"]
    indoors = {tuple(row[:2]): row[2:] for row in conclusions.claim_table(INDOORS).rows}
    assert indoors["triplet", "NetVLAD"][1:] == [
        "−2.25", "−7.73", "+1.13", "1", "3", "1", "12"
    ]  # fmt: skip
    assert "GeM against triplet (+1.15), and not for GeM against contrastive (+4.22)" in (
        conclusions.claim_sentence(INDOORS)
    )
    assert "9 lie there" in conclusions.claim_sentence(OUTDOORS)


@pytest.fixture
def ours(tmp_path):
    runs = {}
    for pooling in ("gem", "netvlad"):
        for loss, fcm in (("triplet", 90.0), ("arcface", 94.0)):
            for seed in (0, 1):
                runs[("vgg16", pooling, loss), seed] = fcm + seed
    return scores.read(made_up_runs.write(tmp_path, runs, dataset="robotcar/paper:1.0.0"))


def test_ours_papers_and_difference_side_by_side(ours):
    table = study_tables.main_table(ours, OUTDOORS)
    assert table.head[4:7] == ["25 m ours", "25 m paper", "25 m diff."]
    row = next(r for r in table.rows if r[:4] == ["triplet", "test01", "GeM", "VGG16"])
    assert row[4].startswith("90.50 [") and row[5:7] == ["90.89", "−0.39"]
    missing = next(r for r in table.rows if r[:4] == ["contrastive", "test01", "GeM", "VGG16"])
    assert missing[4:7] == ["", "72.69", ""]
    assert table.rows[0][:2] == ["off the shelf", "test01"] and table.rows[0][5:7] == ["", ""]
    assert table.rows[-2][:2] == ["oracle (ceiling)", "test01"] and table.rows[-2][4] == "100.00"
    assert all(len(row) == len(table.head) for row in table.rows)


def test_rows_of_different_numbers_of_seeds_say_how_many(tmp_path):
    runs = {(("vgg16", "gem", loss), seed): 40.0 for loss, seed in
            (("triplet", 0), ("triplet", 1), ("triplet", 2), ("arcface", 0))}  # fmt: skip
    found = scores.read(made_up_runs.write(tmp_path, runs, dataset="robotcar/paper:1.0.0"))
    table = study_tables.main_table(found, OUTDOORS)
    assert table.head[4:6] == ["seeds", "25 m ours"]
    seeds = {(row[0], row[2], row[3]): row[4] for row in table.rows if row[1] == "test01"}
    assert seeds["triplet", "GeM", "VGG16"] == "3" and seeds["ArcFace", "GeM", "VGG16"] == "1"
    assert seeds["off the shelf", "GeM", "VGG16"] == "3"
    assert seeds["contrastive", "GeM", "VGG16"] == seeds["oracle (ceiling)", "", ""] == ""
    assert all(len(row) == len(table.head) for row in table.rows)


def test_three_files_hold_the_same_figures(ours, tmp_path):
    study_tables.write(tmp_path, ours, OUTDOORS)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables.csv").read_text())))
    row = next(
        r for r in rows
        if (r["loss"], r["test"], r["pooling"], r["backbone"], r["tau"])
        == ("triplet", "test01", "gem", "vgg16", "25")
    )  # fmt: skip
    assert float(row["ours"]) == 90.5 and row["paper"] == "90.89" and row["seeds"] == "2"
    assert float(row["difference"]) == pytest.approx(90.5 - 90.89)
    text, tex = (tmp_path / "tables.md").read_text(), (tmp_path / "tables.tex").read_text()
    for shown in ("90.50", "90.89", "0.39"):
        assert shown in text and shown in tex
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == 4


def test_without_a_published_table_only_ours_is_shown(tmp_path):
    runs = {(("vgg16", "gem", "triplet"), 0): 40.0}
    ours = scores.read(made_up_runs.write(tmp_path, runs))
    table = study_tables.main_table(ours, None)
    assert table.head[4:] == ["25 m", "10 m", "5 m", "2 m"]
    # One run has nothing to be compared with.
    assert [t.title for t in study_tables.all_tables(ours, None)] == [table.title]
    runs[("vgg16", "gem", "arcface"), 0] = 50.0
    ours = scores.read(made_up_runs.write(tmp_path, runs))
    assert len(study_tables.all_tables(ours, None)) == 2


def test_latex_escapes():
    table = text_table.Table("50 % of a_b & c", ["x"], [["1 − 2"]], 1, [])
    tex = table.latex()
    assert r"50 \% of a\_b \& c" in tex and "1 $-$ 2" in tex
    assert not re.search(r"(?<!\\)[%&_]", tex.replace("&\n", "").replace("{!}{%\n", ""))
