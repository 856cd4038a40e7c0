"""Published names of MSLS and Pittsburgh through their layouts, in trees made up around them."""

import json
import pathlib
import re

import pytest

from tests.helpers import raw_msls
from tests.helpers.raw_places import command, records
from tests.unit.tfds_builders.test_layouts import write, write_dbstruct

FORMATS = pathlib.Path(__file__).parents[4] / "shared/formats"
pytestmark = pytest.mark.skipif(not FORMATS.is_dir(), reason="no shared samples")


def build(tmp_path, **keys):
    option = f"--config={json.dumps({'name': 'mine', **keys})}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    return tmp_path / "out/places_csv/mine/1.0.0"


def test_msls(tmp_path):
    names = (FORMATS / "msls/msls_val_qImages_first10.txt").read_text().split()
    keys = [name.rpartition("/")[2][:-4] for name in names]
    lines = (FORMATS / "msls/example_msls_im2im_prediction_head.csv").read_text().splitlines()
    others = sorted({key for line in lines if line[0] != "#" for key in line.split()})
    assert any(key.startswith("-") for key in others)  # no option, and no number
    for side, every in (("query", keys), ("database", others)):
        images = [raw_msls.Image(key, 5.0 * n, 0.0) for n, key in enumerate(every)]
        raw_msls.write_side(tmp_path / "raw/train_val/cph" / side, "cph", images)
    folder = build(tmp_path, layout="msls", protocol="msls_25m")
    assert [r["image_id"].decode() for r in records(folder, "val_query")] == names
    database = [r["image_id"].decode() for r in records(folder, "val_database")]
    assert database == [f"train_val/cph/database/images/{key}.jpg" for key in others]


def test_pittsburgh(tmp_path):
    database = (FORMATS / "pitts/pitts30k_test_dbImages_first26.txt").read_text().split()
    queries = (FORMATS / "pitts/pitts30k_test_qImages_first26.txt").read_text().split()
    write(tmp_path / "raw", *database, *queries)
    for name in (*database, *queries):
        assert re.search(r"\d{3}/\d{6}_pitch[12]_yaw\d{1,2}\.jpg$", name)
    inside = [name.removeprefix("queries_real/") for name in queries]  # as the table has them
    positions = [[[585001.0 + n, 4477001.0] for n in range(len(x))] for x in (database, queries)]
    table = tmp_path / "raw/pitts30k_test.mat"
    write_dbstruct(table, database, positions[0], inside, positions[1])
    folder = build(tmp_path, layout="dbstruct")
    for split, names, at in (
        ("database", database, positions[0]),
        ("queries", inside, positions[1]),
    ):
        found = records(folder, f"pitts30k_test_{split}")
        assert [r["image_id"].decode() for r in found] == [
            f"pitts30k_test_{split}/{n}" for n in names
        ]
        assert [r["position"].tolist() for r in found] == at
