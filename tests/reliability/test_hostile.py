"""Files made to harm: no pickle runs, nothing is read or written outside its folder, pages escape."""

import ast
import hashlib
import io
import itertools
import json
import os
import pathlib
import pickle
import sys
import tarfile
import types
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

from tests.helpers import made_up_page, raw_cold, raw_places
from tests.helpers.commands import ROOT
from tfds_builders import archives
from tfds_builders.errors import RawDataError
from vprjax.data import source
from vprjax.descriptors import store
from vprjax.errors import DataError, WeightsError
from vprjax.evaluation.result import LabelFcm
from vprjax.report import run_page
from vprjax.weights import files, pretrained

SOURCES = sorted(
    p for top in ("vprjax", "tfds_builders", "configs") for p in (ROOT / top).rglob("*.py")
)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def evil_files(mark):
    """File name and bytes of pickles in every coat."""
    torch = pytest.importorskip("torch")
    plain, array, bare, object_npz = (
        pickle.dumps(Payload(mark)),
        *(io.BytesIO() for _ in range(3)),
    )
    np.save(array, np.array([Payload(mark)], object), allow_pickle=True)
    np.savez(object_npz, **{"block1_conv1/kernel": np.array([Payload(mark)], object)})
    np.save(bare, np.ones(3))
    for suffix in (".pth", ".pt", ".npz", ".h5", ".safetensors"):
        yield f"plain{suffix}", plain
    yield "array.npz", array.getvalue()
    yield "object.npz", object_npz.getvalue()
    yield "bare.npz", bare.getvalue()
    for zipped in (True, False):
        state = io.BytesIO()
        torch.save(
            {"features.0.weight": Payload(mark)}, state, _use_new_zipfile_serialization=zipped
        )
        yield f"state{zipped}.pth", state.getvalue()


def test_no_pickle_runs_from_a_weights_file(tmp_path):
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(mark)))  # the payload works
    mark.rmdir()
    for name, data in evil_files(mark):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
            pretrained.load(path, "vgg16", partial=True)
        assert not mark.exists(), name


def test_no_pickle_runs_from_a_descriptor_store(tmp_path):
    places = types.SimpleNamespace(image_ids=np.array(["a", "b"]), positions=np.zeros((2, 2)))
    folder, rows = tmp_path / "store", np.ones((2, 3), np.float32)
    store.write(folder, {}, places, 3, "float32", lambda first: [rows[first:]])
    assert store.open_store(folder).image_ids.tolist() == ["a", "b"]
    payload = np.array([Payload(tmp_path / "ran")] * 2, object)
    np.savez(folder / "places.npz", image_ids=payload, positions=np.zeros((2, 2)))
    with pytest.raises((DataError, ValueError)):
        store.open_store(folder)
    assert not (tmp_path / "ran").exists()


