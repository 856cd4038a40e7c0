"""The TFDS builder of a rendered drive or walk with exact poses and no raw data."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import images
from tfds_builders.builder import config_values
from tfds_builders.encoding import cores
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.schema import PlacesConfig, features, record
from tfds_builders.synthetic import drive, render, rooms
from tfds_builders.synthetic.conditions import CONDITIONS
from tfds_builders.synthetic.world import make_world

CHUNK = 32  # frames per task
MOST_BYTES = 1000 << 20  # limit of TFDS's in-order writer without TensorFlow
WORLDS = {"town": (make_world, drive.occluders), "rooms": (rooms.make_rooms, rooms.furniture)}
TRAIN = ("cloudy", "low_sun", "blue_hour", "night")  # the conditions of training laps, in turn


@dataclasses.dataclass
class SyntheticConfig(PlacesConfig):
    """The world and the size of the drive, which is rendered at `height x width`.

    Attributes:
      world: "town", or "rooms": corridors and rooms of a building. The sun shines into it as if it
        had no ceiling.
      seed: of the world and of all laps.
      route_length: metres.
      train: frames of the training split, spread over its laps.
      train_laps: laps of the training split, each with its own vehicles and line.
      reference: frames of the reference split.
      test01: frames of the test under moderate change (sun).
      test02: frames of the test under hard change (night).
    """

    height: int = 96
    width: int = 128
    image_format: str = "jpeg"
    world: str = "town"
    seed: int = 0
    route_length: float = 300.0
    train: int = 600
    train_laps: int = 4
    reference: int = 300
    test01: int = 300
    test02: int = 300

    def check(self) -> None:
        """Raises RawDataError where a value cannot be used."""
        super().check()
        if self.world not in WORLDS:
            raise RawDataError(f"world is {self.world!r}; give {' or '.join(map(repr, WORLDS))}")
        if not 0 <= self.seed < 2**32:
            raise RawDataError(f"seed is {self.seed}; give a whole number from 0 to 4,294,967,295")
        if min(self.height, self.width) < 16 or not self.image_format:
            raise RawDataError(
                "a synthetic config needs a height and width of 16 or more and a format"
            )
        if not 1 <= self.train_laps <= min(self.train, 100):
            raise RawDataError(
                f"train_laps is {self.train_laps}; give 1 to 100, and no more than the {self.train} "
                "train frames"
            )
        if min(self.reference, self.test01, self.test02) < 1:
            raise RawDataError("every split of a synthetic config needs a frame")
        size = self.height * self.width * (3 if self.image_format == "png" else 1)
        most = max(self.train, self.reference, self.test01, self.test02)
        if most * size > MOST_BYTES:
            raise RawDataError(
                f"a split of {most:,} images of {self.height}x{self.width} may take more than "
                f"{MOST_BYTES >> 20:,} MiB, TFDS's limit without TensorFlow; give "
                f"{MOST_BYTES // size:,} images or fewer, or a smaller size"
            )
        longest = rooms.LONGEST if self.world == "rooms" else 20_000
        if not 60 <= self.route_length <= longest:
            raise RawDataError(
                f"route_length is {self.route_length}; give 60 to {longest:g} metres"
            )

    def laps(self) -> dict[str, list[drive.Lap]]:
        """The laps of every split, at least `PAUSE` apart: 660 s from start to start on 300 m."""
        later = self.route_length / drive.SPEED + drive.PAUSE
        counts = [len(part) for part in np.array_split(np.arange(self.train), self.train_laps)]
        return {
            "train": [
                drive.Lap(f"train/lap{i}", TRAIN[i % len(TRAIN)], count, i * later)
                for i, count in enumerate(counts)
            ],
            "reference": [drive.Lap("reference", "cloudy", self.reference, 100 * later)],
            "test01": [drive.Lap("test01", "sunny", self.test01, 200 * later)],
            "test02": [drive.Lap("test02", "night", self.test02, 300 * later)],
        }


class Builder(tfds.core.GeneratorBasedBuilder):
    """Laps of a closed route: train (several laps), reference, test01, test02."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {  # noqa: RUF012  # TFDS's own attribute
        "1.0.0": "First version.",
        "1.1.0": "Training laps are cloudy, low sun, blue hour and night; default has twelve.",
    }
    BUILDER_CONFIGS = [  # noqa: RUF012
        SyntheticConfig(
            name="default",
            description="300 m, 4,500 images of 64x48, twelve training laps.",
            height=48,
            width=64,
            train=3600,
            train_laps=12,
            reference=300,
            test01=300,
            test02=300,
        ),
        SyntheticConfig(
            name="tiny",
            description="For tests: 150 m, 48 training images of 64x48, 24 per other split.",
            height=48,
            width=64,
            route_length=150.0,
            train=48,
            reference=24,
            test01=24,
            test02=24,
        ),
        SyntheticConfig(
            name="rooms",
            description="150 m through a building, 4,500 images of 64x48, twelve training laps.",
            world="rooms",
            height=48,
            width=64,
            route_length=150.0,
            train=3600,
            train_laps=12,
            reference=300,
            test01=300,
            test02=300,
        ),
        SyntheticConfig(
            name="cold_sized",
            description="The counts of COLD (paper, Table II).",
            route_length=500.0,
            train=1036,
            reference=1371,
            test01=1021,
            test02=970,
        ),
        SyntheticConfig(
            name="hard",
            description="2 km, frames a metre apart, 224x224.",
            height=224,
            width=224,
            route_length=2000.0,
            train=4000,
            reference=2000,
            test01=2000,
            test02=2000,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config: SyntheticConfig = self.builder_config
        config.check()
        return self.dataset_info_from_configs(
            features=features(config.height, config.width),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager
        laps = self.builder_config.laps()
        self.info.metadata.update(
            pose_source="analytic",
            position_unit="m",
            config=config_values(self.builder_config),
            seed=self.builder_config.seed,
            conditions={split: [lap.condition for lap in of] for split, of in laps.items()},
        )
        return {split: self._generate_examples(of) for split, of in laps.items()}

    def _generate_examples(self, laps: list[drive.Lap]):
        """Records in time order; frames of more than one chunk are rendered on all cores."""
        config: SyntheticConfig = self.builder_config
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(SyntheticConfig)}
        values = {k: v for k, v in values.items() if k in RENDERED}
        tasks = [(lap, first) for lap in laps for first in range(0, lap.count, CHUNK)]
        with contextlib.ExitStack() as stack:
            over = map  # a process starts in the time of hundreds of small frames
            if len(tasks) > 1:
                context = multiprocessing.get_context("spawn")
                pool = concurrent.futures.ProcessPoolExecutor(cores(), mp_context=context)
                over = stack.enter_context(pool).map
            number = 0
            for chunk in over(render_chunk, [values] * len(tasks), *zip(*tasks, strict=True)):
                for frame, data in chunk:
                    yield number, record(frame, data)
                    number += 1


# The config values that decide the pixels: what a rendering process is sent.
RENDERED = ("height", "width", "image_format", "quality", "world", "seed", "route_length")


def render_chunk(config: dict, lap: drive.Lap, first: int) -> list[tuple[Frame, bytes]]:
    """Frames `first .. first + CHUNK` of a lap with their encoded images."""
    seed = config["seed"]
    scene = make_scene(config["world"], seed, config["route_length"], lap)
    positions, headings, times = drive.poses(scene.world, lap, seed)
    out = []
    for i in range(first, min(first + CHUNK, lap.count)):
        noise = int(lap.rng(seed, 3 + i).integers(2**31))
        size = config["height"], config["width"]
        image = render.render(scene, positions[i], headings[i], *size, seed=noise)
        frame = Frame(
            image_id=f"{lap.name}/{i:06d}",
            position=(float(positions[i, 0]), float(positions[i, 1])),
            heading=float(headings[i]),
            timestamp=int(times[i]),
            label=lap.condition,
        )
        out.append((frame, images.encode(image, config["image_format"], config["quality"])))
    return out


@functools.lru_cache(maxsize=1)
def make_scene(kind: str, seed: int, length: float, lap: drive.Lap) -> render.Scene:
    """The lap's scene in a world of `WORLDS`, which a process makes once for all chunks of the lap."""
    make, occluders = WORLDS[kind]
    world = make(seed, length)
    return render.make_scene(world, CONDITIONS[lap.condition], occluders(world, lap, seed))
