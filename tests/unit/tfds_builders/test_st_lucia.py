"""St Lucia through the command line: the south, frames 5 m apart, lines and frames of other counts."""

import numpy as np
import pyproj

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write

OPTION = '--config={"name": "mine", "layout": "st_lucia"}'
STEPS = (0.0, 1.5, 3.0, 4.5, 5.2, 6.0, 10.3, 10.4, 16.0)  # metres along the road
KEPT = [0, 4, 6, 8]
START = (-27.5389, 152.9942)


def along(metres: float) -> tuple[float, float]:
    """Longitude and latitude of a point east of the start, by an ellipsoid and no projection."""
    lat, lon = START
    return pyproj.Geod(ellps="WGS84").fwd(lon, lat, 90, metres)[:2]


def write_recording(raw, name, lines=STEPS, minus="", first=0) -> None:
    """Frames as ffmpeg numbers them, from 1; the table's latitudes lack their minus."""
    write(raw / name, *(f"{n:05d}.jpg" for n in range(1, len(STEPS) + 1)), first=first)
    places = [along(metres) for metres in lines]
    (raw / name / "fGPS.txt").write_text(
        "".join(f"{minus}{-lat!r},{lon!r}\n" for lon, lat in places)
    )


def test_frames_lie_in_the_south_and_five_metres_apart(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_recording(raw, "190809_0845")
    write_recording(raw, "180809_1545", minus="-", first=50)
    assert command("build", "places_csv", raw, out, OPTION) == 0
    onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32756", always_xy=True)
    for split in ("190809_0845", "180809_1545"):
        found = records(out / "places_csv/mine/1.0.0", split)
        names = [record["image_id"].decode() for record in found]
        assert names == [f"{split}/{n + 1:05d}.jpg" for n in KEPT]
        expected = [onto.transform(*along(STEPS[n])) for n in KEPT]
        np.testing.assert_allclose([r["position"] for r in found], expected, atol=0.01)
        assert (np.array(expected)[:, 1] > 6.9e6).all()  # 27 degrees north would be 3.0e6
    told = metadata(tmp_path, builder="places_csv")
    assert told["crs"] == "EPSG:32756" and told["protocol"]["name"] == "st_lucia_25m"
    dropped = told["counts"]["190809_0845"]["dropped"]
    assert dropped == {"less than 5 m from the last frame": len(STEPS) - len(KEPT)}


def test_other_counts_of_frames_and_lines_are_told(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_recording(raw, "190809_0845", lines=STEPS[:7])
    assert command("validate", "places_csv", raw, tmp_path / "out", OPTION) == 0
    said = capsys.readouterr()
    assert "190809_0845: 9 frames and 7 lines of fGPS.txt: the first 7 of each" in said.err
    assert "190809_0845 3" in said.out


def test_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_recording(raw, "a")
    table = raw / "a/fGPS.txt"
    swapped = [",".join(reversed(line.split(","))) for line in table.read_text().splitlines()]
    table.write_text("\n".join(swapped))
    for said, following in (
        ("fGPS.txt:1: latitude is '152.9942'", "37.5,152.9"),
        ("fGPS.txt:1: latitude 37.5 is not St Lucia's, 27 to 28 degrees south", "nothing"),
        ("fGPS.txt:1: 'nothing' is no latitude,longitude", ""),
        ("fGPS.txt is empty", ""),
    ):
        assert command("validate", "places_csv", raw, tmp_path / "out", OPTION) == 2
        assert said in capsys.readouterr().err
        table.write_text(following)
    table.write_text("27.5,152.9")
    for path in (raw / "a").glob("*.jpg"):
        path.unlink()
    assert command("validate", "places_csv", raw, tmp_path / "out", OPTION) == 2
    assert "holds no frames of webcam_video.avi; write them there" in capsys.readouterr().err