def calls(path):
    """Dotted name and keywords of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


FORBIDDEN = (
    "pickle.load",
    "pickle.loads",
    "eval",
    "exec",
    "yaml.load",
    "marshal.loads",
    "os.system",
)
UNPACKING = ("extractall", "unpack_archive")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_holds_a_call_that_runs_or_unpacks_what_others_wrote(path):
    unpacks = UNPACKING + (
        ("extract",) if "tfds_builders" in path.parts else ()
    )  # else: descriptors
    for name, keywords in calls(path):
        assert name not in FORBIDDEN and name.rpartition(".")[2] not in unpacks, name
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") == "False"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True"
        assert keywords.get("shell") in (None, "False")


def evil_tar(path, secret):
    """A COLD sequence whose archive also holds links and members that climb out of it."""
    files = raw_cold.run(count=6)
    raw_cold.write_archive(path, files)
    taken = raw_cold.file_name(raw_cold.START - 10**6, 0.0, 0.0, 0.0)
    with tarfile.open(path, "a") as tar:
        for name in ("../../climbed.txt", "/tmp/vprjax_absolute.txt", f"seq/../../{taken}"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo(f"seq/std_cam/{taken}")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)


def test_archive_members_neither_climb_out_nor_link_to_other_files(tmp_path):
    secret = tmp_path / "secret.jpeg"
    secret.write_bytes(raw_cold.jpeg(raw_places.image(12345)))
    raw = tmp_path / "raw/cold-saarbruecken/part_b"
    evil_tar(raw / "seq4_cloudy1.tar", secret)
    before = set(tmp_path.rglob("*"))
    config = '--config={"name": "mine", "map": "cold-saarbruecken/part_b"}'
    assert raw_places.command("build", "cold", tmp_path / "raw", tmp_path / "out", config) == 0
    new = set(tmp_path.rglob("*")) - before
    assert new and all(path.is_relative_to(tmp_path / "out") for path in new)
    assert not pathlib.Path("/tmp/vprjax_absolute.txt").exists()
    found = raw_places.records(raw_places.built(tmp_path, builder="cold"), "seq4_cloudy1")
    assert len(found) == 6
    assert secret.read_bytes() not in [record["image"] for record in found]


def member(**values):
    """A tar of an empty file, then a member with a header of these values and 64 blocks of bytes."""
    first, info = tarfile.TarInfo("seq/empty"), tarfile.TarInfo("seq/a")
    for name, value in values.items():
        setattr(info, name, value)
    headers = first.tobuf(tarfile.GNU_FORMAT) + info.tobuf(tarfile.GNU_FORMAT)
    return headers + b"x" * (64 * 512)


@pytest.mark.parametrize(
    "data",
    [
        member(size=-512),  # back to its own header, for ever
        member(size=1 << 60),
        member(size=512, type=tarfile.GNUTYPE_SPARSE),  # its bytes are not where the header says
        member(size=1 << 40, type=tarfile.GNUTYPE_LONGNAME),
    ],
    ids=["negative", "huge", "sparse", "long name"],
)
def test_tar_headers_that_lie_are_refused(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    found = archives.files(tmp_path / "a.tar")
    with pytest.raises(RawDataError, match=r"a\.tar is truncated or damaged \(after 1 files\)"):
        list(itertools.islice(found, 1000))


def test_a_zip_member_that_swells_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1 << 22))
    ((_, bomb),) = archives.files(tmp_path / "a.zip")
    assert bomb.size < 10_000 and len(bomb.read()) == 1 << 22
    monkeypatch.setattr(archives, "LARGEST", (1 << 22) - 1)
    with pytest.raises(RawDataError, match="is damaged"):
        bomb.read()


@pytest.mark.parametrize(
    "name", ["../secret.png", "{root}/secret.png", "a/../../secret.png", "", ".."]
)
def test_names_in_tables_stay_below_their_folder(tmp_path, capsys, name):
    raw = raw_places.write_raw(tmp_path / "raw", ["train"])
    (raw / "train/000.png").rename(tmp_path / "secret.png")
    name = name.format(root=tmp_path)
    table = raw / "places.csv"
    table.write_text(table.read_text().replace("train/000.png", name))
    assert raw_places.command("build", "places_csv", raw, tmp_path / "out") == 2
    assert "places.csv:2: image" in capsys.readouterr().err
    cells = np.array([[name], ["train/001.png"]], object)
    fields = ("whichSet", "dbImageFns", "utmDb", "qImageFns", "utmQ")
    struct = dict(zip(fields, ("val", cells, np.eye(2), cells, np.eye(2)), strict=True))
    scipy.io.savemat(raw / "a.mat", {"dbStruct": struct})
    config = '--config={"name": "mine", "layout": "dbstruct"}'
    assert raw_places.command("build", "places_csv", raw, tmp_path / "out", config) == 2
    said = capsys.readouterr().err
    assert "(database) is in no folder of" in said or (not name and "no readable dbStruct" in said)
    assert not (tmp_path / "out").exists()


def test_weights_come_from_their_own_file_alone(tmp_path):
    secret = tmp_path / "secret"
    np.ones((3, 3, 3, 64), np.float32).tofile(secret)
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["block1_conv1/kernel:0"] = np.ones((3, 3, 3, 64), np.float32)
    shape, size = (3, 3, 3, 64), secret.stat().st_size

    def raw_bytes(f):
        f.create_dataset(
            "block1_conv1/kernel:0", shape, np.float32, external=[(str(secret), 0, size)]
        )

    def link(f):
        f["block1_conv1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "block1_conv1")

    def whole(f):
        f["model_weights"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")

    def virtual(f):
        layout = h5py.VirtualLayout(shape, np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "block1_conv1/kernel:0", shape)
        f.create_virtual_dataset("block1_conv1/kernel:0", layout)

    assert pretrained.load(tmp_path / "other.h5", "vgg16", partial=True)["params"]
    for number, make in enumerate((raw_bytes, link, whole, virtual)):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as f:
            make(f)
        with pytest.raises(WeightsError, match="lies in another file"):
            pretrained.load(path, "vgg16", partial=True)


def test_a_small_file_cannot_claim_large_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    huge = 1 << 22
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset("block1_conv1/kernel:0", (huge,), np.float32, chunks=(1 << 18,))
    torch.save({"features.0.weight": torch.ones(1).expand(huge)}, tmp_path / "a.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "LARGEST", 1 << 20)
        np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 20))
        for suffix in (".h5", ".npz", ".pth"):
            assert (tmp_path / f"a{suffix}").stat().st_size < 20_000
            with pytest.raises(WeightsError, match="claim more than 1,048,576 bytes"):
                pretrained.load(tmp_path / f"a{suffix}", "vgg16")


def test_a_safetensors_of_holes_is_not_read(tmp_path, monkeypatch):
    """Holes of a sparse file take no room on the disk, and would take it in memory."""
    claimed = {"a": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]}}
    header = json.dumps(claimed).encode()
    with (tmp_path / "a.safetensors").open("wb") as f:
        f.write(len(header).to_bytes(8, "little") + header)
        f.truncate(8 + len(header) + (4 << 20))
    monkeypatch.setattr(files, "LARGEST", 1 << 20)
    with pytest.raises(WeightsError, match="claim more than 1,048,576 bytes"):
        pretrained.load(tmp_path / "a.safetensors", "vgg16")


@pytest.mark.parametrize("half", [False, True])
def test_a_file_that_is_large_itself_is_read(tmp_path, monkeypatch, half):
    """ViT-L and ViT-g take more than `LARGEST`; half precision doubles in memory."""
    torch = pytest.importorskip("torch")
    array = np.ones((64, 3, 3, 3), np.float16 if half else np.float32)
    more = np.random.default_rng(0).standard_normal(1 << 18).astype(array.dtype)
    arrays = {"features.0.weight": array, "more": more}
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    torch.save({k: torch.tensor(v) for k, v in arrays.items()}, tmp_path / "a.pth")
    monkeypatch.setattr(files, "LARGEST", 1 << 16)
    for suffix in (".safetensors", ".pth"):
        read = files.read(tmp_path / f"a{suffix}", "vgg16")
        np.testing.assert_array_equal(read["features.0.weight"], array)


def test_a_large_file_cannot_claim_much_more_than_it_has(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    tensors = {"a": torch.ones(1 << 18), "b": torch.ones(1).expand(1 << 20)}
    torch.save(tensors, tmp_path / "a.pth")
    monkeypatch.setattr(files, "LARGEST", 1 << 16)
    with pytest.raises(WeightsError, match=r"claim more than 2,\d{3},\d{3} bytes"):
        pretrained.load(tmp_path / "a.pth", "vgg16")


def test_a_deflated_pth_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.save({"features.0.weight": torch.zeros(1 << 22)}, tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as stored,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    monkeypatch.setattr(files, "LARGEST", 1 << 20)
    monkeypatch.setattr(torch, "load", None)
    assert (tmp_path / "a.pth").stat().st_size < 30_000
    with pytest.raises(WeightsError, match="claim more than 1,048,576 bytes"):
        pretrained.load(tmp_path / "a.pth", "vgg16")


HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(2)>&lt;{{ 7*7 }}"""
ATTRIBUTES = {"src", "alt", "width", "height"}


