"""Other people's layouts through the command line: positions, order, splits, bad names."""

import json

import cv2
import numpy as np
import pytest
import scipy.io

from tests.helpers.raw_places import command, decoded, image, records


def write(folder, *names, first=0):
    for number, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), image(number))


def build(tmp_path, layout) -> int:
    option = f'--config={{"name": "mine", "layout": "{layout}"}}'
    return command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option)


def built(tmp_path, split):
    return records(tmp_path / "out/places_csv/mine/1.0.0", split)


def metadata(tmp_path):
    return json.loads((tmp_path / "out/places_csv/mine/1.0.0/metadata.json").read_text())


def test_utm_names(tmp_path):
    write(
        tmp_path / "raw/images/test/database",
        "@0620021.33@5735011.90@30@U@51.75@-1.26@pano@3@270.0@0@0@1.5@2019@@.png",
        "@0620020.00@5735010.00@.png",
    )
    write(tmp_path / "raw/images/test/queries", "@1@2@@@@@@@45@.jpg")
    assert build(tmp_path, "utm") == 0
    first, second = built(tmp_path, "test_database")
    np.testing.assert_array_equal(first["position"], [620020, 5735010])
    np.testing.assert_array_equal(second["position"], [620021.33, 5735011.9])
    assert np.isnan(first["heading"]) and second["heading"] == pytest.approx(-np.pi / 2)
    assert [first["timestamp"], second["timestamp"]] == [0, 1]
    (query,) = built(tmp_path, "test_queries")
    assert query["heading"] == pytest.approx(np.pi / 4)
    assert query["image_id"] == b"images/test/queries/@1@2@@@@@@@45@.jpg"
    assert metadata(tmp_path)["pose_source"] == "UTM in the file names"


UNTIMED = (
    "images are in the order of {}, not of time, so sequence matching, intervals and stretches"
)


def utm_name(east: float, time: str) -> str:
    return f"@{east}@5@30@U@@@@@@@@@{time}@@.png"


@pytest.mark.parametrize(
    "times",
    [
        ("20190110_114631", "20190110_114621", "20190110_114626"),
        ("1547120791", "1547120781", "1547120786"),
        ("1547120791000", "1547120781000", "1547120786000"),
        ("1547120791000000", "1547120781000000", "1547120786000000"),
    ],
)
def test_utm_times_order_a_split(tmp_path, capsys, times):
    write(tmp_path / "raw/train", *(utm_name(i, time) for i, time in enumerate(times)))
    others = utm_name(10, times[0]), utm_name(9, ""), utm_name(8, times[2])
    write(tmp_path / "raw/test", *others, first=3)  # of other images than train's
    assert build(tmp_path, "utm") == 0
    found = built(tmp_path, "train")
    assert [r["position"][0] for r in found] == [1, 2, 0]
    assert np.diff([r["timestamp"] for r in found]).tolist() == [5_000_000, 5_000_000]
    assert found[0]["timestamp"] == 1_547_120_781_000_000
    # One image without a time: the order of the file names, and a warning for this split alone.
    found = built(tmp_path, "test")
    assert [r["position"][0] for r in found] == [10, 8, 9]
    assert [r["timestamp"] for r in found] == [0, 1, 2]
    (warning,) = metadata(tmp_path)["warnings"]
    assert warning.startswith("test: " + UNTIMED.format("their file names"))
    assert f"warning: {warning}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "time", ["2019", "20190110", "20191310_114631", "99990110_114631", "154712079"]
)
def test_utm_days_and_other_numbers_are_no_times(tmp_path, time):
    write(tmp_path / "raw/train", utm_name(7, time), utm_name(80, time))
    assert build(tmp_path, "utm") == 0
    assert [r["timestamp"] for r in built(tmp_path, "train")] == [0, 1]
    assert UNTIMED.format("their file names") in metadata(tmp_path)["warnings"][0]


def test_every_bad_utm_name_is_named(tmp_path, capsys):
    write(tmp_path / "raw", "plain.png", "@a@2@.png", "@1@nan@.png", "@1@2@.png")
    assert build(tmp_path, "utm") == 2
    text = capsys.readouterr().err
    assert all(f"/{name}: the name is not @<utm east>" in text for name in
               ("plain.png", "@a@2@.png", "@1@nan@.png"))  # fmt: skip
    assert "/@1@2@.png:" not in text and not (tmp_path / "out").exists()


