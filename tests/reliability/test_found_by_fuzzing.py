"""What fuzzing found, kept: each input once ended in a traceback, a crash or a silent wrong value."""

import io
import pathlib
import pickletools
import re
import time
import zipfile

import cv2
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

from tests.helpers import raw_places, raw_robotcar
from tfds_builders import archives, discover
from tfds_builders.archives import Source
from tfds_builders.cold import sequence
from tfds_builders.errors import RawDataError
from tfds_builders.robotcar import camera, poses, traversal
from vprjax.errors import WeightsError
from vprjax.weights import pretrained

TIMES = raw_robotcar.pose_times(raw_robotcar.START + 300_000)


@pytest.mark.parametrize("time", ["²", "9" * 5000, "1" + 17 * "0" + "1", "-5", "1_0", "٣"])
def test_timestamps(time):
    assert traversal.read_timestamps(b"17 1\n18 1\n", "t") == ([17, 18], 0)
    with pytest.raises(RawDataError, match=r"^t:2: .* is no '<time in microseconds> <chunk>'"):
        traversal.read_timestamps(f"17 1\n{time} 1\n".encode(), "t")


@pytest.mark.parametrize("kind", poses.READERS)
@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        (-1, "1" * 200_000, "broken CSV"),
        (0, "9" * 19, "not a number or too large"),
        (0, "9" * 5000, "not a number or too large"),
        ("x", "1e300", "not a number or too large"),
        ("x", "-inf", "not a number or too large"),
    ],
)
def test_pose_logs(kind, column, value, says):
    rows = {"ins": raw_robotcar.ins_rows, "gps": raw_robotcar.gps_rows}
    lines = rows.get(kind, raw_robotcar.odometry_rows)(TIMES).splitlines()
    header, fields = lines[0].split(","), lines[2].split(",")
    names = {"x": "x" if "x" in header else "northing", 0: "timestamp"}
    if kind == "radar_odometry":
        names[0] = "source_radar_timestamp"
    fields[header.index(names[column]) if column in names else column] = value
    lines[2] = ",".join(fields)
    with pytest.raises(RawDataError, match=f"^log:3: .*{says}"):
        poses.READERS[kind]("\n".join(lines).encode(), "log")


def test_a_pose_without_a_heading_is_no_good_pose():
    lines = raw_robotcar.ins_rows(TIMES).splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",nan"
    log = poses.read_ins("\n".join(lines).encode(), "log")
    assert log.good.tolist() == [i != 2 for i in range(len(TIMES))]


@pytest.mark.parametrize("value", [1e300, np.nan, -np.inf])
def test_distortion_tables(tmp_path, value):
    table = np.zeros(2 * 6 * 8)
    table[5] = value
    table.tofile(tmp_path / "lut.bin")
    with pytest.raises(RawDataError, match=r"lut\.bin holds values that are no pixel positions"):
        camera.read_lut(str(tmp_path / "lut.bin"), 6, 8)


@pytest.mark.parametrize("name", [f"t{10**11}.5_x0_y0_a0.jpeg", "t٣.5_x0_y0_a0.jpeg"])
def test_cold_names(name):
    source = Source(pathlib.Path("a"), name, 0, 0, "file", 0, "")
    with pytest.raises(RawDataError, match=r"is not named t<seconds>_x<m>_y<m>_a<rad>"):
        sequence.parse_image(name, source)


@pytest.mark.parametrize(
    ("layout", "name", "says"),
    [
        ("utm", b"@1e300@0@.png", "is not finite or beyond 1e\\+15"),
        ("aligned", b"7" * 30 + b".png", "is not finite or beyond 1e\\+15"),
        ("aligned", b"7" * 17 + b".png", "look like times, which no two drives share"),
        ("utm", b"@1@2@\xff.png", "control characters or bytes that are no UTF-8"),
        ("utm", b"@1@2@\x07.png", "control characters or bytes that are no UTF-8"),
        ("aligned", b"\xff7.png", r"\\udcff7.png.*control characters or bytes"),
    ],
)
def test_file_names(tmp_path, capsys, layout, name, says):
    (tmp_path / "raw/test").mkdir(parents=True)
    pixels = raw_places.image(0)
    (tmp_path / "raw/test" / name.decode("utf-8", "surrogateescape")).write_bytes(
        cv2.imencode(".png", pixels)[1].tobytes()
    )
    config = f'--config={{"name": "mine", "layout": "{layout}"}}'
    for verb in ("validate", "build"):
        out = tmp_path / "out"
        assert raw_places.command(verb, "places_csv", tmp_path / "raw", out, config) == 2
        assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("train/000.png", "x" * 300, "image 'x{40}'... cannot be looked up"),
        ("1000", "1e300", "time is 1e300; give a finite number in seconds up to 1e\\+11"),
        ("0.5", "1e300", "x is 1e300; give a finite number in metres up to 1e\\+15"),
        ("room0", "\0", r"label '\\x00' holds control characters"),
        ("train,train/000", "tr\x07,train/000", r"sequence 'tr\\x07' holds control characters"),
    ],
)
def test_places_csv(tmp_path, old, new, says):
    raw = raw_places.write_raw(tmp_path / "raw", ["train"], columns="heading,time,label")
    table = raw / "places.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    builder = discover.make("places_csv", None, tmp_path / "out")
    with pytest.raises(RawDataError, match=f"places.csv:2: {says}"):
        builder.checked_plan(raw)


