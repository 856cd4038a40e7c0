"""The picture of a run shows the surest right and wrong answers and what they should have been."""

import json

import numpy as np
import picture
import pytest

from tests.helpers import made_up_page
from vprjax.data import source
from vprjax.errors import DataError


def rows(matched, distances, errors):
    columns = zip(matched, distances, errors, strict=True)
    return [{"match": f"r/{m:03d}", "distance": str(d), "error": str(e)} for m, d, e in columns]


def test_panels_are_the_images_they_name():
    config, n = made_up_page.config(), 40
    queries, references = made_up_page.places("q"), made_up_page.places("r")
    matched, errors, distances = np.arange(n), np.zeros(n), np.ones(n)
    matched[7], errors[7], distances[7] = 21, 140.0, 0.2  # the surest wrong answer
    distances[30] = 0.1  # the surest right one
    shown = picture.panels(rows(matched, distances, errors), queries, references, config)
    assert [int(np.median(panel.image)) for panel in shown] == [30, 30, 7, 21, 7]  # grey levels
    assert [panel.caption for panel in shown[:3]] == ["q/030", "0.0 m from the query", "q/007"]
    away = np.linalg.norm(queries.positions[7] - references.positions[21])
    assert shown[3].caption == f"{away:.1f} m from the query" and "wrong" in shown[3].title


def test_a_run_without_a_wrong_match_is_refused():
    places = made_up_page.places("r")
    right = rows(np.arange(40), np.ones(40), np.zeros(40))
    with pytest.raises(DataError, match="no right match or no wrong one"):
        picture.panels(right, places, places, made_up_page.config())


def test_command_writes_a_png_900_pixels_wide(tmp_path, monkeypatch):
    config = made_up_page.config("test01")
    found = {"provenance": {"config": config.to_dict()}}
    (tmp_path / "results.json").write_text(json.dumps(found))
    (tmp_path / "matches").mkdir()
    lines = ["query,match,error,distance"]
    lines += [f"test01/{i:03d},r/{i:03d},{0 if i else 300},1" for i in range(40)]
    (tmp_path / "matches" / "fine_tuned_test01.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(source, "load", lambda _, splits: made_up_page.places("r"))
    out = tmp_path / "made" / "matches.png"
    monkeypatch.setattr("sys.argv", ["picture", f"--workdir={tmp_path}", f"--out={out}"])
    assert picture.main() == 2  # no such folder
    out.parent.mkdir()
    assert picture.main() == 0
    header = out.read_bytes()[:24]
    assert header[1:4] == b"PNG" and int.from_bytes(header[16:20]) == 900
