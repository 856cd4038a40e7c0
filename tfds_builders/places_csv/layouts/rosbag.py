"""ROS 1 and ROS 2 bags: pictures of one topic, poses of NavSatFix, Odometry, PoseStamped or tf.

A world is x east, y north, z up; a body x forward, y left, z up; a camera's frame is one of z forward where
its name holds "optical" (REP 103). Quaternions are x y z w. All times are header stamps.
"""

import functools
import math
import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv import bags
from tfds_builders.places_csv.layouts import drives, earth
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import between, rigid
from tfds_builders.poses.rigid import Poses

LARGEST_GAP = {bags.FIX: 2.5}  # seconds; receivers give one fix a second or more
GAP = 0.5  # seconds, of all other logs
NO_FIX = -1  # a receiver's status
# Columns: a camera's x, y and z axis on a body that looks along its x.
FORWARD = rigid.matrix(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.zeros(3))


class Tree(NamedTuple):
    """The transforms of a bag: child frame to its parent, and the child's poses there; one if static.

    `torn` holds the frames that have a second parent, by its name.
    """

    parents: dict[str, str]
    logs: dict[str, Poses]
    static: set[str]
    torn: dict[str, str]


def read_rosbag(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads one topic of pictures of every bag; `BAG/TOPIC` in `splits` names it where there are several.

    Raises:
      RawDataError: names every problem.
    """
    held = bags.find(folder)
    cameras = {""}
    for path in held.values():
        with bags.opened(path) as reader:
            cameras |= {
                t.strip("/") for t, kind in bags.topics(reader).items() if kind in bags.IMAGES
            }
    chosen = drives.choose(told, splits, drives.Found(list(held)), sorted(cameras))
    read = functools.partial(_shots, told, held, told.choices.get("pose_topic", ""))
    shots = {drive: read(drive) for drive in chosen}
    kinds = {kind for _, kind in shots.values()}
    if len(kinds) > 1 and bags.FIX in kinds:
        raise RawDataError(
            f"{folder}: some bags have positions on the earth and others in a room or field; "
            "build a dataset "
            "of each"
        )
    found = {drive: taken for drive, (taken, _) in shots.items()}
    if bags.FIX in kinds:
        found = earth.on_one_map(found, told)
    return drives.read(folder, told, chosen, found.__getitem__)


def _shots(
    told: Told, held: dict[str, pathlib.Path], wanted: str, drive: Drive
) -> tuple[Shots, str]:
    """The pictures of a bag with poses, and the type of its pose topic."""
    path = held[drive.name]
    with bags.opened(path) as reader:
        topics = bags.topics(reader)
        camera = _only(path, topics, bags.IMAGES, drive.camera, 'name it in "splits": "BAG/TOPIC"')
        topic = _pose_topic(path, topics, wanted)
        files, frame = bags.pictures(reader, path, camera)
        if not files:
            raise RawDataError(f"{path}: {camera} holds no pictures; record it again")
        taken = np.array([file.stamp for file in files], np.int64)
        if again := len(taken) - len(np.unique(taken)):
            told.warnings.append(
                f"{drive.split}: {again:,} of {len(taken):,} pictures of {camera} have the header stamp of "
                "another one, and so its position: the driver's clock stood still, or they were sent twice"
            )
        gap = LARGEST_GAP.get(topics[topic], GAP)
        if topics[topic] == bags.FIX:
            poses, reasons = between.interpolate_places(
                _fixes(reader, topic, drive, told), taken, gap
            )
        elif topics[topic] == bags.TREE:
            poses, reasons = _at(path, _tree(reader), frame, "", taken)
            poses = poses if "optical" in frame else rigid.mounted(poses, FORWARD)
        else:
            log, body = _log(reader, topic)
            poses, reasons = between.interpolate(log, taken, gap)
            poses = rigid.mounted(poses, _mount(_tree(reader), body, frame, drive, told))
    return Shots(files, poses, reasons), topics[topic]


def _only(path, topics: dict[str, str], kinds, wanted: str, remedy: str) -> str:
    """The topic that is asked for, or the only one of these types; raises RawDataError."""
    fit = [topic for topic, kind in topics.items() if kind in kinds]
    named = [topic for topic in fit if topic.strip("/") == wanted.strip("/")]
    if named or (len(fit) == 1 and not wanted):
        return (named or fit)[0]
    shown = ", ".join(sorted(fit)) or "none"
    raise RawDataError(f"{path}: its topics of {' or '.join(kinds)} are {shown}; {remedy}")


def _pose_topic(path, topics: dict[str, str], wanted: str) -> str:
    """The topic of poses; tf alone counts where nothing else is there."""
    kinds = bags.POSES if wanted else bags.POSES[:3]
    if not wanted and not any(kind in kinds for kind in topics.values()):
        trees = [t for t, kind in topics.items() if kind == bags.TREE and not t.endswith("static")]
        if trees:
            return trees[0]
    return _only(path, topics, kinds, wanted, 'name one in "choices" as "pose_topic"')


def _fixes(reader, topic: str, drive: Drive, told: Told) -> Poses:
    """Places from the earth's centre of the fixes; `told` takes a warning on those that are none."""
    stamps, degrees, lost = [], [], 0
    for _, message in bags.messages(reader, topic):
        place = (message.latitude, message.longitude, message.altitude)
        if message.status.status == NO_FIX or not all(map(math.isfinite, place[:2])):
            lost += 1
            continue
        stamps.append(bags.stamp(message, topic))
        degrees.append((*place[:2], place[2] if math.isfinite(place[2]) else 0.0))
    if lost:
        told.warnings.append(
            f"{drive.split}: {lost:,} of {lost + len(stamps):,} messages of {topic} hold no fix "
            "and are left out"
        )
    if not stamps:
        raise RawDataError(
            f"{topic}: no message of {drive.name} holds a fix; choose another pose_topic"
        )
    nanos = np.array(stamps, np.int64)
    order = between.ascending(nanos)[0]
    nothing = np.full((len(order), 3, 3), np.nan)
    return Poses(nanos[order], earth.of_degrees(np.array(degrees)[order]), nothing)


def _log(reader, topic: str) -> tuple[Poses, str]:
    """The poses of Odometry or PoseStamped messages, and the frame of the body, "" where unknown."""
    stamps, values, body = [], [], ""
    for _, message in bags.messages(reader, topic):
        body = getattr(message, "child_frame_id", "").strip("/")
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        stamps.append(bags.stamp(message, topic))
        values.append(_numbers(pose.position, pose.orientation))
    if not stamps:
        raise RawDataError(f"{topic} holds no messages; choose another pose_topic")
    return _poses(topic, stamps, values), body


def _numbers(place, turn) -> tuple[float, ...]:
    return place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w


def _poses(where: str, stamps: list[int], values: list[tuple]) -> Poses:
    numbers, nanos = np.array(values, np.float64), np.array(stamps, np.int64)
    order = between.ascending(nanos)[0]
    try:
        turns = rigid.of_quaternions(numbers[order, 3:], "xyzw", lambda i: f"{where}, message {i}")
    except ValueError as error:
        raise RawDataError(str(error)) from error
    return Poses(nanos[order], numbers[order, :3], turns)


def _tree(reader) -> Tree:
    """All transforms of a bag."""
    stamps: dict[str, list[int]] = {}
    values: dict[str, list[tuple]] = {}
    tree = Tree({}, {}, set(), {})
    for topic, kind in bags.topics(reader).items():
        if kind != bags.TREE:
            continue
        for _, message in bags.messages(reader, topic):
            for each in message.transforms:
                child = each.child_frame_id.strip("/")
                parent = each.header.frame_id.strip("/")
                if tree.parents.setdefault(child, parent) != parent:
                    tree.torn[child] = parent
                if topic.endswith("static"):
                    tree.static.add(child)
                moment = each.header.stamp.sec * 10**9 + each.header.stamp.nanosec
                stamps.setdefault(child, []).append(moment)
                move = each.transform
                values.setdefault(child, []).append(_numbers(move.translation, move.rotation))
    for child in stamps:
        tree.logs[child] = _poses(f"tf of {child}", stamps[child], values[child])
    return tree


def _at(path, tree: Tree, frame: str, root: str, taken: np.ndarray) -> tuple[Poses, np.ndarray]:
    """Poses of a frame in `root`, or in the frame that has no parent where "" is given."""
    chain = []
    while frame in tree.parents and frame != root and len(chain) <= len(tree.parents):
        if frame in tree.torn:
            raise RawDataError(
                f"{path}: tf places {frame} in {tree.parents[frame]} and in {tree.torn[frame]}, and a "
                "position would jump between the two: leave one out of the bag, or name a pose_topic"
            )
        chain.append(frame)
        frame = tree.parents[frame]
    if (not chain and not root) or (root and frame != root) or len(chain) > len(tree.parents):
        raise RawDataError(
            f"{path}: tf holds no way from the pictures' frame to {root or 'a world'}; it holds "
            f"{', '.join(f'{c} in {p}' for c, p in sorted(tree.parents.items())) or 'nothing'}"
        )
    count = len(taken)
    poses = Poses(taken, np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1)))
    reasons = np.full(count, "", dtype=object)
    for part in reversed(chain):
        log = tree.logs[part]
        if part in tree.static:
            inner = log.take(np.full(count, len(log.times) - 1))
        else:
            inner, why = between.interpolate(log, taken, GAP)
            reasons = np.where(reasons == "", why, reasons)
        poses = rigid.chained(poses, inner)
    return poses, reasons.astype(str)


def _mount(tree: Tree, body: str, frame: str, drive: Drive, told: Told) -> np.ndarray:
    """4x4, the camera to the body, of static transforms; else a camera that looks forward from "
    "its middle.
    """
    if not body or not _fixed(tree, frame, body):
        told.warnings.append(
            f"{drive.split}: tf holds no fixed place of {frame or 'the camera'} on "
            f"{body or 'the body'}; positions "
            "and headings are the body's, whose x axis is taken for forward"
        )
        return FORWARD
    poses, _ = _at(drive.name, tree, frame, body, np.zeros(1, np.int64))
    mount = rigid.matrix(poses.turns[0], poses.places[0])
    return mount if "optical" in frame else mount @ FORWARD


def _fixed(tree: Tree, frame: str, body: str) -> bool:
    """Whether static transforms lead from a frame up to a body."""
    for _ in tree.static:
        if frame in tree.static and frame != body:
            frame = tree.parents[frame]
    return frame == body


LAYOUT = Layout(
    title="ROS 1 and ROS 2 bags",
    read=read_rosbag,
    position_unit="m",
    pose_source="the bag's pose topic, interpolated at the pictures' header stamps",
    timed=True,
    keys=("splits",),
    choices={"pose_topic": ""},
)
