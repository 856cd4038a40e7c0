"""A places.csv by other habits: each is named with what to write, and equal problems become one."""

import gzip
import time
import unicodedata

import cv2
import pytest

from tests.helpers.raw_places import command, image, write_raw
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts.table import read_table
from tfds_builders.places_csv.layouts.variant import Told

HEAD = "sequence,image,x,y\n"
DEGREES = "sequence,image,lat,lon\n"
ROW = "train,train/000.png,1,1"


def said(tmp_path, capsys, text) -> str:
    """What `validate` prints on a table of this text beside the images of `write_raw`."""
    raw = write_raw(tmp_path / "raw", ["train"])
    (raw / "places.csv").write_text(text)
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("sequence;image;x;y\ntrain;train/000.png;1,5;2\n", ":1: semicolons part the columns; write"),
        ("sequence\timage\tx\ty\n", ":1: tabs part the columns; write commas"),
        ("sequence|image|x|y\n", ":1: bars part the columns; write commas"),
        ("sequence image x y\n", ":1: spaces part the columns; write commas"),
        ('"sequence";"image";"x";"y"\n', ":1: semicolons part the columns; write commas"),
        ("sep=;\nsequence;image;x;y\n", ":1: the line is a spreadsheet's mark of its separator"),
        ("x" * 140_000, ":1: broken CSV (field larger than field limit"),
        (ROW + "\n", ":1: the line is a row, no header; put one above: the header is sequence,"),
        ("sequence,image,Lat,lon\n", ":1: unknown column 'Lat'; write 'lat'"),
        ("sequence,image,lat\n", ":1: no column lon; the header is sequence,image,x,y (or lat,lon)"),
        ("sequence,image,x,y,lat,lon\n", ":1: positions are in columns of metres and of degrees (x, y,"),
        ("sequence,image,x,longitude\n", "of degrees (x, lon); keep x,y or lat,lon"),
        (DEGREES + "train,train/000.png,97.5,51.5", ":2: lat is 97.5, beyond 90 degrees; are lat and lon"),
        (DEGREES + "train,train/000.png,-84.5,1", ":2: lat is -84.5; give a finite number in degrees up"),
        (DEGREES + "train,train/000.png,5,181", ":2: lon is 181; give a finite number in degrees up"),
        (DEGREES + "train,train/000.png,5,", ":2: lon is empty; give a number in degrees, or leave lat"),
        (DEGREES + 'train,train/000.png,"51,5",1', ":2: lat is '51,5'; write 51.5, with a decimal point"),
        ("sequence,image,x,y,alt\n", ":1: unknown column 'alt'; the header is sequence,image,x,y (or"),
        (DEGREES + "train,train/000.png,5,n/a", "or leave lat and lon empty where it is unknown"),
        (DEGREES + "train,train/000.png,nan,1", ":2: lat is nan; give a finite number in degrees up to 84"),
        ("sequence,image,lat,lon,crs\n", ":1: unknown column 'crs'; the header is sequence,image,x,y (or"),
        ("Sequence,image,x,y\n", ":1: unknown column 'Sequence'; write 'sequence'"),
        ("sequence,filename,x,y\n", ":1: unknown column 'filename'; write 'image'"),
        ("sequence,image,easting,y\n", ":1: unknown column 'easting'; write 'x'"),
        ("sequence,image,x,y,timestamp\n", ":1: unknown column 'timestamp'; write 'time', in seconds"),
        ("sequence,image,x,y,yaw\n", ":1: unknown column 'yaw'; write 'heading', in radians"),
        (HEAD + r"train,train\000.png,1,1", r":2: image 'train\\000.png' does not exist in "),
        (HEAD + r"train,train\000.png,1,1", "; write 'train/000.png'"),
        (HEAD + "train,train/000.PNG,1,1", "; write 'train/000.png', as on the disk"),
        (HEAD + "train,Train/000.png,1,1", "; write 'train/000.png', as on the disk"),
        (HEAD + "train,train/000.jpg,1,1", "; write 'train/000.png', as on the disk"),
        (HEAD + "train,raw/train/000.png,1,1", "; write 'train/000.png'"),
        (HEAD + "train,/home/me/raw/train/000.png,1,1", "relative to it; write 'train/000.png'"),
        (HEAD + r"train,C:\me\raw\train\000.PNG,1,1", "; write 'train/000.png', as on the disk"),
        (HEAD + 'train,train/000.png,"1,5",1', ":2: x is '1,5'; write 1.5, with a decimal point"),
        (HEAD + 'train,train/000.png,"620,021",1', "x is '620,021'; write 620021 or 620.021, whichever"),
        (HEAD + 'train,train/000.png,"5,735,011.9",1', "write 5735011.9, without separators between"),
        (HEAD + "train,train/000.png,\N{MINUS SIGN}1.5,1", "; write -1.5, with the hyphen as minus sign"),
        (HEAD + "train,train/000.png,N/A,1", "in metres, or leave x and y empty where it is unknown"),
        (DEGREES + 'train,train/000.png,51°44\'05.5"N,1', "; write decimal degrees, 51.7348611"),
        (DEGREES + "train,train/000.png,51.75,1° 15' W", "; write decimal degrees, -1.2500000"),
        (DEGREES + "train,train/000.png,33.5S,1", "; write decimal degrees, -33.5000000"),
        (HEAD + "train,train/000.png,1,5.73501e+06", ":2: y is 5.73501e+06, rounded to 10 metres; write"),
        ("sequence,image,x,y,time\n" + ROW + ",1.5E+09", "time is 1.5E+09, rounded to 100,000,000 seconds"),
        ("# a drive, 2024\n\n" + HEAD + ROW, ":3: the header stands on this line; remove those above"),
        (HEAD + ROW + "\n" + HEAD, ":3: the header stands here again; remove the line"),
        (HEAD + ROW + "\nTrain,train/001.png,1,1", ":3: sequences 'train' and 'Train' differ in letter"),
        ("sequence,image,x,y,utm_zone\n", "column 'utm_zone'; project the positions of all zones into one"),
        ("sequence,image,x,y,time\n" + ROW + ",1547120789640", "time is 1547120789640; it looks like mil"),
        ("sequence,image,x,y,time\n" + ROW + ",1547120789640420", "microseconds: divide the column by 1,"),
        ("sequence,image,x,y,time\n" + ROW + ",1547120789640420123", "like nanoseconds: divide the col"),
    ],
)  # fmt: skip
def test_what_to_write_is_named(tmp_path, capsys, text, remedy):
    told = said(tmp_path, capsys, text)
    assert remedy in told and f"error: {tmp_path}/raw/places.csv:" in told
    assert told.count("\n") == 1, "one sentence names it"


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (
            b"PK\x03\x04\xff",
            "is a spreadsheet or a zip archive, no text; write it out as CSV in UTF-8",
        ),
        (
            gzip.compress(b"x" * 99, mtime=0),
            "is compressed by gzip, no text; write it out as CSV in UTF-8",
        ),
        (HEAD.encode("utf-16"), "is not UTF-8 text (byte 0); save it as UTF-8"),
    ],
)
def test_files_that_are_no_text(tmp_path, capsys, data, remedy):
    raw = write_raw(tmp_path / "raw", ["train"])
    (raw / "places.csv").write_bytes(data)
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    assert f"places.csv {remedy}" in capsys.readouterr().err


