"""What every builder shares: from a plan of posed frames to TFDS records in time order.

A builder says which frames its raw data holds (`plan`) and how one becomes pixels (`read`, `decode`).
Encoding runs on all cores into a work folder, then the records are written in order. TFDS's own
in-order writer is not used: it needs TensorFlow beyond 1 GB and then sorts a whole split in memory.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import encoding, images, writer
from tfds_builders.errors import RawDataError
from tfds_builders.images import Stored
from tfds_builders.schema import (
    Frame,
    PlacesConfig,
    check_frames,
    check_split_names,
    features,
    record,
)


@dataclasses.dataclass
class Plan:
    """The frames of a dataset before any pixel is read.

    Attributes:
      splits: frames of each split (sequence), in time order.
      pose_source: where positions come from, e.g. "INS, interpolated".
      position_unit: what one unit of `position` is.
      found: images found in each split, before any was dropped.
      dropped: per split, how many were left out for which reason.
      warnings: sentences the user should read, e.g. counts that differ from the paper's.
      notes: anything else worth keeping in the dataset's metadata (JSON values).
    """

    splits: dict[str, list[Frame]]
    pose_source: str
    position_unit: str = "m"
    found: dict[str, int] = dataclasses.field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The dataset's metadata, saved by TFDS as metadata.json."""
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

    def count_differences(
        self, names: dict[str, str], paper: dict[str, int], table: str
    ) -> Iterator[tuple[str, str]]:
        """Splits whose raw sequence has not the paper's count of images, each with a sentence.

        `names` maps splits to raw sequences, `paper` those to the counts of its `table`.
        """
        for split, name in names.items():
            if name in paper and self.found[split] != paper[name]:
                yield (
                    split,
                    f"{split} ({name}): {self.found[split]} images found, the paper's {table} has "
                    f"{paper[name]} ({self.found[split] - paper[name]:+d})",
                )


class PlacesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders whose images come from `manual_dir`.

    A subclass sets `VERSION`, `BUILDER_CONFIGS` (of PlacesConfig or a subclass) and
    `MANUAL_DOWNLOAD_INSTRUCTIONS`, and implements `plan`.
    """

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """The frames in `manual_dir`; raises RawDataError that names every problem."""
        raise NotImplementedError

    def checked_plan(self, manual_dir: pathlib.Path) -> Plan:
        """`plan`, whose splits TFDS can open and whose frames have values that records can hold."""
        plan = self.plan(manual_dir)
        check_split_names(str(manual_dir), plan.splits)
        check_frames(frame for frames in plan.splits.values() for frame in frames)
        return plan

    def raw_state(self, manual_dir: pathlib.Path) -> dict[str, str]:
        """Cheap fingerprints of the raw data, so that a re-run sees when they have changed."""
        del manual_dir
        return {}

    def read(self, frame: Frame) -> bytes:
        """Raw bytes of a frame; `source` is a path unless a subclass says otherwise."""
        try:
            return pathlib.Path(frame.source).read_bytes()
        except OSError as error:
            raise RawDataError(f"{frame.source} cannot be read: {error.strerror}") from error

    def fingerprint(self, frame: Frame) -> str:
        """Changes when the frame's raw bytes change: path, size and modification time."""
        stat = pathlib.Path(frame.source).stat()
        return f"{frame.source}:{stat.st_size}:{stat.st_mtime_ns}"

    def where(self, frame: Frame) -> str:
        """How a message names the frame's file."""
        return str(frame.source)

    def decode(self, raw: bytes, frame: Frame) -> np.ndarray:
        """Pixels of a frame: uint8 `(h, w, 3)` BGR."""
        return images.decode(raw, self.where(frame))

    def encode(self, frame: Frame) -> Stored:
        """Reads, decodes, resizes and encodes one frame."""
        raw = self.read(frame)
        return images.store(raw, self.decode(raw, frame), self.builder_config)

    def _info(self) -> tfds.core.DatasetInfo:
        config: PlacesConfig = self.builder_config
        config.check()
        return self.dataset_info_from_configs(
            features=features(config.height, config.width),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _plan_with_metadata(self, dl_manager) -> Plan:
        manual_dir = pathlib.Path(dl_manager.manual_dir)
        plan = self.checked_plan(manual_dir)
        self.info.metadata.update(plan.metadata())
        self.info.metadata["config"] = config_values(self.builder_config)
        self.info.metadata["raw"] = self.raw_state(manual_dir)
        return plan

    def _generate_splits(self, dl_manager, download_config):
        """TFDS's hook between the raw data and the split infos."""
        if download_config.beam_runner or download_config.beam_options:
            return super()._generate_splits(dl_manager, download_config)
        plan = self._plan_with_metadata(dl_manager)
        limit = download_config.max_examples_per_split
        splits = {name: frames[:limit] for name, frames in plan.splits.items()}
        recipe = json.dumps(
            [config_values(self.builder_config), str(self.version), cv2.__version__]
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
        return [
            writer.write_split(self, name, frames, chunks[name]) for name, frames in splits.items()
        ]

    def _post_download_and_prepare_hook(self) -> None:
        """The dataset is complete: the encoded chunks are no longer needed."""
        shutil.rmtree(work_dir(self), ignore_errors=True)

    def _check_sizes(self, splits, chunks) -> None:
        """Without a size in the config all images must agree."""
        first = None
        for name, frames in splits.items():
            for frame, (_, *size) in zip(frames, chunks[name].headers(), strict=True):
                first = first or (self.where(frame), size)
                if size != first[1]:
                    raise RawDataError(sizes_differ(self.where(frame), size, *first))

    def _split_generators(self, dl_manager):
        """Beam only: one transform a split."""
        plan = self._plan_with_metadata(dl_manager)
        return {name: self._generate_examples(frames) for name, frames in plan.splits.items()}

    def _generate_examples(self, frames: list[Frame]):
        """Beam only: frames to records on whatever runner; keys keep the order."""
        beam = tfds.core.lazy_imports.apache_beam

        def example(item):
            key, frame = item
            return key, record(frame, self.encode(frame).data)

        return beam.Create(list(enumerate(frames))) | beam.Reshuffle() | beam.Map(example)


class ArchiveBuilder(PlacesBuilder, skip_registration=True):
    """Base of the builders whose frames' `source` is an `archives.Source`."""

    def read(self, frame: Frame) -> bytes:
        """The image's bytes, from a file or out of an archive."""
        return frame.source.read()

    def fingerprint(self, frame: Frame) -> str:
        """Where the bytes lie, with the file's or archive's size and time."""
        return str(tuple(frame.source))


def sizes_differ(where: str, size, first: str, first_size) -> str:
    """The sentence for an image whose size is not that of the first one."""
    return (
        f"{where} is {size[0]}x{size[1]} (height x width) where {first} is "
        f"{first_size[0]}x{first_size[1]}; give height and width in the config"
    )


def work_dir(builder) -> pathlib.Path:
    """Where a build keeps finished work until the dataset is complete."""
    return pathlib.Path(builder.data_dir_root) / f"{builder.info.full_name}.work"


def config_values(config: PlacesConfig) -> dict[str, Any]:
    """A config's values as JSON, without TFDS's own bookkeeping."""
    values = dataclasses.asdict(config)
    for key in ("version", "release_notes", "supported_versions", "tags", "description"):
        values.pop(key, None)
    return json.loads(json.dumps(values, default=str))
