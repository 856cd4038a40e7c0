"""The TFDS builder of Oxford Radar RobotCar and Oxford RobotCar."""

import dataclasses
import functools
import pathlib

import cv2
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import images
from tfds_builders.builder import ArchiveBuilder, Plan
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_split_names
from tfds_builders.images import Stored
from tfds_builders.robotcar import poses, traversal
from tfds_builders.robotcar.camera import (
    camera,
    check_lut_path,
    demosaic,
    read_lut,
    undistort,
)
from tfds_builders.schema import PlacesConfig

PAPER = {
    "train": "2019-01-10-11-46-21-radar-oxford-10k",
    "reference": "2019-01-10-12-32-52-radar-oxford-10k",
    "test01": "2019-01-11-12-26-55-radar-oxford-10k",
    "test02": "2019-01-16-14-15-33-radar-oxford-10k",
}
PAPER_COUNTS = {"train": 37_724, "reference": 36_660, "test01": 32_625, "test02": 28_633}  # Table I
POSE_SOURCES = {
    "ins": "INS, interpolated",
    "gps": "GPS, interpolated",
    "radar_odometry": "radar odometry, integrated",
}


OWN_FRAME = "starts at (0, 0) looking north: not shared between traversals"
POSELESS = 0.1  # share of images without a pose above which the builder warns


