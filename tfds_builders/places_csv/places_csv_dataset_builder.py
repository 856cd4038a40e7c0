"""The TFDS builder of any folder of images with a places.csv or in another usual layout."""

import collections
import dataclasses
import hashlib
import pathlib
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PlacesBuilder, Plan
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_split_names
from tfds_builders.images import Stored
from tfds_builders.places_csv import doubts
from tfds_builders.places_csv.bags import Message
from tfds_builders.places_csv.layouts import LAYOUTS
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.schema import PlacesConfig


@dataclasses.dataclass
class PlacesCsvConfig(PlacesConfig):
    """Layout, positions, and size and format of the stored images.

    Attributes:
      layout: "csv" (places.csv), "utm" (`@utm_east@utm_north@...` names), "aligned" (folders of frames
        where the same number is the same place), "dbstruct" (Pittsburgh, Tokyo 24/7), "photos" (with
        GPS positions in their EXIF data) or another name in `LAYOUTS`.
      splits: for a dataset of drives, split name to drive; empty makes every drive a split.
      position_unit: unit of the positions; "" takes the layout's.
      pose_source: origin of the positions; "" takes the layout's.
      protocol: how figures are counted, by the layout's name for it; "" takes the layout's only one.
      choices: what else the layout lets the user choose, such as cities.
    """

    layout: str = "csv"
    position_unit: str = ""
    pose_source: str = ""
    protocol: str = ""
    choices: dict[str, str] = dataclasses.field(default_factory=dict)
    splits: dict[str, str] = dataclasses.field(default_factory=dict)

    def check(self) -> None:
        """Raises RawDataError where a value cannot be used."""
        super().check()
        if self.layout not in LAYOUTS:
            raise RawDataError(
                f"config key 'layout' is {self.layout!r}; known: {', '.join(LAYOUTS)}"
            )
        LAYOUTS[self.layout].begin(self.choices, self.protocol)
        check_split_names("config key 'splits'", self.splits)
        if self.splits and "splits" not in LAYOUTS[self.layout].keys:
            takers = ", ".join(name for name, layout in LAYOUTS.items() if "splits" in layout.keys)
            raise RawDataError(
                f"config key 'splits' is for the layouts {takers}, and not for {self.layout}; leave it out"
            )


class Builder(PlacesBuilder):
    """Images and poses from `places.csv`, with one split per sequence."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012  # TFDS's own attribute
    BUILDER_CONFIGS = [  # noqa: RUF012
        PlacesCsvConfig(name="default", description="Raw image size and format.")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir holds places.csv (sequence,image,x,y[,heading][,time][,label], or lat,lon instead of "
        "x,y) and its images, with paths relative to it (positions of queries may be empty), or images in "
        "a layout of the config key 'layout'."
    )

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """One split per sequence; raises RawDataError that names every bad row."""
        config: PlacesCsvConfig = self.builder_config
        layout = LAYOUTS[config.layout]
        told = layout.begin(config.choices, config.protocol)
        splits = layout.read(manual_dir, told, **{key: getattr(config, key) for key in layout.keys})
        dropped = {name: collections.Counter() for name in splits}
        for split, _, reason in told.left_out:
            dropped.setdefault(split, collections.Counter())[reason] += 1
        plan = Plan(
            splits=splits,
            pose_source=config.pose_source or layout.pose_source,
            position_unit=config.position_unit or layout.position_unit,
            found={name: len(splits[name]) + dropped[name].total() for name in splits},
            dropped={name: dict(dropped[name]) for name in splits},
            notes=_notes(layout, told),
            unlocated=layout.unlocated,
            altitudes=told.altitudes,
            looks=told.looks,
            ordered=not layout.untimed or not all(map(doubts.counted, splits.values())),
            free=layout.free,
            timed=layout.timed,
        )
        plan.warnings += told.warnings
        plan.warnings += doubts.warnings(layout, splits)
        return plan

    def read(self, frame: Frame) -> bytes:
        """Raw bytes of a frame, from a file or a bag; raises RawDataError."""
        return frame.source.read() if isinstance(frame.source, Message) else super().read(frame)

    def fingerprint(self, frame: Frame) -> str:
        """What changes with the frame's raw bytes."""
        if isinstance(frame.source, Message):
            return frame.source.fingerprint()
        return super().fingerprint(frame)

    def decode(self, raw: bytes, frame: Frame) -> np.ndarray:
        """Pixels of a frame, upright: uint8 `(h, w, 3)` BGR."""
        image = super().decode(raw, frame)
        return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE) if self._sideways else image

    def encode(self, frame: Frame) -> Stored:
        """Encodes a frame; anew where the layout turns its picture."""
        return self.encode_anew(frame) if self._sideways else super().encode(frame)

    @property
    def _sideways(self) -> bool:
        return LAYOUTS[self.builder_config.layout].sideways

    def raw_state(self, manual_dir: pathlib.Path) -> dict[str, str]:
        """The SHA-256 of the layout's table; empty where it has none."""
        table = LAYOUTS[self.builder_config.layout].table
        if not table or not (manual_dir / table).is_file():
            return {}
        return {table: hashlib.sha256((manual_dir / table).read_bytes()).hexdigest()}


def _notes(layout: Layout, told: Told) -> dict[str, Any]:
    """What the metadata keep of the coordinate system, the protocol and the layout's own notes."""
    notes = {"crs": told.crs} if told.crs else {}
    if told.protocol:
        notes["protocol"] = {"name": told.protocol, **layout.protocols[told.protocol]._asdict()}
    return {**notes, **told.notes}