def test_the_page_escapes_every_text_it_shows(tmp_path, monkeypatch):
    config = made_up_page.config(HOSTILE)
    with config.unlocked():
        config.dataset.position_unit = config.model.weights = config.dataset.name = HOSTILE
    queries, references = made_up_page.places(HOSTILE), made_up_page.places(HOSTILE)
    load = {(HOSTILE,): queries, ("reference",): references}
    monkeypatch.setattr(source, "load", lambda _, splits: load[splits])
    found = made_up_page.result(config, queries, references, wrong=(3, 11))
    labels = {HOSTILE: LabelFcm(4, found.figures.fcm)}
    found = made_up_page.changed(found, figures={"labels": labels})
    dataset = types.SimpleNamespace(
        name=HOSTILE, version=HOSTILE, counts={HOSTILE: 40}, metadata={"pose_source": HOSTILE}
    )
    provenance = made_up_page.provenance(config)
    provenance = {key: HOSTILE if v == "someword" else v for key, v in provenance.items()}
    results = {"fine_tuned": {HOSTILE: found}}
    page = made_up_page.Read(run_page.page(tmp_path, config, dataset, results, provenance))
    made_up_page.check_self_contained(page)
    assert all(set(image) == ATTRIBUTES for image in page.images)
    assert page.text.count(HOSTILE) > 20 and "49" not in page.text.replace(HOSTILE, "").split()
    assert any(HOSTILE in image["alt"] for image in page.images)
    assert not any("<img" in svg for svg in page.svgs())


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub whose cache keeps a file under the name `blob`; gives the file."""

    def fetch(data, blob):
        (tmp_path / blob).write_bytes(data)
        (tmp_path / "model.safetensors").symlink_to(tmp_path / blob)
        stub = types.SimpleNamespace(
            hf_hub_download=lambda repo, file, revision: str(tmp_path / "model.safetensors")
        )
        monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
        return pretrained.resolve("timm/vgg16.tv_in1k@0123abc")

    return fetch


def test_a_download_is_what_the_hub_said(hub):
    assert hub(b"weights", hashlib.sha256(b"weights").hexdigest()).read_bytes() == b"weights"


def test_a_download_that_is_not_what_the_hub_said(hub):
    with pytest.raises(WeightsError, match=r"its SHA-256 is not the 0{64} that the hub reported"):
        hub(b"weights", "0" * 64)


def test_a_download_that_cannot_be_checked(hub):
    with pytest.raises(WeightsError, match="cannot be checked"):
        hub(b"weights", "etag")