@dataclasses.dataclass
class RobotCarConfig(PlacesConfig):
    """Traversals, camera, poses, and size and format of the stored images.

    Attributes:
      traversals: split name to traversal id.
      camera: mono_left, mono_right, mono_rear, stereo_left, stereo_centre or stereo_right.
      pose: "ins", "gps" or "radar_odometry".
      undistort: the camera's `*_distortion_lut.bin` of the SDK; "" keeps the fisheye.
      every_metres: least distance from the last kept image, metres; 0 keeps all.
      max_gap: seconds between two poses above which images between them have none.
      min_coverage: smallest share of a traversal's images that the pose log must span.
    """

    height: int = 256
    width: int = 256
    image_format: str = "jpeg"
    traversals: dict[str, str] = dataclasses.field(default_factory=lambda: dict(PAPER))
    camera: str = "mono_left"
    pose: str = "ins"
    undistort: str = ""
    every_metres: float = 0.0
    max_gap: float = 1.0
    min_coverage: float = 0.75

    def check(self) -> None:
        """Raises RawDataError where a value cannot be used."""
        super().check()
        camera(self.camera)
        if self.pose not in poses.POSES:
            raise RawDataError(
                f"config key 'pose' is {self.pose!r}; known: {', '.join(poses.POSES)}"
            )
        if not isinstance(self.traversals, dict) or not self.traversals:
            raise RawDataError(
                "config key 'traversals' must map split names to traversal ids, "
                'e.g. {"train": "2019-01-10-11-46-21-radar-oxford-10k"}'
            )
        check_split_names("config key 'traversals'", self.traversals)
        for key in ("every_metres", "max_gap", "min_coverage"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise RawDataError(f"config key {key!r} is {value!r}; give a number of 0 or more")
        check_lut_path(self.undistort)


class Builder(ArchiveBuilder):
    """One camera of RobotCar with interpolated poses and one split per traversal."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012  # TFDS's own attribute
    BUILDER_CONFIGS = [  # noqa: RUF012
        RobotCarConfig(name="paper", description="The study's four traversals, mono_left, INS.")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir holds, per traversal, the camera's and the gps archives as downloaded (.tar or .zip), "
        "or the unpacked folder; register at https://oxford-robotics-institute.github.io/"
        "radar-robotcar-dataset/ to download them."
    )

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """The posed frames of every traversal; counts drops by reason; raises RawDataError."""
        config: RobotCarConfig = self.builder_config
        plan = Plan(splits={}, pose_source=POSE_SOURCES[config.pose])
        plan.notes = {"traversals": config.traversals, "camera": config.camera, "poses": {}}
        problems: list[str] = []
        for split, name in config.traversals.items():
            try:
                self._add(plan, split, traversal.find(manual_dir, name, camera(config.camera)))
            except RawDataError as error:
                problems += error.problems
        if problems:
            raise RawDataError(*problems)
        if config.camera == "mono_left":
            check_counts(plan, config.traversals)
        return plan

    def _add(self, plan: Plan, split: str, found: traversal.Traversal) -> None:
        config: RobotCarConfig = self.builder_config
        listed = traversal.images(found, camera(config.camera))
        log, notes = _pose_log(found, config)
        if notes.get("frame") == OWN_FRAME and len(config.traversals) > 1:
            raise RawDataError(
                f"radar odometry of traversal {found.name} cannot be moved onto the INS track that several "
                f"traversals need ({poses.POSES['ins']} is missing or too short); download its gps "
                "archive, or choose pose ins or gps"
            )
        posed = poses.interpolate(log, listed.times, config.max_gap)
        covered = 1 - np.mean(posed.reasons == poses.OUTSIDE)
        if covered < config.min_coverage:
            where = found.files[poses.POSES[config.pose]]
            raise RawDataError(
                f"{where} spans {covered:.0%} of the {len(listed.times)} images of traversal "
                f"{found.name}; download it again, or lower the config's min_coverage "
                f"({config.min_coverage}) to drop the others"
            )
        keep = posed.reasons == ""
        dropped = {
            reason: int((posed.reasons == reason).sum()) for reason in set(posed.reasons) - {""}
        }
        dropped = {str(reason): count for reason, count in sorted(dropped.items())}
        _warn_of_loss(plan, f"{split} ({found.name})", listed, keep)
        _warn_of_order(plan, f"{split} ({found.name})", listed, log)
        if config.every_metres > 0:
            chosen = np.flatnonzero(keep)
            near = ~poses.thin(posed.positions[chosen], config.every_metres)
            keep[chosen[near]] = False
            dropped[f"within {config.every_metres:g} m of the last kept image"] = int(near.sum())
        if not keep.any():
            raise RawDataError(
                f"traversal {found.name} has no image with a usable pose: {dropped}; "
                "choose another pose source or check its log"
            )
        plan.splits[split] = [
            Frame(
                image_id=f"{found.name}/{listed.times[i]}",
                position=tuple(posed.positions[i]),
                heading=float(posed.headings[i]),
                timestamp=int(listed.times[i]),
                source=listed.sources[i],
            )
            for i in np.flatnonzero(keep)
        ]
        plan.found[split], plan.dropped[split] = len(listed.times), dropped
        if listed.missing:
            notes["images_listed_without_a_file"] = listed.missing
        plan.notes["poses"][split] = notes | _compare_with_gps(found, config, posed, listed.times)

    def fingerprint(self, frame: Frame) -> str:
        """The bytes' place, size and time, and the undistortion table's time."""
        table = self.builder_config.undistort
        stamp = pathlib.Path(table).expanduser().stat().st_mtime_ns if table else ""
        return f"{super().fingerprint(frame)}{stamp}"

    def decode(self, raw: bytes, frame: Frame) -> np.ndarray:
        """Pixels of a frame, demosaiced, and undistorted where the config has a table; BGR."""
        config: RobotCarConfig = self.builder_config
        where = self.where(frame)
        if raw.startswith(images.JPEG):
            raise RawDataError(
                f"{where} is a JPEG, which mixes the colours of a Bayer pattern; use the images as "
                "downloaded"
            )
        mosaic = images.decode(raw, where, cv2.IMREAD_UNCHANGED)
        image = demosaic(mosaic, camera(config.camera).pattern, where)
        if config.undistort:
            image = undistort(image, _lut(config.undistort, *image.shape[:2]))
        return image

    def encode(self, frame: Frame) -> Stored:
        """Encodes one frame anew, since its raw bytes are a Bayer pattern."""
        return self.encode_anew(frame)


def _warn_of_loss(plan: Plan, which: str, listed: traversal.Images, keep: np.ndarray) -> None:
    """Adds a warning where listed images are missing, or more than `POSELESS` have no pose."""
    if listed.missing:
        plan.warnings.append(
            f"{which}: {listed.missing} of {listed.missing + len(keep)} listed images are not there; "
            "download (and unpack) the other chunks of the archive"
        )
    if keep.mean() < 1 - POSELESS:
        plan.warnings.append(
            f"{which}: {int((~keep).sum())} of {len(keep)} images have no usable pose and are left out; "
            "see counts in metadata.json for the reasons"
        )


def _warn_of_order(plan: Plan, which: str, listed: traversal.Images, log: poses.PoseLog) -> None:
    """Adds a warning where rows of poses or of image times are not in ascending order."""
    if log.unsorted or log.repeats:
        plan.warnings.append(
            f"{which}: {log.unsorted} pose rows out of time order are sorted, and {log.repeats} that "
            "repeat an earlier row's time are left out"
        )
    if listed.unsorted:
        plan.warnings.append(
            f"{which}: {listed.unsorted} rows of the image times are out of order or repeated; the images "
            "are in time order"
        )


@functools.lru_cache(maxsize=2)
def _lut(path: str, height: int, width: int) -> np.ndarray:
    return read_lut(str(pathlib.Path(path).expanduser()), height, width)


def _pose_log(found: traversal.Traversal, config: RobotCarConfig) -> tuple[poses.PoseLog, dict]:
    """The pose log and notes on it; an INS track turns and shifts radar odometry onto itself."""
    log = poses.READERS[config.pose](*found.read(poses.POSES[config.pose], f"{config.pose} poses"))
    notes = {"rows": len(log.times), "repeated_times": log.repeats}
    if log.unsorted:
        notes["unsorted_rows"] = log.unsorted
    if config.pose == "radar_odometry":
        notes["frame"] = OWN_FRAME
        if poses.POSES["ins"] in found.files:
            ins = poses.read_ins(*found.read(poses.POSES["ins"], "INS poses"))
            try:
                log = poses.align(log, ins, config.max_gap)
                notes["frame"] = "UTM: one rotation and shift onto the INS track, least squares"
            except ValueError:
                pass
    return log, notes


def _compare_with_gps(found, config, posed: poses.Posed, times: np.ndarray) -> dict:
    """Statistics of the distance (metres) between the chosen poses and GPS at the images' times."""
    if config.pose == "gps" or poses.POSES["gps"] not in found.files:
        return {}
    gps = poses.read_gps(*found.read(poses.POSES["gps"], "GPS poses"))
    other = poses.interpolate(gps, times, config.max_gap)
    both = (posed.reasons == "") & (other.reasons == "")
    if not both.any():
        return {}
    apart = np.linalg.norm(posed.positions[both] - other.positions[both], axis=1)
    return {
        "gps_median_m": round(float(np.median(apart)), 3),
        "gps_p95_m": round(float(np.percentile(apart, 95)), 3),
        "gps_over_10m": int((apart > 10).sum()),
    }


def check_counts(plan: Plan, traversals: dict[str, str]) -> None:
    """Adds a warning for each count that differs from the paper's Table I."""
    paper = {PAPER[split]: count for split, count in PAPER_COUNTS.items()}
    for split, sentence in plan.count_differences(traversals, paper, "Table I"):
        plan.warnings.append(f"{sentence}; {len(plan.splits[split])} kept")
