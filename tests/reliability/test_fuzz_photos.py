"""Photos, tables of latitudes and tracks that others wrote, damaged: read, or refused in a sentence."""

import numpy as np
import pytest
from PIL.ExifTags import GPS
from PIL.TiffImagePlugin import IFDRational

from tests.helpers.raw_photos import place, taken, write_photo
from tests.helpers.raw_places import write_raw
from tests.reliability import fuzzing
from tfds_builders import tracks
from tfds_builders.errors import RawDataError
from tfds_builders.frame import check_frames
from tfds_builders.places_csv.layouts import photos, table
from tfds_builders.places_csv.layouts.variant import Told

CSV = b"time,lat,lon\n" + b"".join(b"%d.5,50.00%d,5.1\n" % (i, i) for i in range(9))
GPX = b"<?xml version='1.0'?><gpx version='1.1'><trk><trkseg>%s</trkseg></trk></gpx>" % b"".join(
    b'<trkpt lat="50.%d" lon="5"><ele>1</ele><time>2024-02-29T11:00:0%dZ</time></trkpt>' % (i, i)
    for i in range(9)
)


@pytest.fixture(scope="module")
def outcomes():
    found = {}

    def of(name):
        return found.setdefault(name, fuzzing.Outcomes(name, RawDataError))

    yield of
    for counted in found.values():
        counted.tell()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_photos(outcomes, tmp_path, suffix):
    heading = {GPS.GPSImgDirectionRef: "T", GPS.GPSImgDirection: IFDRational(270, 1)}
    height = {GPS.GPSAltitudeRef: b"\0", GPS.GPSAltitude: IFDRational(25, 2)}
    clock = {GPS.GPSDateStamp: "2024:02:29", GPS.GPSTimeStamp: (IFDRational(11, 1),) * 3}
    gps = place(50, 5) | heading | height | clock
    path = tmp_path / f"a{suffix}"
    write_photo(path, gps, taken("2024:02:29 12:00:00", "25", "+01:00"))
    valid = path.read_bytes()

    @fuzzing.fuzz(raw=fuzzing.files([valid]))
    def check(raw):
        path.write_bytes(raw)
        told = Told()
        splits = outcomes(f"EXIF data of {suffix}").of(lambda: photos.read_any(tmp_path, told))
        for frames in (splits or {}).values():
            check_frames(frames, unlocated=True)
            assert all(not frame.located or np.isfinite(frame.position).all() for frame in frames)
            assert np.isfinite([*told.altitudes.values()]).all()

    check()


def test_latitudes(outcomes, tmp_path):
    raw_folder = write_raw(tmp_path / "raw", ["train"])
    rows = ["sequence,image,lat,lon", "train,train/000.png,51.75,-1.25", "train,train/001.png,,"]
    path = raw_folder / "places.csv"

    @fuzzing.fuzz(raw=fuzzing.files(["\n".join(rows).encode()]))
    def check(raw):
        path.write_bytes(raw)
        splits = outcomes("places.csv of degrees").of(lambda: table.read_table(path, Told()))
        for frames in (splits or {}).values():
            check_frames(frames, unlocated=True)

    check()


@pytest.mark.parametrize(("name", "valid"), [("a.csv", CSV), ("a.gpx", GPX)])
def test_tracks(outcomes, tmp_path, name, valid):
    if name == "a.gpx":
        pytest.importorskip("gpxpy")

    @fuzzing.fuzz(raw=fuzzing.files([valid]))
    def check(raw):
        (tmp_path / name).write_bytes(raw)
        track = outcomes(f"track {name}").of(lambda: tracks.read_track(tmp_path / name, []))
        if track is not None:
            assert (np.diff(track.times) > 0).all() and np.isfinite(track.columns[[0, 1, 3]]).all()

    check()
