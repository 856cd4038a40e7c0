"""ROS 1 and ROS 2 bags: which topics they hold, their poses by header stamp, and their pictures.

A message's header stamp is when it was measured; the record time, some milliseconds later, orders the bag
and is never used as a time.
"""

import atexit
import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
FIX, ODOMETRY, POSE, TREE = (
    "sensor_msgs/msg/NavSatFix",
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "tf2_msgs/msg/TFMessage",
)
POSES = (FIX, ODOMETRY, POSE, TREE)
OTHER_NAMES = {"tf/msg/tfMessage": TREE}  # of old ROS 1 bags
COLOURS = {  # encoding to channels as stored, and the name of OpenCV's code to BGR
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, "COLOR_RGB2BGR"),
    "bgra8": (4, "COLOR_BGRA2BGR"),
    "rgba8": (4, "COLOR_RGBA2BGR"),
    "mono8": (1, "COLOR_GRAY2BGR"),
    "8UC1": (1, "COLOR_GRAY2BGR"),
    # OpenCV names a pattern by the second and third pixel of its second row.
    "bayer_rggb8": (1, "COLOR_BayerBG2BGR"),
    "bayer_bggr8": (1, "COLOR_BayerRG2BGR"),
    "bayer_gbrg8": (1, "COLOR_BayerGR2BGR"),
    "bayer_grbg8": (1, "COLOR_BayerGB2BGR"),
}
FILES = (".bag", ".mcap", ".db3")  # of ROS 1, and of ROS 2 in either storage
METADATA = "metadata.yaml"  # in the folder of a ROS 2 bag
LOCK = threading.Lock()  # of the readers in OPEN
OPEN: dict[pathlib.Path, Any] = {}


class Message(NamedTuple):
    """A picture in a bag: its file or folder, topic, record time, and place among those of one time.

    As a path it is `BAG/TOPIC/STAMP`, which names it in messages.
    """

    bag: pathlib.Path
    topic: str
    recorded: int
    place: int
    stamp: int

    def __fspath__(self) -> str:
        return os.fspath(self.bag / self.topic.strip("/") / str(self.stamp))

    def __str__(self) -> str:
        return self.__fspath__()

    def fingerprint(self) -> str:
        """The message's place in the bag, and the size and time of the bag's files."""
        files = sorted(self.bag.glob("*")) if self.bag.is_dir() else [self.bag]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return str((tuple(self), stats))

    def read(self) -> bytes:
        """The picture's bytes: as compressed, else as PNG; raises RawDataError."""
        with LOCK:
            reader = _held(self.bag)
            wanted = [c for c in reader.connections if c.topic == self.topic]
            found = list(reader.messages(wanted, start=self.recorded, stop=self.recorded + 1))
            connection, _, raw = found[self.place]
        return _encoded(reader.deserialize(raw, connection.msgtype), str(self))


def _held(bag: pathlib.Path):
    """A reader of a bag that stays open, beside at most one other; only under `LOCK`."""
    if bag not in OPEN:
        while len(OPEN) > 1:
            OPEN.pop(next(iter(OPEN))).close()
        reader = _reader(bag)
        reader.open()
        OPEN[bag] = reader
    return OPEN[bag]


@atexit.register
def close_all() -> None:
    """Closes the readers that stay open."""
    while OPEN:
        OPEN.popitem()[1].close()


def _reader(bag: pathlib.Path):
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise RawDataError(
            f"{bag} needs rosbags; install it: pip install 'vprjax[bags]'"
        ) from error
    return AnyReader([bag], default_typestore=get_typestore(Stores.LATEST))


@contextlib.contextmanager
def opened(bag: pathlib.Path) -> Iterator[Any]:
    """A reader of a bag; raises RawDataError where it cannot be read."""
    reader = _reader(bag)
    try:
        reader.open()
    except Exception as error:  # rosbags' own, YAML's, a database's
        raise RawDataError(
            f"{bag} is no readable bag ({error}); copy or convert it again"
        ) from error
    try:
        yield reader
    finally:
        reader.close()