def test_a_name_too_long_for_a_file_in_a_dbstruct(tmp_path):
    cells = np.array([["x" * 300]], object)
    fields = ("whichSet", "dbImageFns", "utmDb", "qImageFns", "utmQ")
    struct = dict(zip(fields, ("val", cells, np.ones((2, 1)), cells, np.ones((2, 1))), strict=True))
    scipy.io.savemat(tmp_path / "a.mat", {"dbStruct": struct})
    option = '{"name": "mine", "layout": "dbstruct"}'
    builder = discover.make("places_csv", option, tmp_path / "out")
    with pytest.raises(RawDataError, match=r"a\.mat: image 'x+' \(database\) is in no folder"):
        builder.checked_plan(tmp_path)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.full((3, 3, 3, 64), "a"), "not numbers"),
        (np.full((3, 3, 3, 64), 1j), "not numbers"),
        (np.full((3, 3, 3, 64), 1e300), "not finite"),
        (np.full((3, 3, 3, 64), np.nan), "not finite"),
    ],
)
def test_arrays_that_are_no_weights(tmp_path, array, says):
    np.savez(tmp_path / "a.npz", **{"block1_conv1/kernel": array})
    with pytest.raises(WeightsError, match=rf"{says} \(1\): block1_conv1/kernel"):
        pretrained.load(tmp_path / "a.npz", "vgg16", partial=True)


def test_a_signalling_nan_is_not_finite(tmp_path):
    kernel = np.zeros((64, 3, 3, 3), np.float32)
    kernel.view(np.uint32)[0, 0, 0, 0] = 0x7FA00000
    safetensors.numpy.save_file({"features.0.weight": kernel}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="not finite"):
        pretrained.load(tmp_path / "a.safetensors", "vgg16", partial=True)


@pytest.mark.parametrize("name", [7, 0.5, (1, 2), None])
def test_a_tensor_whose_name_is_no_text(tmp_path, name):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    torch.save({"features.0.bias": torch.ones(64), name: torch.ones(64)}, path)
    with pytest.raises(WeightsError, match="not a plain state dict of tensors"):
        pretrained.load(path, "vgg16", partial=True)


def test_an_archive_of_many_pickles(tmp_path):
    pytest.importorskip("torch")
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(300):
            archive.writestr(f"{number}/data.pkl", bytes(1 << 20))
    with pytest.raises(WeightsError, match="300 state dicts instead of one"):
        pretrained.load(tmp_path / "w.pth", "vgg16", partial=True)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_class_with_a_name_of_great_length(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    torch.save(
        {"features.0.bias": torch.ones(64)},
        tmp_path / "valid.pth",
        _use_new_zipfile_serialization=zipped,
    )

    def lengthen(data):
        return data.replace(b"ctorch._utils\n", b"ctorch._utils" + 200_000 * b"a" + b"\n")

    path = tmp_path / "w.pth"
    if zipped:
        with zipfile.ZipFile(tmp_path / "valid.pth") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                new.writestr(name, lengthen(old.read(name)))
    else:
        path.write_bytes(lengthen((tmp_path / "valid.pth").read_bytes()))
    assert path.stat().st_size > 200_000
    start = time.process_time()
    with pytest.raises(WeightsError, match="a text of more than 200 characters"):
        pretrained.load(path, "vgg16", partial=True)
    assert time.process_time() - start < 5  # PyTorch took 700 s to refuse it


@pytest.mark.parametrize("behind", ["", "a zip"])
@pytest.mark.parametrize("number", range(5))
def test_such_a_class_in_any_pickle_of_an_old_file(tmp_path, number, behind):
    torch = pytest.importorskip("torch")
    path, tensors = tmp_path / "w.pth", {"features.0.bias": torch.ones(64)}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    stream = io.BytesIO(path.read_bytes())
    pickles = [_next_pickle(stream) for _ in range(5)]
    pickles[number] = b"\x80\x02c" + 200_000 * b"a" + b"\nb\n."
    path.write_bytes(b"".join([*pickles, stream.read()]))
    if behind:  # a zip is found by its end, but PyTorch goes by a file's first bytes
        torch.save(tensors, tmp_path / "innocent.pth")
        path.write_bytes(path.read_bytes() + (tmp_path / "innocent.pth").read_bytes())
    start = time.process_time()
    with pytest.raises(WeightsError, match="a text of more than 200 characters"):
        pretrained.load(path, "vgg16", partial=True)
    assert time.process_time() - start < 5


def _next_pickle(stream):
    begin = stream.tell()
    *_, (_, _, stop) = pickletools.genops(stream)
    stream.seek(begin)
    return stream.read(stop + 1 - begin)


def test_a_header_that_claims_more_than_there_is_memory(tmp_path):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("block1_conv1/kernel.npy", out.getvalue())
    with pytest.raises(WeightsError, match="truncated, corrupt"):
        pretrained.load(tmp_path / "a.npz", "vgg16", partial=True)


@pytest.mark.parametrize(
    ("builder", "values", "says"),
    [
        ("places_csv", '"layout": []', "'layout' is \\[\\]; give a text"),
        ("robotcar", '"camera": {}', "'camera' is {}; give a text"),
        ("robotcar", '"undistort": 3', "'undistort' is 3; give a text"),
        ("robotcar", '"traversals": {"train": 5}', "give texts by name"),
        ("cold", '"version": [null]', "no key version"),
        ("cold", '"description": []', "no key description"),
    ],
)
def test_builder_configs(tmp_path, builder, values, says):
    with pytest.raises(RawDataError, match=says):
        discover.make(builder, f'{{"name": "mine", {values}}}', tmp_path)


def test_a_zip_member_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"a")
        archive.filelist[0].filename = ""  # in the directory, which is written on closing
    with pytest.raises(RawDataError, match=r"a\.zip is damaged \(a name is empty\); download"):
        list(archives.files(tmp_path / "a.zip"))
