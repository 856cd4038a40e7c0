"""TFDS builder for any folder of images with a places.csv."""

import dataclasses
import hashlib
import pathlib

import tensorflow_datasets as tfds

from tfds_builders.builder import PlacesBuilder, Plan
from tfds_builders.places_csv.table import read_table
from tfds_builders.schema import PlacesConfig

TABLE = "places.csv"


@dataclasses.dataclass
class PlacesCsvConfig(PlacesConfig):
    """Size and format of the stored images, and what the positions are.

    Attributes:
      position_unit: what one unit of x and y is; only noted in the metadata.
      pose_source: where the positions come from; only noted in the metadata.
    """

    position_unit: str = "m"
    pose_source: str = TABLE


class Builder(PlacesBuilder):
    """Images and poses from `places.csv`; one split a sequence."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012  # TFDS's own attribute
    BUILDER_CONFIGS = [  # noqa: RUF012
        PlacesCsvConfig(name="default", description="Raw image size and format.")
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir holds places.csv (sequence,image,x,y[,heading][,time][,label]) and the images it "
        "names, with paths relative to it."
    )

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """One split a sequence; raises RawDataError that names every bad row."""
        config: PlacesCsvConfig = self.builder_config
        return Plan(
            splits=read_table(manual_dir / TABLE),
            pose_source=config.pose_source,
            position_unit=config.position_unit,
        )

    def raw_state(self, manual_dir: pathlib.Path) -> dict[str, str]:
        """The table's checksum."""
        return {TABLE: hashlib.sha256((manual_dir / TABLE).read_bytes()).hexdigest()}
