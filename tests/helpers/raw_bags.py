"""Writes ROS 1 and ROS 2 bags of a made-up drive, whose record times are not its header stamps."""

import pathlib

import cv2
import numpy as np
import pyproj
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive
from tests.helpers.raw_places import image

BODY_AXES = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # a camera's axes on a body: x, y, z
MOUNT = np.eye(4)  # an optical frame on the body: it looks forward and a little to the left
MOUNT[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix() @ BODY_AXES
MOUNT[:3, 3] = [1.6, 0.2, 1.4]
TREE = "tf2_msgs/msg/TFMessage"
LATE = 17_000_000  # nanoseconds from stamp to record time, at most


class Bag:
    """Messages of one bag, which `write` puts into a file (ROS 1) or a folder (ROS 2)."""

    def __init__(self, ros: int | str):
        """A bag of ROS 1, of ROS 2 with SQLite (2), or of ROS 2 with "mcap"."""
        self.ros = ros
        self.store = get_typestore(Stores.ROS1_NOETIC if ros == 1 else Stores.ROS2_HUMBLE)
        if TREE not in self.store.types:  # rosbags' types of ROS 1 lack it
            self.store.register(
                get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TREE)
            )
        self.held: list[tuple[int, str, str, object]] = []

    def make(self, kind: str, *values):
        """A message of a type, of its fields' values."""
        return self.store.types[kind](*values)

    def header(self, nanos: int, frame: str):
        """A header, whose first field ROS 1 alone has."""
        stamp = self.make("builtin_interfaces/msg/Time", int(nanos) // 10**9, int(nanos) % 10**9)
        return self.make("std_msgs/msg/Header", *([0] if self.ros == 1 else []), stamp, frame)

    def add(self, topic: str, kind: str, nanos: int, message) -> None:
        """Keeps a message, recorded some milliseconds after its stamp."""
        late = int(np.random.default_rng(int(nanos) % 997).integers(3_000_000, LATE))
        self.held.append((int(nanos) + late, topic, kind, message))

    def write(self, folder: pathlib.Path, name: str) -> None:
        """Writes the bag as `name` in a folder, in the order of the record times."""
        folder.mkdir(parents=True, exist_ok=True)
        storage = StoragePlugin.MCAP if self.ros == "mcap" else StoragePlugin.SQLITE3
        new = (
            Writer1(folder / f"{name}.bag")
            if self.ros == 1
            else Writer2(folder / name, version=9, storage_plugin=storage)
        )
        serialize = self.store.serialize_ros1 if self.ros == 1 else self.store.serialize_cdr
        with new as writer:
            known = {}
            for recorded, topic, kind, message in sorted(self.held, key=lambda row: row[:2]):
                if topic not in known:
                    known[topic] = writer.add_connection(topic, kind, typestore=self.store)
                writer.write(known[topic], recorded, serialize(message, kind))

    def pictures(
        self, nanos, topic="/camera/image_raw", encoding="bgr8", frame="camera_optical_frame"
    ):
        """Pictures of made-up scenes, raw or compressed (`jpeg`)."""
        for number, moment in enumerate(nanos):
            pixels, head = image(number), self.header(moment, frame)
            if encoding == "jpeg":
                kind, data = (
                    "sensor_msgs/msg/CompressedImage",
                    cv2.imencode(".jpg", pixels)[1].ravel(),
                )
                message = self.make(kind, head, "jpeg", data)
            else:
                kind = "sensor_msgs/msg/Image"
                pixels = pixels[..., ::-1] if encoding == "rgb8" else pixels
                pixels = pixels[..., 1] if encoding == "mono8" else pixels
                height, width, step = *pixels.shape[:2], pixels[0].size
                data = np.ascontiguousarray(pixels).ravel()
                message = self.make(kind, head, height, width, encoding, 0, step, data)
            self.add(topic, kind, moment, message)

    def pose(self, place, turn):
        """A Pose of a place and a 3x3 rotation."""
        point = self.make("geometry_msgs/msg/Point", *map(float, place))
        quaternion = Rotation.from_matrix(turn).as_quat()
        return self.make(
            "geometry_msgs/msg/Pose",
            point,
            self.make("geometry_msgs/msg/Quaternion", *map(float, quaternion)),
        )

    def odometry(self, made: Drive, topic="/odom") -> None:
        """The body's poses."""
        zero = self.make("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
        twist = self.make("geometry_msgs/msg/Twist", zero, zero)
        for moment, place, turn in zip(made.nanos, *body(made), strict=True):
            message = self.make(
                "nav_msgs/msg/Odometry",
                self.header(moment, "odom"),
                "base_link",
                self.make(
                    "geometry_msgs/msg/PoseWithCovariance", self.pose(place, turn), np.zeros(36)
                ),
                self.make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
            )
            self.add(topic, "nav_msgs/msg/Odometry", moment, message)

    def poses(self, made: Drive, topic="/pose") -> None:
        """The body's poses, as PoseStamped."""
        for moment, place, turn in zip(made.nanos, *body(made), strict=True):
            head = self.header(moment, "map")
            message = self.make("geometry_msgs/msg/PoseStamped", head, self.pose(place, turn))
            self.add(topic, "geometry_msgs/msg/PoseStamped", moment, message)

    def transform(self, moment, parent, child, place, turn, topic="/tf") -> None:
        """One transform."""
        pose = self.pose(place, turn)
        move = self.make(
            "geometry_msgs/msg/Transform",
            self.make("geometry_msgs/msg/Vector3", *map(float, place)),
            pose.orientation,
        )
        head = self.header(moment, parent)
        stamped = self.make("geometry_msgs/msg/TransformStamped", head, child, move)
        self.add(topic, TREE, moment, self.make(TREE, [stamped]))

    def mount(self, moment) -> None:
        """The optical frame's fixed place on the body."""
        parts = (MOUNT[:3, 3], MOUNT[:3, :3], "/tf_static")
        self.transform(moment, "base_link", "camera_optical_frame", *parts)

    def fixes(self, made: Drive, lost=(), empty=(), topic="/fix") -> None:
        """Satellite fixes at UTM places of zone 32; some have no status, some no numbers."""
        degrees = pyproj.Proj("EPSG:32632")(*made.places[:, :2].T, inverse=True)
        for i, (moment, longitude, latitude) in enumerate(zip(made.nanos, *degrees, strict=True)):
            status = self.make("sensor_msgs/msg/NavSatStatus", -1 if i in lost else 0, 1)
            place = (np.nan,) * 3 if i in empty else (latitude, longitude, float(made.places[i, 2]))
            if i in lost:
                place = (0.0, 0.0, 0.0)
            kind = "sensor_msgs/msg/NavSatFix"
            message = self.make(kind, self.header(moment, "gps"), status, *place, np.zeros(9), 0)
            self.add(topic, kind, moment, message)


def body(made: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Places and rotations of a body (x forward, y left, z up) where the drive's cameras are."""
    return made.places, made.turns @ BODY_AXES.T


def camera(made: Drive) -> Drive:
    """The drive of the mounted optical frame on that body."""
    places, turns = body(made)
    seen = turns @ MOUNT[:3, :3]
    headings = np.arctan2(seen[:, 0, 2], seen[:, 1, 2])
    return Drive(places + turns @ MOUNT[:3, 3], headings, seen, made.nanos)
