"""The page of a set of queries: every answer, its dot, its pictures, and what is left out."""

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest

from tests.helpers import small_map
from vprjax.localize import drawing, page

VIEWS = small_map.views()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return small_map.build(tmp_path_factory.mktemp("map"), small_map.model())


def written(folder, places, queries, pictures=None):
    """The text of the page of `queries`, pictures of any kind."""
    found = page.Page(places, places.model.form)
    for number, (query, answer) in enumerate(zip(queries, places.query(queries), strict=True)):
        found.add(f"today/{number} <b>", answer, pictures[number] if pictures else query)
    found.write(folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def images(text):
    """The decoded pictures of a page."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_every_answer_has_a_row_a_dot_and_two_pictures(places, tmp_path):
    text = written(tmp_path, places, [VIEWS[7], VIEWS[3], VIEWS[7][:, ::-1]])
    assert "It knows the places of 2 of 3 queries." in text
    assert "how often such answers are right, by 40 validation queries." in text
    assert len(re.findall(r'<tr id="row', text)) == 3
    assert len(re.findall(r'class="known"', text)) == 2
    assert len(re.findall(r'class="unknown"', text)) == 1
    assert "known, 97 %" in text and "not known, 12 %" in text
    found = images(text)
    assert len(found) == 6
    for view, shown in zip((VIEWS[7], VIEWS[7], VIEWS[3], VIEWS[3]), found[:4], strict=True):
        assert np.abs(view.astype(int) - shown).mean() < 12
    assert "today/0 &lt;b&gt;" in text and "<b>" not in text
    assert "position (m)</th>" in text
    assert '<div class="scroll" role="region" aria-label="Answers" tabindex="0">' in text


def test_the_page_needs_nothing_but_itself(places, tmp_path):
    text = written(tmp_path, places, VIEWS[:2])
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    ids = re.findall(r'\bid="(\w+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#(\w+)"', text)) <= set(ids)


@pytest.mark.parametrize(("count", "step"), [(100, 1), (101, 2), (350, 4)])
def test_pictures_of_many_queries_are_thinned_and_the_page_says_so(places, tmp_path, count, step):
    text = written(tmp_path, places, (VIEWS * 9)[:count])
    assert len(re.findall(r'class="case"', text)) == -(-count // step)
    assert len(re.findall(r'<tr id="row', text)) == count
    limited = f"Pictures are shown of one query in {step}; the table has all {count}."
    assert (limited in text) == (step > 1)
    assert set(re.findall(r'href="#(\w+)"', text)) <= set(re.findall(r'\bid="(\w+)"', text))


def test_without_a_calibration_no_share_is_named(tmp_path):
    places = small_map.build(tmp_path, small_map.model(calibrated=False))
    text = written(tmp_path, places, VIEWS[:2])
    assert "The model is not calibrated" in text
    assert "%" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_a_map_without_positions_draws_nothing(tmp_path):
    places = small_map.build(tmp_path, small_map.model(), np.full((4, 2), np.nan))
    text = written(tmp_path, places, VIEWS[:1])
    assert "The map has no positions." in text and "<svg" not in text
    assert "unknown</td>" in text


def test_a_picture_that_is_gone_is_left_out(places, tmp_path):
    text = written(tmp_path, places, VIEWS[:1], [tmp_path / "absent.png"])
    assert len(images(text)) == 1


def test_a_query_is_read_from_its_file(places, tmp_path):
    PIL.Image.fromarray(VIEWS[5]).save(tmp_path / "a.png")
    shown = images(written(tmp_path, places, VIEWS[5:6], [tmp_path / "a.png"]))[0]
    assert np.abs(VIEWS[5].astype(int) - shown).mean() < 12


def test_a_drawing_keeps_proportions_with_north_up():
    corners = np.array([[500.0, 100.0], [700.0, 100.0], [700.0, 200.0], [np.nan, 0.0]])
    made = drawing.Drawing(corners, "m")
    (x0, y0), (x1, y1), (x2, y2) = (map(float, made.spot(one).split()) for one in corners[:3])
    assert y0 == y1 and x1 == x2
    assert x1 - x0 == pytest.approx(2 * (y1 - y2), abs=0.2)
    assert 0 <= min(x0, y2) and max(x1, 0) <= made.width and y0 <= made.height
    assert made.spot(corners[3]) == ""
    assert made.extent == "200 m from west to east, 100 m from south to north."
    assert made.route.count("h0") == 3


@pytest.mark.parametrize(
    "positions", [[[5.0, 5.0]], [[0.0, 0.0], [0.0, 9.0]], [[0.0, 0.0], [9.0, 0.0]]]
)
def test_a_point_and_a_line_can_be_drawn(positions):
    made = drawing.Drawing(np.array(positions), "m")
    spots = np.array([made.spot(np.array(one)).split() for one in positions], float)
    assert (spots >= 0).all() and (spots <= [made.width, made.height]).all()


def test_a_long_route_is_thinned():
    made = drawing.Drawing(np.random.default_rng(0).random((100_000, 2)), "m")
    assert 2000 < made.route.count("h0") <= drawing.DOTS