def find(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The bags in a folder by name: files `.bag`, `.mcap` and `.db3`, and folders of ROS 2 bags.

    Raises:
      RawDataError: there is none, two have one name, or a ROS 2 bag lacks its metadata.yaml.
    """
    files = sorted(path for path in folder.glob("[!.]*") if path.suffix in FILES and path.is_file())
    if (folder / METADATA).is_file():
        raise RawDataError(f"{folder} is itself a ROS 2 bag; give --manual_dir={folder.parent}")
    held = {path.parent for suffix in FILES[1:] for path in folder.glob(f"*/*{suffix}")}
    bare = sorted(path for path in held if not (path / METADATA).is_file())
    if bare:
        raise RawDataError(
            *(
                f"{path} lacks its {METADATA}; write it with ros2 bag reindex, or put a single .mcap "
                f"or .db3 into {folder}"
                for path in bare
            )
        )
    found: dict[str, pathlib.Path] = {}
    for path in [*files, *sorted(path.parent for path in folder.glob(f"*/{METADATA}"))]:
        name = path.stem if path in files else path.name
        if name in found:
            raise RawDataError(f"{found[name]} and {path} have one name; rename or move one")
        found[name] = path
    if not found:
        packed = sorted(path.name for path in folder.glob("*.bag.*"))
        remedy = f"unpack {packed[0]}" if packed else "put the bags there"
        raise RawDataError(
            f"{folder} holds no .bag, .mcap or .db3 and no folder of a ROS 2 bag (with {METADATA}); "
            f"{remedy}"
        )
    return found


def topics(reader) -> dict[str, str]:
    """Topics with their types, in one spelling for ROS 1 and 2."""
    return {c.topic: OTHER_NAMES.get(c.msgtype, c.msgtype) for c in reader.connections}


def messages(reader, topic: str) -> Iterator[tuple[int, Any]]:
    """Record time and message of a topic, in the bag's order; raises RawDataError."""
    wanted = [c for c in reader.connections if c.topic == topic]
    for connection, recorded, raw in reader.messages(wanted):
        try:
            yield recorded, reader.deserialize(raw, connection.msgtype)
        except Exception as error:  # a damaged message makes rosbags raise anything
            raise RawDataError(
                f"{topic}: the message of {recorded} cannot be read ({error}); record or repair "
                "the bag again"
            ) from error


def stamp(message, where: str) -> int:
    """Nanoseconds of a message's header; raises RawDataError where it was left unset."""
    found = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    if found <= 0:
        raise RawDataError(
            f"{where}: a header's stamp is {found}; the driver left it unset, so write stamps into the bag"
        )
    return found


def pictures(reader, bag: pathlib.Path, topic: str) -> tuple[list[Message], str]:
    """The pictures of a topic, and the name of their frame."""
    found, frame, seen = [], "", {}
    for recorded, message in messages(reader, topic):
        place = seen[recorded] = seen.get(recorded, -1) + 1
        found.append(Message(bag, topic, recorded, place, stamp(message, f"{bag}: {topic}")))
        frame = message.header.frame_id.strip("/")
    return found, frame


def _encoded(message, where: str) -> bytes:
    import cv2  # slow to import, and lists of positions do without it

    if message.__msgtype__ == IMAGES[1]:
        return message.data.tobytes()
    channels, code = COLOURS.get(message.encoding, (0, None))
    row = message.width * channels
    if not channels or len(message.data) < message.height * message.step or message.step < row:
        raise RawDataError(
            f"{where} has encoding {message.encoding!r} and {len(message.data)} bytes for "
            f"{message.height} rows; "
            f"known are {', '.join(COLOURS)}"
        )
    rows = message.data[: message.height * message.step].reshape(message.height, message.step)
    image = rows[:, :row].reshape(message.height, message.width, channels)
    image = np.ascontiguousarray(image if channels > 1 else image[:, :, 0])
    image = image if code is None else cv2.cvtColor(image, getattr(cv2, code))
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
