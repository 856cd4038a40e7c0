"""The grid's page: whole, self-contained, escaped, with every run's figures."""

import base64
import json

import pytest
from analysis import scores, study
from grid import page as grid_page

from tests.helpers import made_up_page, made_up_runs
from vprjax.report import published

HOSTILE = "<script>alert(1)</script>"


def write(folder, dataset, seeds=(0, 1)):
    runs = {}
    for backbone in ("vgg16", "resnet50"):
        for i, loss in enumerate(("triplet", "contrastive", "arcface")):
            for seed in seeds:
                runs[(backbone, "gem", loss), seed] = 80.0 + 2 * i + seed
    paths = made_up_runs.write(folder, runs, dataset=dataset)
    found = scores.read(paths)
    paper = published.study(dataset.partition(":")[0])
    made = study.all_tables(found, paper)
    grid_page.write(folder, found, paper, made, paths, [("machine", HOSTILE)])
    page = made_up_page.Read((folder / "report.html").read_text())
    made_up_page.check_self_contained(page)
    return page


def test_page_holds_tables_figures_and_runs(tmp_path):
    page = write(tmp_path, "robotcar/paper:1.0.0")
    # 4 tolerances x 2 query splits, the comparisons of ours and of the paper
    assert len(page.images) == 10 and page.tags.count("table") == 5
    assert "ArcFace against triplet, 2 pairs: +0.38 to +3.00 points on average" in page.text
    assert "ahead beyond the interval at 25, 10, 5, 2 m" in page.text
    assert "The text claims a lead of 1 to 4 %" in page.text
    assert "90.89" in page.text and HOSTILE in page.text
    assert "vgg16" not in page.text and page.text.count("VGG16, GeM, ArcFace") == 2
    assert any("VGG16 GeM ArcFace 84.5" in image["alt"] for image in page.images)


def test_runs_are_linked_where_they_have_a_page(tmp_path):
    linked = tmp_path / "vgg16-gem-triplet" / "seed0" / "report.html"
    linked.parent.mkdir(parents=True)
    linked.touch()
    page = write(tmp_path, "synthetic/tiny:1.1.0", seeds=(0,))
    assert [x for x in page.links if not x.startswith("#")] == [
        "vgg16-gem-triplet/seed0/report.html"
    ]
    assert "The text claims" not in page.text


def test_a_hostile_dataset_name_is_escaped(tmp_path):
    assert HOSTILE in write(tmp_path, f"{HOSTILE}:1.0.0").text


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_one_model_alone_has_nothing_to_compare(tmp_path, seeds):
    paths = made_up_runs.write(
        tmp_path, {(("vgg16", "gem", "triplet"), seed): 50.0 for seed in seeds}
    )
    found = scores.read(paths)
    grid_page.write(tmp_path, found, None, study.all_tables(found, None), paths, [])
    page = made_up_page.Read((tmp_path / "report.html").read_text())
    assert "No two finished runs differ in one part alone" in page.text


def test_the_legend_names_every_loss(tmp_path):
    """Also one that the first model lacks, and one of another study than the paper's."""
    losses = ("triplet", "contrastive", "multi_similarity")
    runs = {
        ((backbone, "gem", loss), 0): 50.0
        for backbone, loss in zip(("vgg16", "resnet50", "resnet50"), losses, strict=True)
    }
    found = scores.read(made_up_runs.write(tmp_path, runs))
    picture = grid_page.dots(found, None, found.tests[0], found.tolerances[0])
    drawn = base64.b64decode(picture.uri.partition(",")[2]).decode()
    for name in ("off the shelf", "triplet", "contrastive", "multi-similarity"):
        assert name in drawn
    assert "ResNet50 GeM multi-similarity 50.0" in picture.alt


def test_a_split_without_a_position_has_no_figure(tmp_path):
    (path,) = made_up_runs.write(tmp_path, {(("vgg16", "gem", "triplet"), 0): 50.0})
    document = json.loads(path.read_text())
    for by_split in document["results"].values():
        by_split["test02"]["fcm"] = dict.fromkeys(by_split["test02"]["fcm"])
    path.write_text(json.dumps(document))
    found = scores.read([path])
    grid_page.write(tmp_path, found, None, study.all_tables(found, None), [path], [])
    assert "6.2 % test01, - % test02" in (tmp_path / "report.html").read_text()
