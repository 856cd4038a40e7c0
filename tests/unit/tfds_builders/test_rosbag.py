"""ROS 1 and ROS 2 bags through the command line; record times differ from header stamps."""

import numpy as np
import pytest

pytest.importorskip("rosbags")

from tests.helpers import raw_bags, raw_drives
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, decoded, image, metadata, records
from tfds_builders.places_csv import bags
from tfds_builders.places_csv.layouts import rosbag

FIRST = 1_553_180_224_368_448_174
REAL = ROOT.parent / "shared/formats/rosbag"
ROS = [1, 2, "mcap"]  # ROS 2 has two storages
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")


def dense(start=(0.0, 0, 0)):
    """Poses every 100 ms, and the times of pictures between every second two."""
    made = raw_drives.drive(count=120, start=start, first=FIRST)
    return made, made.nanos[1:-1:2] + 41_000_017


def seen(root, made, taken, split="monday", **bounds):
    found = records(built(root, builder="places_csv"), split)
    raw_drives.check(found, raw_drives.between(made, taken), **bounds)
    return found


@pytest.mark.parametrize("ros", ROS)
@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "jpeg"])
def test_odometry_with_a_mounted_camera(tmp_path, ros, encoding):
    made, taken = dense()
    bag = raw_bags.Bag(ros)
    bag.pictures(taken, encoding=encoding)
    bag.odometry(made)
    bag.mount(FIRST)
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag") == 0
    # At the record times, 3 to 17 ms later, the camera would be up to 0.3 m away.
    poses = raw_bags.camera(raw_drives.between(made, taken))
    found = records(built(tmp_path, builder="places_csv"), "monday")
    raw_drives.check(found, poses)
    difference = decoded(found[5]).astype(int) - image(5)
    assert np.abs(difference).max() <= (60 if encoding == "jpeg" else 0)
    name = "monday.bag" if ros == 1 else "monday"
    assert found[5]["image_id"].decode() == f"{name}/camera/image_raw/{taken[5]}"
    assert metadata(tmp_path, builder="places_csv")["warnings"] == []


@pytest.mark.parametrize("ros", ROS)
def test_tf_alone(tmp_path, ros):
    made, taken = dense()
    bag = raw_bags.Bag(ros)
    bag.pictures(taken)
    bag.mount(FIRST)
    for moment, place, turn in zip(made.nanos, *raw_bags.body(made), strict=True):
        bag.transform(moment, "odom", "base_link", place, turn)
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag") == 0
    found = records(built(tmp_path, builder="places_csv"), "monday")
    raw_drives.check(found, raw_bags.camera(raw_drives.between(made, taken)))


