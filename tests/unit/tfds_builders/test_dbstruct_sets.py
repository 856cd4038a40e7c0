"""Tokyo 24/7, TokyoTM and Pittsburgh: names, queries of each protocol, fields by place."""

import json
import types

import numpy as np
import pyproj
import pytest
import scipy.io

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write, write_dbstruct
from tfds_builders.places_csv.layouts import dbstruct, tokyo247

DATABASE = [f"03814/381462.{n}/jZ1rKPbiOXjrpuZMMqcLyg_012_{30 * n}.jpg" for n in range(3)]
UTM = [[381462.5 + 10 * n, 3946412.25] for n in range(3)]


def write_tokyo(raw, counts=(3, 6)) -> None:
    """Crops are .png where the table says .jpg; queries have a CSV file each, made up in its form."""
    write(raw, *(name.replace(".jpg", ".png") for name in DATABASE))
    write_dbstruct(raw / "tokyo247.mat", DATABASE, UTM, ["00001.jpg"], [[1, 2]])
    for queries, count in zip(tokyo247.QUERIES.values(), counts, strict=True):
        write(
            raw / queries.folder, *(f"{n:05d}.jpg" for n in range(1, count + 1)), first=10 * count
        )
        for n in range(1, count + 1):
            line = f"{n:05d}.jpg,{35.65 + n / 1000!r},{139.69 + n / 1000!r},,,iPhone5s,back\n"
            (raw / queries.folder / f"{n:05d}.csv").write_text(line)


def run(tmp_path, verb, protocol) -> int:
    option = json.dumps({"name": "mine", "layout": "tokyo247", "protocol": protocol})
    return command(verb, "places_csv", tmp_path / "raw", tmp_path / "out", f"--config={option}")


@pytest.mark.parametrize(("protocol", "count"), [("tokyo247_315", 3), ("tokyo247_1125", 6)])
def test_tokyo247(tmp_path, monkeypatch, protocol, count):
    write_tokyo(tmp_path / "raw")
    small = tokyo247.QUERIES[protocol]._replace(count=count)
    monkeypatch.setitem(tokyo247.QUERIES, protocol, small)
    assert run(tmp_path, "build", protocol) == 0
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    database, queries = (records(folder, split) for split in ("database", "queries"))
    np.testing.assert_array_equal([r["position"] for r in database], UTM)
    assert len(queries) == count
    onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32654", always_xy=True)
    for n, record in enumerate(queries, 1):
        place = onto.transform(139.69 + n / 1000, 35.65 + n / 1000)
        np.testing.assert_allclose(record["position"], place, atol=0.01)
        assert record["label"].decode() == ("night", "day", "sunset")[n % 3]
    told = metadata(tmp_path, builder="places_csv")
    assert told["crs"] == "EPSG:32654" and told["protocol"]["name"] == protocol


def test_tokyo247_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_tokyo(raw)
    assert run(tmp_path, "validate", "tokyo247_315") == 0
    said = capsys.readouterr().err
    assert "247query_subset_v2: 3 queries, where tokyo247_315 counts 315" in said
    csv = raw / "247query_subset_v2/00002.csv"
    csv.write_text("00002.jpg,139.69,35.65\n")
    assert run(tmp_path, "validate", "tokyo247_315") == 2
    assert "00002.csv:1: latitude is '139.69'" in capsys.readouterr().err
    csv.unlink()
    assert run(tmp_path, "validate", "tokyo247_315") == 2
    assert "1 queries have no .csv beside them: 00002.jpg" in capsys.readouterr().err
    (raw / "247query_v3").rename(raw / "elsewhere")
    assert run(tmp_path, "validate", "tokyo247_1125") == 2
    assert "tokyo247_1125 needs 247query_v3.zip, unpacked there" in capsys.readouterr().err


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_fields_of_tokyotm_and_pittsburgh(tmp_path, monkeypatch, stamped, named):
    """TokyoTM has time stamps after the positions of either side, so places shift."""
    cells = [np.array([[name] for name in part], object) for part in (["a", "b"], ["c"])]
    stamps = [np.array([[2009.1], [2011.2]]), np.array([[2010.3]])]
    fields = {"whichSet": "val", "dbImageFns": cells[0], "utmDb": np.array([[1.0, 3], [2, 4]])}
    fields |= {"dbTimeStamp": stamps[0]} if stamped else {}
    fields |= {"qImageFns": cells[1], "utmQ": np.array([[5.0], [6]])}
    fields |= {"qTimeStamp": stamps[1]} if stamped else {}
    fields |= {"numImages": 2, "numQueries": 1, "posDistThr": 25.0}
    scipy.io.savemat(tmp_path / "t.mat", {"dbStruct": fields})
    if not named:  # as MATLAB's tables come from readers that keep no names
        struct = scipy.io.loadmat(tmp_path / "t.mat")["dbStruct"].ravel()[0]
        plain = np.empty(1, object)
        plain[0] = type("Plain", (list,), {"dtype": types.SimpleNamespace(names=None)})(struct)
        monkeypatch.setattr(scipy.io, "loadmat", lambda *_, **__: {"dbStruct": plain})
    lists, places, radius = dbstruct._load_dbstruct(tmp_path / "t.mat")
    assert lists == [["a", "b"], ["c"]] and radius == (25.0 if named else None)
    np.testing.assert_array_equal(places[0], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(places[1], [[5], [6]])


def test_another_radius_in_the_table_is_told(tmp_path, capsys):
    raw = tmp_path / "raw"
    write(raw, "000/a.jpg", "queries_real/000/b.jpg")
    fields = ["000/a.jpg"], [[1, 2]], ["000/b.jpg"], [[5, 600]]
    write_dbstruct(raw / "p.mat", *fields)
    option = '--config={"name": "mine", "layout": "dbstruct"}'
    assert command("validate", "places_csv", raw, tmp_path / "out", option) == 0
    assert "posDistThr" not in capsys.readouterr().err
    held = scipy.io.loadmat(raw / "p.mat")["dbStruct"]
    held["posDistThr"][0, 0] = 10
    scipy.io.savemat(raw / "p.mat", {"dbStruct": held})
    assert command("validate", "places_csv", raw, tmp_path / "out", option) == 0
    assert "p.mat: its posDistThr is 10 m, where figures on these sets count 25 m" in (
        capsys.readouterr().err
    )
