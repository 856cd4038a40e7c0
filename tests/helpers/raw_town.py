"""Raw trees of drives through the synthetic town, in RobotCar's and COLD's layouts."""

import functools
import pathlib

import numpy as np

from tests.helpers import raw_cold, raw_robotcar
from tfds_builders.cold.cold_dataset_builder import PAPER as SEQUENCES
from tfds_builders.robotcar.robotcar_dataset_builder import PAPER as TRAVERSALS
from tfds_builders.synthetic import drive, render
from tfds_builders.synthetic.synthetic_dataset_builder import make_scene

SEED, LENGTH, SIZE = 0, 150.0, (48, 64)
EAST, NORTH = 620_000.0, 5_735_000.0
START = 1_547_120_789_640_420  # microseconds
CONDITIONS = {"train": "low_sun", "reference": "cloudy", "test01": "sunny", "test02": "night"}


@functools.cache
def lap(split: str, count: int):
    """One drive: its lap, the town, and positions, headings, times and pictures of its frames."""
    this = drive.Lap(split, CONDITIONS.get(split, "sunny"), count)
    scene = make_scene("town", SEED, LENGTH, this)
    positions, headings, times = drive.poses(scene.world, this, SEED)
    pictures = [
        render.render(scene, position, heading, *SIZE, seed=i)
        for i, (position, heading) in enumerate(zip(positions, headings, strict=True))
    ]
    return this, scene.world, positions, headings, START + times, pictures


def ins_csv(this: drive.Lap, world, density: int = 20) -> bytes:
    """The INS log of a lap: `density` poses an image, from before the first to after the last image.

    A lap of more frames follows the same track; its first pose closes the loop.
    """
    dense = drive.Lap(this.name, this.condition, this.count * density)
    positions, headings, times = drive.poses(world, dense, SEED)
    positions = np.concatenate([positions, positions[:1]]) + np.array((EAST, NORTH))
    times = START + np.append(times, times[0] + round(world.length / drive.SPEED * 1e6))
    yaw = np.pi / 2 - np.append(headings, headings[0])
    lines = [raw_robotcar.ins_rows([]).strip()]
    for (east, north), time, turn in zip(positions, times, yaw, strict=True):
        lines.append(
            f"{time},INS_SOLUTION_GOOD,51.76,-1.25,110.5,{north:.6f},{east:.6f},-110.5,30U,"
            f"0,0,0,0,0,{turn:.9f}"
        )
    return "\n".join(lines).encode()


def write_robotcar(folder: pathlib.Path, count: int) -> None:
    """The study's four traversals as tars, `count` Bayer images each."""
    for split, name in TRAVERSALS.items():
        this, world, _, _, times, pictures = lap(split, count)
        files = {
            "gps/ins.csv": ins_csv(this, world),
            "mono_left.timestamps": "".join(f"{time} 1\n" for time in times).encode(),
        }
        for time, bgr in zip(times, pictures, strict=True):
            files[f"mono_left/{time}.png"] = raw_robotcar.png(raw_robotcar.mosaic(bgr, "rggb"))
        raw_robotcar.write_archives(folder, name, files)


def write_cold(folder: pathlib.Path, count: int, scale: float = 0.1) -> None:
    """The study's sequences as tars; the town is shrunk to the size of a corridor."""
    for split, name in SEQUENCES.items():
        _, _, positions, headings, times, pictures = lap(split, count)
        files, rooms = {}, ""
        for (x, y), a, t, bgr in zip(positions * scale, headings, times, pictures, strict=True):
            file = raw_cold.file_name(t, x, y, a)
            files[f"std_cam/{file}"] = raw_cold.jpeg(bgr)
            rooms += f"{file} CR-A\n"
        files["localization/places.lst"] = rooms.encode()
        raw_cold.write_archive(folder / f"{name}.tar", files)