def test_aligned_folders(tmp_path):
    # Not zero-padded: 10 comes after 2 as a number, before it as text.
    write(tmp_path / "raw", *(f"summer/images-{n}.png" for n in (10, 2, 7)))
    write(tmp_path / "raw", *(f"winter/2019 Image{n:03d}.jpg" for n in (2, 10)))
    assert build(tmp_path, "aligned") == 0
    summer, winter = built(tmp_path, "summer"), built(tmp_path, "winter")
    assert [r["position"].tolist() for r in summer] == [[2, 0], [7, 0], [10, 0]]
    assert [r["timestamp"] for r in summer] == [2, 7, 10]
    assert [r["position"][0] for r in winter] == [2, 10]
    np.testing.assert_array_equal(decoded(summer[0]), image(1))
    assert metadata(tmp_path)["position_unit"] == "frames"
    assert metadata(tmp_path)["warnings"] == []


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("aligned", ("a/b/1.png", "a_b/2.png")),
        ("utm", ("images/a/b/@1@2@.png", "images/a_b/@3@4@.png")),
    ],
)
def test_two_folders_never_become_one_split(tmp_path, capsys, layout, files):
    write(tmp_path / "raw", *files)
    assert build(tmp_path, layout) == 2
    assert "folders a/b and a_b would both be split 'a_b'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layout", "file"),
    [("aligned", "all/1.png"), ("utm", "images/all/@1@2@.png"), ("aligned", "\u590f/1.png")],
)
@pytest.mark.parametrize("verb", ["build", "validate"])
def test_a_folder_that_cannot_name_a_split(tmp_path, capsys, verb, layout, file):
    write(tmp_path / "raw", file)
    option = f'--config={{"name": "mine", "layout": "{layout}"}}'
    assert command(verb, "places_csv", tmp_path / "raw", tmp_path / "out", option) == 2
    split = "all" if "all" in file else "_"
    said = f"{tmp_path}/raw: {split!r} cannot name a split; rename it: letters, digits and _, not"
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_aligned_needs_one_number_an_image(tmp_path, capsys):
    write(tmp_path / "raw/summer", "a1.png", "b01.png", "none.png")
    assert build(tmp_path, "aligned") == 2
    text = capsys.readouterr().err
    assert "b01.png: " in text and "a1.png has the same frame number" in text
    assert "none.png: the name holds no frame number" in text


def write_dbstruct(path, database, utm_database, queries, utm_queries, names=True):
    cells = [np.array([[name] for name in part], dtype=object) for part in (database, queries)]
    fields = {
        "whichSet": "val", "dbImageFns": cells[0], "utmDb": np.array(utm_database, float).T,
        "qImageFns": cells[1], "utmQ": np.array(utm_queries, float).T,
        "numImages": len(database), "numQueries": len(queries), "posDistThr": 25,
        "posDistSqThr": 625, "nonTrivPosDistSqThr": 100,
    }  # fmt: skip
    scipy.io.savemat(path, {"dbStruct": fields})


def test_dbstruct(tmp_path):
    # Pittsburgh repeats database names among the queries, in another folder.
    write(tmp_path / "raw", "000/a.jpg", "000/b.png", "queries_real/000/a.jpg")
    write_dbstruct(
        tmp_path / "raw/pitts30k_val.mat", ["000/a.jpg", "000/b.jpg"], [[1, 2], [3, 4.5]],
        ["000/a.jpg"], [[5, 6]],
    )  # fmt: skip
    assert build(tmp_path, "dbstruct") == 0
    database = built(tmp_path, "pitts30k_val_database")
    assert [r["position"].tolist() for r in database] == [[1, 2], [3, 4.5]]
    (warning,) = metadata(tmp_path)["warnings"]
    told = "pitts30k_val_database, pitts30k_val_queries: " + UNTIMED.format("the table's list")
    assert warning.startswith(told)
    (query,) = built(tmp_path, "pitts30k_val_queries")
    assert query["position"].tolist() == [5, 6]
    assert query["image"] == (tmp_path / "raw/queries_real/000/a.jpg").read_bytes()
    assert database[0]["image"] == (tmp_path / "raw/000/a.jpg").read_bytes()


