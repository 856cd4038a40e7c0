"""RobotCar's archives that are compressed as a whole: refused, and passed over once they are unpacked."""

import pytest

import tests.helpers.raw_robotcar as raw
from tests.helpers.raw_places import records
from tests.unit.tfds_builders.test_robotcar import ONE, build, built


def test_a_packed_tar(tmp_path, capsys):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(2))
    tar = tmp_path / f"raw/{ONE}_mono_left.tar"
    tar.rename(tar.with_name(tar.name + ".gz"))
    assert build(tmp_path) == 2
    said = (
        "is compressed as a whole, so its files cannot be read one by one; unpack it and remove the"
    )
    assert said in capsys.readouterr().err
    # Once what it held is there, the archive may stay beside it.
    raw.write_folder(tmp_path / "raw", ONE, raw.traversal(2))
    assert build(tmp_path) == 0 and len(records(built(tmp_path), "train")) == 2


def test_a_packed_tar_beside_its_plain_one(tmp_path):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(2))
    (tmp_path / f"raw/{ONE}_mono_left.tar.gz").write_bytes(b"packed")
    assert build(tmp_path) == 0


@pytest.mark.parametrize("sensor", ["gps", "mono_left"])
def test_a_packed_tar_that_the_folder_does_not_replace(tmp_path, capsys, sensor):
    files = raw.traversal(2)
    unpacked = {path: data for path, data in files.items() if not path.startswith(sensor)}
    raw.write_folder(tmp_path / "raw", ONE, unpacked)
    (tmp_path / f"raw/{ONE}_{sensor}.tgz").write_bytes(b"packed")
    assert build(tmp_path) == 2
    assert f"{ONE}_{sensor}.tgz is compressed as a whole" in capsys.readouterr().err
