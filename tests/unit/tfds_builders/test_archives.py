"""Bounds on what is read out of folders and archives."""

import tarfile
import zipfile

import pytest

from tfds_builders import archives
from tfds_builders.errors import RawDataError


@pytest.mark.parametrize("kind", ["folder", "tar", "stored.zip"])
def test_a_file_above_the_bound_is_refused_before_it_is_read(tmp_path, monkeypatch, kind):
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder/huge.csv"
    file.write_bytes(b"12345")
    if kind == "tar":
        with tarfile.open(tmp_path / kind, "w") as tar:
            tar.add(file, "huge.csv")
    elif kind == "stored.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            archive.write(file, "huge.csv")
    ((_, source),) = archives.files(tmp_path / kind)
    monkeypatch.setattr(archives, "LARGEST", 5)
    assert source.read() == b"12345"
    monkeypatch.setattr(archives, "LARGEST", 4)
    with pytest.raises(
        RawDataError, match=r"huge\.csv has 5 bytes, where an image or a log has 4 at"
    ):
        source.read()