@pytest.mark.parametrize(
    ("kind", "here", "which"),
    [("database", "queries_real/000/a.jpg", "without"), ("queries", "000/a.jpg", "with")],
)
def test_dbstruct_never_takes_an_image_of_the_other_kind(tmp_path, capsys, kind, here, which):
    write(tmp_path / "raw", here, "queries_real/000/q.jpg", "000/d.jpg")
    lists = {"database": ["000/d.jpg"], "queries": ["000/q.jpg"]}
    lists[kind].append("000/a.jpg")
    utm = {name: [[1, 2]] * len(names) for name, names in lists.items()}
    table = tmp_path / "raw/pitts.mat"
    write_dbstruct(table, lists["database"], utm["database"], lists["queries"], utm["queries"])
    assert build(tmp_path, "dbstruct") == 2
    raw = tmp_path / "raw"
    said = f"image '000/a.jpg' ({kind}) is in no folder of {raw} {which} 'quer' in its name; put it"
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_dbstruct_tables_of_two_data_sets_lie_in_one_folder(tmp_path):
    """Tokyo 24/7 has its queries apart, its training set has all images in one folder."""
    write(tmp_path / "raw", "247/a.jpg", "query/b.jpg", "tm/c.jpg", "tm/d.jpg")
    for table, database, queries in (("tokyo247", "a", "b"), ("tokyotm", "c", "d")):
        path = tmp_path / "raw" / f"{table}.mat"
        write_dbstruct(path, [f"{database}.jpg"], [[1, 2]], [f"{queries}.jpg"], [[5, 6]])
    assert build(tmp_path, "dbstruct") == 0


def test_dbstruct_takes_no_image_twice(tmp_path, capsys):
    """The queries, whose names repeat the database's, were not downloaded."""
    write(tmp_path / "raw", "000/a.jpg")
    write_dbstruct(tmp_path / "raw/p.mat", ["000/a.jpg"], [[1, 2]], ["000/a.jpg"], [[5, 6]])
    assert build(tmp_path, "dbstruct") == 2
    said = "image '000/a.jpg' (queries) is in no folder of"
    assert said in (err := capsys.readouterr().err) and "but as a database image" in err


def test_dbstruct_names_may_hold_their_folder(tmp_path):
    write(tmp_path / "raw", "database/a.jpg", "queries/a.jpg")
    table = tmp_path / "raw/t.mat"
    write_dbstruct(table, ["database/a.jpg"], [[1, 2]], ["queries/a.jpg"], [[5, 6]])
    assert build(tmp_path, "dbstruct") == 0
    for kind in ("database", "queries"):
        (record,) = built(tmp_path, f"t_{kind}")
        assert record["image"] == (tmp_path / f"raw/{kind}/a.jpg").read_bytes()


def test_dbstruct_faults(tmp_path, capsys):
    write(tmp_path / "raw", "a.jpg")
    assert build(tmp_path, "dbstruct") == 2
    assert "holds no .mat file" in capsys.readouterr().err
    table = tmp_path / "raw/t.mat"
    table.write_bytes(b"hello")
    assert build(tmp_path, "dbstruct") == 2
    assert "t.mat holds no readable dbStruct" in capsys.readouterr().err
    write_dbstruct(table, ["a.jpg", "none.jpg"], [[1, 2], [3, 4]], ["gone.jpg"], [[1, 1]])
    assert build(tmp_path, "dbstruct") == 2
    text = capsys.readouterr().err
    assert "image 'none.jpg' (database) is in no" in text and "image 'gone.jpg' (queries)" in text
    write_dbstruct(table, ["a.jpg"], [[1, 2], [3, 4], [5, 6]], ["a.jpg"], [[1, 1]])
    assert build(tmp_path, "dbstruct") == 2
    assert "1 images but UTM is (2, 3)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_layout_and_no_images(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.txt").write_text("x")
    assert build(tmp_path, "railway") == 2
    assert "'layout' is 'railway'; known: csv, utm, aligned, dbstruct" in capsys.readouterr().err
    assert build(tmp_path, "aligned") == 2
    assert "holds no images" in capsys.readouterr().err