@pytest.mark.parametrize("ros", ROS)
def test_fixes_on_one_map(tmp_path, ros):
    made, taken = dense(start=(691_000.0, 5_337_000.0, 540.0))
    bag = raw_bags.Bag(ros)
    bag.pictures(taken, encoding="mono8")
    bag.fixes(made, lost=range(20, 60), empty=(90,))
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag") == 0
    found = records(built(tmp_path, builder="places_csv"), "monday")
    keep = [i for i in range(len(taken)) if not 19 <= 1 + 2 * i < 60]
    expected = made.places[:, :2]
    known = [i for i in range(120) if not (20 <= i < 60 or i == 90)]
    east, north = (
        np.interp(taken[keep] - FIRST, made.nanos[known] - FIRST, expected[known, i])
        for i in (0, 1)
    )
    positions = np.array([record["position"] for record in found])
    np.testing.assert_allclose(positions, np.stack([east, north], axis=1), atol=0.01, rtol=0)
    assert [int(r["timestamp"]) for r in found] == (taken[keep] // 1000).tolist()
    assert np.isnan([record["heading"] for record in found]).all()
    info = metadata(tmp_path, builder="places_csv")
    assert info["crs"] == "EPSG:32632"
    assert info["counts"]["monday"]["dropped"] == {"gap in the pose log": 59 - len(keep)}
    assert "monday: 41 of 120 messages of /fix hold no fix and are left out" in info["warnings"]


def test_a_storage_file_without_its_folder(tmp_path, capsys):
    """A copied .mcap or .db3 reads alone; a folder without metadata.yaml is told."""
    made, taken = dense()
    for ros, name in ((2, "monday"), ("mcap", "friday")):
        bag = raw_bags.Bag(ros)
        bag.pictures(taken)
        bag.odometry(made)
        bag.mount(FIRST)
        bag.write(tmp_path / "raw", name)
        (tmp_path / "raw" / name / "metadata.yaml").unlink()
    assert raw_drives.build(tmp_path, "rosbag", verb="validate") == 2
    said = capsys.readouterr().err
    assert said.count("lacks its metadata.yaml; write it with ros2 bag reindex") == 2
    for name, suffix in (("monday", "db3"), ("friday", "mcap")):
        (file,) = (tmp_path / "raw" / name).iterdir()
        file.rename(tmp_path / f"raw/{name}.{suffix}")
        (tmp_path / "raw" / name).rmdir()
    assert raw_drives.build(tmp_path, "rosbag") == 0
    poses = raw_bags.camera(raw_drives.between(made, taken))
    for name, suffix in (("monday", "db3"), ("friday", "mcap")):
        found = records(built(tmp_path, builder="places_csv"), name)
        raw_drives.check(found, poses)
        assert found[0]["image_id"].decode().startswith(f"{name}.{suffix}/camera/image_raw/")


def test_poses_of_a_body_are_told(tmp_path):
    made, taken = dense()
    bag = raw_bags.Bag(2)
    bag.pictures(taken, frame="camera_link")
    bag.poses(made)
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag") == 0
    seen(tmp_path, made, taken)
    (warning,) = raw_drives.warnings(tmp_path)
    assert "tf holds no fixed place of camera_link on the body" in warning


def test_topics_are_named_where_there_are_several(tmp_path, capsys):
    made, taken = dense()
    bag = raw_bags.Bag(1)
    bag.pictures(taken)
    bag.pictures(taken[:30] + 10**6, topic="/rear/image_raw")
    bag.poses(made)
    bag.odometry(made._replace(places=made.places + 5))
    bag.mount(FIRST)
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag", verb="validate") == 2
    told = capsys.readouterr().err
    assert "are /camera/image_raw, /rear/image_raw; name it in" in told
    splits = {"front": "monday/camera/image_raw", "rear": "monday/rear/image_raw"}
    assert raw_drives.build(tmp_path, "rosbag", verb="validate", splits=splits) == 2
    assert 'are /odom, /pose; name one in "choices" as "pose_topic"' in capsys.readouterr().err
    assert raw_drives.build(tmp_path, "rosbag", splits=splits, choices={"pose_topic": "/pose"}) == 0
    seen(tmp_path, made, taken, "front")
    seen(tmp_path, made, taken[:30] + 10**6, "rear")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no stamp", "a header's stamp is 0; the driver left it unset"),
        ("no pose", "PoseStamped are none; name one"),
        ("no bag", "holds no .bag, .mcap or .db3 and no folder of a ROS 2 bag"),
        ("packed", "(with metadata.yaml); unpack monday.bag.gz"),
        ("inside", "is itself a ROS 2 bag; give --manual_dir="),
        ("twice", "have one name; rename or move one"),
        ("cut", "monday.bag is no readable bag"),
        (
            "no way",
            "tf holds no way from the pictures' frame to a world; it holds base_link in odom",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, capsys, how, told):
    made, taken = dense()
    bag = raw_bags.Bag(1)
    bag.pictures([0] if how == "no stamp" else taken)
    if how == "no way":
        bag.transform(FIRST, "odom", "base_link", (0, 0, 0), np.eye(3))
    elif how != "no pose":
        bag.odometry(made)
    bag.write(tmp_path / "raw", "monday")
    path = tmp_path / "raw/monday.bag"
    if how == "no bag":
        path.rename(path.with_suffix(".bak"))
    elif how == "packed":
        path.rename(f"{path}.gz")
    elif how == "inside":
        (tmp_path / "raw/metadata.yaml").touch()
    elif how == "twice":
        (tmp_path / "raw/monday").mkdir()
        (tmp_path / "raw/monday/metadata.yaml").touch()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    assert raw_drives.build(tmp_path, "rosbag", verb="validate") == 2
    assert told in capsys.readouterr().err


@real
@pytest.mark.parametrize("name", ["odom4_ros2_v8", "odom4_ros2_v9"])
def test_real_odometry(name):
    path = bags.find(REAL)[name]
    with bags.opened(path) as reader:
        assert bags.topics(reader) == {"/camera/odom/sample": "nav_msgs/msg/Odometry"}
        late = [
            recorded - bags.stamp(message, name)
            for recorded, message in bags.messages(reader, "/camera/odom/sample")
        ]
    assert len(late) == 4 and all(-3_000_000 <= value <= 18_000_000 for value in late)
    assert rosbag.LAYOUT.choices == {"pose_topic": ""}
