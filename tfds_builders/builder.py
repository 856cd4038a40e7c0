"""The base of all builders turns a plan of posed frames into TFDS records in time order.

A builder lists the frames of its raw data (`plan`) and turns one into pixels (`read`, `decode`).
All cores encode into a work folder; one writer then writes the records in order. TFDS's own in-order
writer needs TensorFlow beyond 1 GB and sorts a whole split in memory.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import PIL
import tensorflow_datasets as tfds

from tfds_builders import digests, doubts, encoding, images, sixteen_bit, writer
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_frames, check_split_names
from tfds_builders.frames import Frames
from tfds_builders.images import Stored
from tfds_builders.pixels import Pixels
from tfds_builders.poses import route
from tfds_builders.schema import PlacesConfig, features, record

# Keys that earlier datasets lack, and what those did; the metadata omit them at that value.
LATER = {
    "resize": "stretch",
    "sixteen_bit": "",
    "kernel": "opencv",
    "protocol": "",
    "choices": {},
    "splits": {},
    "world": "town",
}


@dataclasses.dataclass
class Plan:
    """The frames of a dataset before any pixel is read.

    Attributes:
      splits: frames of each split (sequence), in time order.
      pose_source: origin of the positions, e.g. "INS, interpolated".
      position_unit: unit of `position`.
      found: images per split, before any is dropped.
      dropped: per split, number of dropped images by reason.
      warnings: sentences the user should read, e.g. counts that differ from the paper's.
      notes: further JSON values for the dataset's metadata.
      unlocated: whether a frame may have no position, as a query's may.
      altitudes: metres by image id, where known.
      looks: split to degrees clockwise from forward to where its camera looks, where known.
      ordered: whether a split keeps time order, so that its motion can be told.
      free: whether a camera may move to any side.
      timed: whether timestamps are microseconds, else they number frames.
    """

    splits: dict[str, Sequence[Frame]]
    pose_source: str
    position_unit: str = "m"
    found: dict[str, int] = dataclasses.field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    unlocated: bool = False
    altitudes: dict[str, float] = dataclasses.field(default_factory=dict)
    looks: dict[str, float] = dataclasses.field(default_factory=dict)
    ordered: bool = True
    free: bool = False
    timed: bool = True

    def metadata(self) -> dict[str, Any]:
        """The dataset's metadata, which TFDS saves as metadata.json."""
        counts = {
            name: {
                "found": self.found.get(name, len(frames)),
                "kept": len(frames),
                "dropped": self.dropped.get(name, {}),
            }
            for name, frames in self.splits.items()
        }
        return {
            "pose_source": self.pose_source,
            "position_unit": self.position_unit,
            "counts": counts,
            "warnings": self.warnings,
            **self.notes,
        }

    def check_motion(self) -> None:
        """Adds the motion of each split to the notes, and a warning where it doubts a map."""
        if self.position_unit != "m" or not self.ordered:
            return
        told, doubted = route.check(self.splits, self.altitudes, self.looks, self.free, self.timed)
        if told:
            self.notes["motion"] = told
        self.warnings += doubted

    def count_differences(
        self, names: dict[str, str], paper: dict[str, int], table: str
    ) -> Iterator[tuple[str, str]]:
        """Yields a split and a warning where a raw sequence has another count than the paper.

        Args:
          names: split to raw sequence.
          paper: raw sequence to the paper's count of images.
          table: name of the paper's table.
        """
        for split, name in names.items():
            if name in paper and self.found[split] != paper[name]:
                yield (
                    split,
                    f"{split} ({name}): {self.found[split]} images found, the paper's {table} has "
                    f"{paper[name]} ({self.found[split] - paper[name]:+d})",
                )


class PlacesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The base of builders that read images from `manual_dir`.

    A subclass sets `VERSION`, `BUILDER_CONFIGS` (of PlacesConfig or a subclass) and
    `MANUAL_DOWNLOAD_INSTRUCTIONS`, and implements `plan`.
    """

    _limits: sixteen_bit.Range | None = None  # of 16-bit values; `checked_plan` sets it

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """The frames in `manual_dir`.

        Raises:
          RawDataError: names every problem.
        """
        raise NotImplementedError

    def checked_plan(self, manual_dir: pathlib.Path) -> Plan:
        """`plan`, with splits that TFDS can open and values that records can hold.

        Raises:
          RawDataError: names every problem.
        """
        plan = self.plan(manual_dir)
        check_split_names(str(manual_dir), plan.splits)
        if empty := [name for name, frames in plan.splits.items() if not frames]:
            raise RawDataError(f"{manual_dir}: no image is left in split {', '.join(empty)}")
        for name in plan.splits:
            plan.splits[name] = Frames.of(plan.splits[name])  # lets go of the list
        check_frames(itertools.chain(*plan.splits.values()), plan.unlocated)
        plan.warnings += doubts.of_poses(plan.splits, plan.position_unit, plan.free)
        plan.check_motion()
        config: PlacesConfig = self.builder_config
        self._limits = sixteen_bit.fixed(config.sixteen_bit)
        if config.sixteen_bit == "percentiles":
            every = Frames.joined([*plan.splits.values()])
            self._limits = sixteen_bit.percentiles(every, self.read, self.where)
        return plan

    def raw_state(self, manual_dir: pathlib.Path) -> dict[str, str]:
        """Cheap fingerprints of the raw data by name, which show a later run that they differ."""
        del manual_dir
        return {}

    def read(self, frame: Frame) -> bytes:
        """Raw bytes of a frame, whose `source` is a path; raises RawDataError."""
        try:
            return pathlib.Path(frame.source).read_bytes()
        except OSError as error:
            raise RawDataError(f"{frame.source} cannot be read: {error.strerror}") from error

    def fingerprint(self, frame: Frame) -> str:
        """Path, size and modification time, which change with the frame's raw bytes."""
        stat = pathlib.Path(frame.source).stat()
        return f"{frame.source}:{stat.st_size}:{stat.st_mtime_ns}"

    def where(self, frame: Frame) -> str:
        """The frame's file as a message names it."""
        return str(frame.source)

    def decode(self, raw: bytes, frame: Frame) -> np.ndarray:
        """Pixels of a frame: uint8 `(h, w, 3)` BGR."""
        if self._limits and sixteen_bit.is_deep(raw):
            return sixteen_bit.decode(raw, self.where(frame), self._limits)
        return images.decode(raw, self.where(frame))

    def encode(self, frame: Frame) -> Stored:
        """Reads, decodes, resizes and encodes one frame."""
        raw = self.read(frame)
        image = self.decode(raw, frame)
        stored = images.store(raw, image, self.builder_config)
        return stored._replace(raw_size=image.shape[:2], levels=self._levels(raw, image))

    def encode_anew(self, frame: Frame) -> Stored:
        """Encodes one frame whose raw bytes are not the picture to store, as PNG unless the config says."""
        config: PlacesConfig = self.builder_config
        image = self.decode(self.read(frame), frame)
        fitted = images.fit(image, config)
        data = images.encode(fitted, config.image_format or "png", config.quality)
        return Stored(data, *fitted.shape[:2], image.shape[:2])

    def look(self, frame: Frame, raw: bytes) -> tuple[tuple[int, int], bytes]:
        """Height and width of a frame's raw bytes, and `Stored.levels`; raises RawDataError."""
        image = self.decode(raw, frame)
        return image.shape[:2], self._levels(raw, image)

    def _levels(self, raw: bytes, image: np.ndarray) -> bytes:
        return sixteen_bit.levels(image) if sixteen_bit.is_deep(raw) else b""

    def pixels(self) -> Pixels:
        """Collects what the images of this dataset hold; `checked_plan` comes before."""
        return Pixels(self.builder_config, self._limits)

    def _info(self) -> tfds.core.DatasetInfo:
        config: PlacesConfig = self.builder_config
        config.check()
        return self.dataset_info_from_configs(
            features=features(
                *(0, 0) if config.resize == "shorter_side" else (config.height, config.width)
            ),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _plan_with_metadata(self, dl_manager) -> Plan:
        manual_dir = pathlib.Path(dl_manager.manual_dir)
        plan = self.checked_plan(manual_dir)
        self.info.metadata.update(plan.metadata())
        self.info.metadata["config"] = config_values(self.builder_config)
        self.info.metadata["raw"] = self.raw_state(manual_dir)
        self.info.metadata["made_by"] = made_by()
        return plan

    def _generate_splits(self, dl_manager, download_config):
        """TFDS's hook from the raw data to the splits' infos."""
        if download_config.beam_runner or download_config.beam_options:
            return super()._generate_splits(dl_manager, download_config)
        plan = self._plan_with_metadata(dl_manager)
        limit = download_config.max_examples_per_split
        splits = {name: frames[:limit] for name, frames in plan.splits.items()}
        recipe = json.dumps(
            [config_values(self.builder_config), str(self.version), cv2.__version__, self._limits]
        )
        store = encoding.ChunkStore(work_dir(self), recipe, self.encode, self.fingerprint)
        chunks, problems = {}, []
        for name, frames in splits.items():
            try:
                chunks[name] = store.fill(frames, name)
            except RawDataError as error:
                problems += error.problems
        if problems:
            raise RawDataError(*problems)
        self._check_sizes(splits, chunks)
        self._tell_pixels(splits, chunks)
        infos = [
            writer.write_split(self, name, frames, chunks[name]) for name, frames in splits.items()
        ]
        found = {name: digests.read(self.data_path, name) for name in splits}
        self.info.metadata["warnings"] += digests.warnings(found)
        return infos

    def _post_download_and_prepare_hook(self) -> None:
        """Removes the encoded chunks of a complete dataset."""
        shutil.rmtree(work_dir(self), ignore_errors=True)

    def _check_sizes(self, splits, chunks) -> None:
        """Raises RawDataError where two images differ in size; a size in the config rules that out."""
        first = None
        for name, frames in splits.items():
            for frame, (_, stored) in zip(frames, chunks[name].headers(), strict=True):
                size = [stored.height, stored.width]
                first = first or (self.where(frame), size)
                if size != first[1]:
                    shorter = self.builder_config.resize == "shorter_side"
                    raise RawDataError(sizes_differ(self.where(frame), size, *first, shorter))

    def _tell_pixels(self, splits, chunks) -> None:
        """Adds to the metadata what the pixels hold; raises RawDataError at too few grey levels."""
        pixels = self.pixels()
        for name, frames in splits.items():
            for frame, (_, stored) in zip(frames, chunks[name].headers(), strict=True):
                pixels.add(name, self.where(frame), stored.raw_size, stored.levels)
        metadata = self.info.metadata
        metadata["warnings"] = [*metadata["warnings"], *pixels.warnings()]
        metadata.update(pixels.notes())

    def _split_generators(self, dl_manager):
        """For Beam: one transform per split."""
        plan = self._plan_with_metadata(dl_manager)
        return {name: self._generate_examples(frames) for name, frames in plan.splits.items()}

    def _generate_examples(self, frames: Sequence[Frame]):
        """For Beam: frames to records on any runner; keys keep the order."""
        beam = tfds.core.lazy_imports.apache_beam
        limits = self._limits

        def example(item):
            key, frame = item
            self._limits = limits  # a worker's builder has made no plan
            return key, record(frame, self.encode(frame).data)

        return beam.Create(list(enumerate(frames))) | beam.Reshuffle() | beam.Map(example)


class ArchiveBuilder(PlacesBuilder, skip_registration=True):
    """The base of builders whose frames have an `archives.Source`."""

    def read(self, frame: Frame) -> bytes:
        """The image's bytes, from a file or an archive; raises RawDataError."""
        return frame.source.read()

    def fingerprint(self, frame: Frame) -> str:
        """The bytes' place, with the file's or archive's size and time."""
        return str(tuple(frame.source))


def sizes_differ(where: str, size, first: str, first_size, shorter_side: bool) -> str:
    """The message on an image whose size is not the first one's."""
    return (
        f"{where} is {size[0]}x{size[1]} (height x width) where {first} is "
        f"{first_size[0]}x{first_size[1]}; give height and width in the config"
        + (", and resize pad, crop or stretch" if shorter_side else "")
    )


def made_by() -> dict[str, str]:
    """The versions of the packages that decide a dataset's bytes."""
    return {"opencv": cv2.__version__, "pillow": PIL.__version__, "tfds": tfds.__version__}


def work_dir(builder) -> pathlib.Path:
    """The folder of finished chunks until the dataset is complete."""
    return pathlib.Path(builder.data_dir_root) / f"{builder.info.full_name}.work"


def config_values(config: PlacesConfig) -> dict[str, Any]:
    """A config's values as JSON, without TFDS's bookkeeping."""
    values = dataclasses.asdict(config)
    for key in ("version", "release_notes", "supported_versions", "tags", "description"):
        values.pop(key, None)
    for key, before in LATER.items():
        if values.get(key) == before:
            del values[key]
    return json.loads(json.dumps(values, default=str))
