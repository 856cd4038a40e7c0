"""RobotCar as a TFDS Beam pipeline on the direct runner: the same records as the build on one machine."""

import pytest
import tensorflow_datasets as tfds

import tests.helpers.raw_robotcar as raw
from tests.helpers.raw_places import command, records
from tfds_builders import discover

beam = pytest.importorskip("apache_beam")  # the extra `beam`

ONE = "2019-01-10-11-46-21-radar-oxford-10k"
CONFIG = f'{{"name": "mine", "height": 16, "width": 20, "traversals": {{"train": "{ONE}"}}}}'


def test_beam_gives_the_same_records(tmp_path):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(50))
    assert (
        command("build", "robotcar", tmp_path / "raw", tmp_path / "one", f"--config={CONFIG}") == 0
    )
    builder = discover.make("robotcar", CONFIG, tmp_path / "beam")
    options = beam.options.pipeline_options.PipelineOptions(runner="DirectRunner")
    builder.download_and_prepare(
        download_dir=tmp_path / "downloads",
        download_config=tfds.download.DownloadConfig(
            manual_dir=tmp_path / "raw", beam_options=options
        ),
    )
    one, two = (
        records(tmp_path / where / "robotcar/mine/1.0.0", "train") for where in ("one", "beam")
    )
    assert len(one) == 50 and [list(r) for r in one] == [list(r) for r in two]
    for a, b in zip(one, two, strict=True):
        assert a["image"] == b["image"] and a["image_id"] == b["image_id"]
        assert (a["position"] == b["position"]).all() and a["timestamp"] == b["timestamp"]
    infos = [
        tfds.builder_from_directory(tmp_path / where / "robotcar/mine/1.0.0").info
        for where in ("one", "beam")
    ]
    assert dict(infos[0].metadata) == dict(infos[1].metadata)
