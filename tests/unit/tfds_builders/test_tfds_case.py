"""TFDS's own test case of a builder, where TensorFlow is installed (its needs, not ours)."""

import pathlib
import tempfile

import pytest
import tensorflow_datasets as tfds

from tests.helpers import raw_cold, raw_robotcar
from tests.helpers.raw_places import write_raw
from tfds_builders.cold import cold_dataset_builder
from tfds_builders.places_csv import places_csv_dataset_builder
from tfds_builders.robotcar import robotcar_dataset_builder

for need in ("tensorflow", "dill", "apache_beam"):
    pytest.importorskip(need)

pytestmark = pytest.mark.filterwarnings("ignore")


class PlacesCsvTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = places_csv_dataset_builder.Builder
    SPLITS = {"train": 3, "test01": 3}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = write_raw(pathlib.Path(tempfile.mkdtemp()) / "dummy_data")
        super().setUpClass()


class RobotCarTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = robotcar_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("paper",)
    SPLITS = {"train": 3, "reference": 4, "test01": 5, "test02": 6}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = pathlib.Path(tempfile.mkdtemp()) / "dummy_data"
        for number, name in enumerate(robotcar_dataset_builder.PAPER.values()):
            files = raw_robotcar.traversal(3 + number, seed=number)
            raw_robotcar.write_archives(cls.EXAMPLE_DIR, name, files)
        super().setUpClass()


class ColdTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = cold_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("paper",)
    SPLITS = {"train": 3, "reference": 4, "test01": 5, "test02": 6, "sunny1": 7}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = pathlib.Path(tempfile.mkdtemp()) / "dummy_data"
        for number, name in enumerate(cold_dataset_builder.PAPER.values()):
            path = cls.EXAMPLE_DIR / f"{name}.tar"
            raw_cold.write_archive(path, raw_cold.run(3 + number, number))
        super().setUpClass()