def test_a_table_of_another_name_is_named(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"])
    (raw / "places.csv").rename(raw / "Places.CSV")
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    assert "places.csv does not exist; rename Places.CSV, or write it" in capsys.readouterr().err
    (raw / "Places.CSV").rename(raw / "places.csv")
    assert command("validate", "places_csv", tmp_path, tmp_path / "out") == 2
    assert f"does not exist; give --manual_dir={raw}, or write it" in capsys.readouterr().err


def test_lines_may_end_in_carriage_returns_alone(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"])
    text = (raw / "places.csv").read_text()
    (raw / "places.csv").write_bytes(text.replace("\n", "\r").encode())
    assert command("validate", "places_csv", raw, tmp_path / "out") == 0


def test_a_position_of_nan_is_unknown(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"])
    with (raw / "places.csv").open("a") as f:
        f.write("night,train/000.png,nan,NaN\n")
    assert command("validate", "places_csv", raw, tmp_path / "out") == 0
    assert "night: 1 of 1 images have no position" in capsys.readouterr().err


def test_times_in_days_are_told(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train", "test01"], columns="time")
    lines = (raw / "places.csv").read_text().splitlines()
    days = [
        f"{line.rpartition(',')[0]},{43475.49 + i / 86400}"
        for i, line in enumerate(lines)
        if "train" in line
    ]
    rest = [line for line in lines if "train" not in line]
    (raw / "places.csv").write_text("\n".join([*rest, *days]))
    assert command("validate", "places_csv", raw, tmp_path / "out") == 0
    told = capsys.readouterr().err
    assert "train: images are 1.15e-05 s apart: these times look like days or hours" in told
    assert "test01: images are" not in told


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_another_unicode_form(tmp_path, capsys, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    raw = write_raw(tmp_path / "raw", ["train"])
    name = unicodedata.normalize(form, "caf\u00e9.png")
    cv2.imwrite(str(raw / "train" / name), image(0))
    wrote = unicodedata.normalize(other, f"train/{name}")
    (raw / "places.csv").write_text(f"{HEAD}train,{wrote},1,1")
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    remedy = f"write 'train/{name}' in the Unicode form of the file's name, {form}"
    assert remedy in capsys.readouterr().err


def test_an_image_elsewhere_of_the_same_name_is_no_remedy(tmp_path, capsys):
    told = said(tmp_path, capsys, HEAD + "train,monday/000.png,1,1")
    assert "fix the path or remove the row" in told


def test_five_thousand_equal_problems_are_one(tmp_path, capsys):
    rows = (f"train,gone/{i}.png,{i}.5,inf" for i in range(5000))
    lines = said(tmp_path, capsys, HEAD + "\n".join([*rows, ",train/000.png,1,1"])).splitlines()
    assert len(lines) == 13
    assert lines[0] == "error: 5,000 problems of one kind; the first 5:"
    assert [line.split(":")[1] for line in lines[1:6]] == ["2", "3", "4", "5", "6"]
    assert lines[6] == "5,000 problems of one kind; the first 5:" and "y is inf" in lines[7]
    assert "places.csv:5002: sequence is empty" in lines[12]


@pytest.mark.parametrize(
    "problem", ["/r w/a{}.png is empty; replace it", "{}.jpg is a truncated PNG ({} bytes)", "F:{}: x"]
)  # fmt: skip
def test_problems_of_one_kind(problem):
    alike = [problem.replace("{}", str(i)) for i in range(7)]
    error = RawDataError(*alike)
    assert error.problems == alike
    assert str(error).splitlines() == ["7 problems of one kind; the first 5:", *alike[:5]]
    assert str(RawDataError(*alike[:5])) == "\n".join(alike[:5])


def test_a_name_of_a_hundred_thousand_letters_is_told_at_once():
    start = time.process_time()
    RawDataError("a" * 100_000 + " has no pose", "'" * 100_000, "a/" * 50_000)
    assert time.process_time() - start < 2


TIMED = "sequence,image,x,y,time\n"


def frames_of(tmp_path, *times, told=None):
    """The frames of a table whose images 000.png, 001.png, ... have these times."""
    raw = write_raw(tmp_path / "raw", ["train"])
    rows = [f"train,train/{i:03d}.png,{i},0,{time}\n" for i, time in enumerate(times)]
    (raw / "places.csv").write_text(TIMED + "".join(rows))
    return read_table(raw / "places.csv", told or Told())["train"]


def test_dates_order_a_sequence_across_offsets(tmp_path):
    frames = frames_of(tmp_path, "2024-02-29T12:00:00.25+01:00", "2024-02-29 10:59:59Z")
    assert [frame.image_id for frame in frames] == ["train/train/001.png", "train/train/000.png"]
    assert [frame.timestamp for frame in frames] == [1709204399_000000, 1709204400_250000]


def test_a_week_date_is_a_date(tmp_path):
    (frame,) = frames_of(tmp_path, "2024-W05-3T11:00:00Z")
    assert frame.timestamp == 1706698800_000000


def test_a_date_without_an_offset_is_utc(tmp_path):
    told = Told()
    frames = frames_of(tmp_path, "2024-02-29T11:00:00.250001", "2024-02-29t11:00:01", told=told)
    assert [words[:61] for words in told.warnings] == [
        "places.csv: 2 of 2 times have no Z and no offset from UTC, so"
    ]
    assert [frame.timestamp for frame in frames] == [1709204400_250001, 1709204401_000000]


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (
            ("2024-02-29T11:00:00Z", "2024-02-29T11:00:01"),
            ":3: time is a date without an offset from UTC, where that of line 2 is a date with an offset",
        ),
        (
            ("5.0", "2024-02-29T11:00:01"),
            ":3: time is a date without an offset from UTC, where that of line 2 is a number; write all",
        ),
        (
            ("2024-13-29T11:00:00Z",),
            ":2: time '2024-13-29T11:00:00Z' is no date (month must be in 1..12",
        ),
        (
            ("2024-02-29T11:00.5Z",),
            ":2: time '2024-02-29T11:00.5Z' has a fraction of an hour or a minute: write its seconds; give",
        ),
        (
            ("2016-12-31T23:59:60Z",),
            ":2: time '2016-12-31T23:59:60Z' is a leap second, which seconds since 1970 do not count",
        ),
        (
            ("2024-02-29 24:00",),
            ":2: time '2024-02-29 24:00' is of hour 24: write hour 00 of the next day; give a number",
        ),
        (("2024:02:29 11:00:00",), "give a number in seconds or a date as 2024-02-29T12:00:00Z"),
        (
            ("2024-02-29",),
            ":2: time '2024-02-29' has no time of day; give a number in seconds or a date as 2024-02-29T12",
        ),
        (("2024-W05-3",), ":2: time '2024-W05-3' has no time of day; give a number in seconds or"),
        (
            ("2024-W54-3T11:00Z",),
            ":2: time '2024-W54-3T11:00Z' is no date (",
        ),
        (
            ("9999-02-28T11:00:00",),
            ":2: time is '9999-02-28T11:00:00'; give a number in seconds or a date",
        ),
    ],
)
def test_dates_that_cannot_be_compared(tmp_path, times, says):
    with pytest.raises(RawDataError) as raised:
        frames_of(tmp_path, *times)
    assert says in str(raised.value)


def test_long_numbers_with_an_exponent_are_read(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"], count=1)
    (raw / "places.csv").write_text(HEAD + "train,train/000.png,6.2002133e+05,1.5e1\n")
    assert command("validate", "places_csv", raw, tmp_path / "out") == 0
