"""MSLS's tasks of sequences: which windows ask and answer, and which answers are right."""

import itertools
import json

import pytest

from tests.helpers import raw_msls
from tests.helpers.raw_msls import Image
from tests.helpers.raw_places import command, metadata, records

# Sequence, frame number, east, whether a panorama, whether in the subtask n2d.
DATABASE = [
    ("d1", i, 20.0 * i, i == 2, True) for i in range(8)
]  # a panorama in the middle of a run
DATABASE += [
    ("d2", 0, 0.0, False, True),
    ("d2", 1, 7.0, False, True),
    ("d2", 3, 9.0, False, True),
]  # a gap; then another sequence counts on
DATABASE += [("d3", 4 + i, 500.0 + 30 * i, i == 0, i != 2) for i in range(5)]
QUERY = [("q1", i, 24.0 * i, False, True) for i in range(5)]
QUERY += [("q2", 5 + i, 900.0 + i, False, True) for i in range(3)]  # no answer
QUERY += [("q3", i, 480.0 + 24 * i, i == 3, i != 1) for i in range(6)]
QUERY += [("q3", 7, 640.0, False, True)]
LENGTHS = {"im2seq": (1, 3), "seq2im": (3, 1), "seq2seq": (3, 3)}
CITIES = ("cph", "sf")


def write_side(folder, city, rows, cut):
    images = [
        Image(f"{s}_{n}", x, 0.0, pano=p, subtask=t, sequence=s) for s, n, x, p, t in rows[cut:]
    ]
    raw_msls.write_side(folder, city, images)
    path = folder / "seq_info.csv"
    head, *lines = path.read_text().splitlines()
    numbers = [row[1] for row in rows[cut:]]
    lines = [f"{line.rpartition(',')[0]},{n}" for line, n in zip(lines, numbers, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n")


def write(raw):
    """Two cities; the second lacks the first rows of both sides, so that their numbers differ."""
    for city, cut in zip(CITIES, (0, 2), strict=True):
        write_side(raw / "train_val" / city / "database", city, DATABASE, cut)
        write_side(raw / "train_val" / city / "query", city, QUERY, cut)


def windows(rows, length, subtask):
    """Windows of a side as rows, by the rules of the official loader, without NumPy."""
    half, found = length // 2, []
    for i in range(half, len(rows) - half):
        own = rows[i - half : i + half + 1]
        run = all(a[0] == b[0] and b[1] == a[1] + 1 for a, b in itertools.pairwise(own))
        if run and not rows[i][3] and (rows[i][4] or not subtask):
            found.append(own)
    return found


def expected(task, subtask):
    """Per query window that counts its keys and the keys of its right answers, of both cities."""
    asked = []
    for city, cut in zip(CITIES, (0, 2), strict=True):
        ours, theirs = (
            windows(rows[cut:], length, subtask)
            for rows, length in zip((QUERY, DATABASE), LENGTHS[task], strict=True)
        )
        for own in ours:
            right = [w for w in theirs if min(abs(a[2] - b[2]) for a in own for b in w) <= 25.0]
            if right:
                asked.append((keys(city, own), {keys(city, w) for w in right}))
    return asked


def keys(city, window):
    return city, tuple(f"{s}_{n}" for s, n, *_ in window)


def built_keys(folder, split, told):
    """City and keys of each window that the metadata list."""
    found = [r["image_id"].decode().split("/") for r in records(folder, split)]
    half = told[split]["length"] // 2
    return [
        (found[m][1], tuple(name[4][:-4] for name in found[m - half : m + half + 1]))
        for m in told[split]["middles"]
    ]


@pytest.mark.parametrize("task", LENGTHS)
@pytest.mark.parametrize("subtask", ["all", "n2d"])
def test_windows_and_right_answers(tmp_path, task, subtask):
    write(tmp_path / "raw")
    protocol = f"msls_25m_{task}"
    values = {
        "name": "mine",
        "layout": "msls",
        "protocol": protocol,
        "choices": {"subtask": subtask},
    }
    option = f"--config={json.dumps(values)}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    told = metadata(tmp_path, builder="places_csv")
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    queries, answers = (
        built_keys(folder, s, told["windows"]) for s in ("val_query", "val_database")
    )
    lists = told["positives"]["val_query"]["lists"]
    found = [
        (query, {answers[n] for n in right}) for query, right in zip(queries, lists, strict=True)
    ]
    assert found == expected(task, subtask != "all") and len(found) > 4
    assert told["protocol"]["name"] == protocol and told["protocol"]["radius"] is None
    assert task in told["protocol"]["source"]
    sides = zip((QUERY, DATABASE), ("val_query", "val_database"), LENGTHS[task], strict=True)
    for rows, split, length in sides:
        used = {
            n
            for m in told["windows"][split]["middles"]
            for n in range(m - length // 2, m + length // 2 + 1)
        }
        assert sorted(used) == list(range(told["counts"][split]["kept"]))  # no frame for nothing
        assert told["counts"][split]["found"] == 2 * len(rows) - 2
    assert "in no window of 3 frames" in str(told["counts"])


def test_the_windows_of_a_test_city_have_no_right_answers(tmp_path):
    for side, rows in (("database", DATABASE), ("query", QUERY)):
        images = [Image(f"{s}_{n}", x, 0.0, sequence=s) for s, n, x, *_ in rows]
        raw_msls.write_side(tmp_path / "raw/test/sf" / side, "sf", images, secret=True)
    option = '--config={"name": "mine", "layout": "msls", "protocol": "msls_25m_seq2seq"}'
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    told = metadata(tmp_path, builder="places_csv")
    assert "positives" not in told and len(told["windows"]["test_query"]["middles"]) == 3 + 1 + 5


def test_queries_of_a_city_without_a_database_window_stay_out(tmp_path):
    outside = [(*row[:4], False) for row in DATABASE]
    for city, rows in (("cph", outside), ("sf", DATABASE)):
        write_side(tmp_path / f"raw/train_val/{city}/database", city, rows, 0)
        write_side(tmp_path / f"raw/train_val/{city}/query", city, QUERY, 0)
    values = {"name": "mine", "layout": "msls", "choices": {"subtask": "n2d"}}
    option = f"--config={json.dumps(values | {'protocol': 'msls_25m_seq2seq'})}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    told = metadata(tmp_path, builder="places_csv")
    asked = built_keys(tmp_path / "out/places_csv/mine/1.0.0", "val_query", told["windows"])
    assert asked and {city for city, _ in asked} == {"sf"}
    assert len(told["positives"]["val_query"]["lists"]) == len(asked)
    assert "cph has no database image" in str(told["counts"])
