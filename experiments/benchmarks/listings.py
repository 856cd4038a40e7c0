"""Time and peak memory of listing a set as large as GSV-Cities or MSLS, against the least work there is.

    python experiments/benchmark.py --rounds=1 --json=FILE listings --work=runs/listings

Writes `--set` trees in their real form with `--rows` images: tables of that many rows, and names that
are hard links to a few tiny JPEGs. A process of its own lists them as `validate` and `build` do before
the first pixel, and tells its peak memory. The rival reads the same tables row by row with `csv` and
lists the same folders. `--build=N` then builds a tree of N pictures of 640x480 and extrapolates.
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from benchmarks.build import ROOT

MOST_LINKS = 50_000  # of one file; ext4 allows 65,000
SETS = {"gsv_cities": 530_000, "msls": 1_400_000}  # images of the published sets
CITIES = 20
ORIGIN = (
    12.5,
    55.6,
)  # longitude and latitude of the first city; each lies 0.05 degrees farther east
RAW, STORED = (480, 640), (240, 320)
GSV = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")
MSLS = {
    "raw": ("", "key", "lon", "lat", "ca", "captured_at", "pano"),
    "postprocessed": (
        *("", "key", "easting", "northing", "unique_cluster", "control_panel", "night"),
        "view_direction",
    ),
    "seq_info": ("", "key", "sequence_key", "frame_number"),
    "subtask_index": ("", "key", "all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d"),
}
LIST = """
import json, pathlib, sys, time
from tfds_builders import discover
start = time.perf_counter()
builder = discover.make("places_csv", sys.argv[2], pathlib.Path("unused"))
plan = builder.checked_plan(pathlib.Path(sys.argv[1]))
seconds, spent = time.perf_counter() - start, time.process_time()
peak = pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
images = sum(map(len, plan.splits.values()))
peak = round(int(peak) / 1024, 1)
print(json.dumps({"images": images, "seconds": seconds, "cpu_s": round(spent, 1), "peak_mib": peak}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the trees")
    parser.add_argument("--set", choices=SETS, action="append", help="both unless given")
    parser.add_argument("--rows", type=int, help="images; those of the published set unless given")
    parser.add_argument("--build", type=int, default=0, help="build so many images, too")


def picture(number: int, height: int, width: int) -> bytes:
    """A JPEG of a smooth made-up scene."""
    coarse = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(number + 1).normal(0, 4, scene.shape)
    scene = np.clip(scene + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


class Names:
    """Writes pictures as hard links: one file in `MOST_LINKS`, or each its own where `real`."""

    def __init__(self, folder: pathlib.Path, real: bool):
        """Has written none."""
        self._seeds, self._real, self._count = folder / "seeds", real, 0
        self._seeds.mkdir(parents=True)

    def add(self, path: str) -> None:
        """Writes one picture."""
        every = 16 if self._real else MOST_LINKS
        seed = self._seeds / f"{self._count % every if self._real else self._count // every}.jpg"
        if not seed.exists():
            seed.write_bytes(picture(self._count, *(RAW if self._real else (1, 1))))
        if self._real:
            shutil.copyfile(seed, path)
        else:
            os.link(seed, path)
        self._count += 1


def write_gsv_cities(raw: pathlib.Path, rows: int, names: Names) -> None:
    """Cities of places with four to seven images each."""
    (raw / "Dataframes").mkdir(parents=True)
    numbers = iter(range(rows))
    for city in range(CITIES):
        (raw / f"Images/City{city}").mkdir(parents=True)
        with (raw / f"Dataframes/City{city}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(GSV)
            for number in itertools.islice(numbers, -(-rows // CITIES)):
                place, turn = divmod(number, 5)
                lat, lon = ORIGIN[1] + 1e-4 * (place % 300), ORIGIN[0] + city / 20 + 1e-4 * turn
                values = [
                    place,
                    2010 + turn,
                    1 + number % 12,
                    number % 360,
                    f"City{city}",
                    lat,
                    lon,
                ]
                writer.writerow([*values, f"{number:022d}"])
                stem = f"{place % 10**5:07d}_{2010 + turn}_{1 + number % 12:02d}_{number % 360:03d}"
                names.add(
                    f"{raw}/Images/City{city}/City{city}_{stem}_{lat}_{lon}_{number:022d}.jpg"
                )


def write_msls(raw: pathlib.Path, rows: int, names: Names) -> None:
    """Cities of one query to four database images, in sequences of 100; two of them are val's."""
    import pyproj

    onto = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    cities = ["cph", "sf", *(f"city{n}" for n in range(CITIES - 2))]
    numbers = iter(range(rows))
    for at, city in enumerate(cities):
        for side, share in (("query", 5), ("database", 1.25)):
            folder = raw / "train_val" / city / side
            (folder / "images").mkdir(parents=True)
            count = int(rows / CITIES / share)
            lons = ORIGIN[0] + at / 20 + 1e-6 * np.arange(count)
            lats = np.full(count, ORIGIN[1])
            places = np.stack(onto.transform(lons, lats), axis=1).round(3)
            with contextlib.ExitStack() as stack:
                writers = _writers(folder, stack)
                for i, number in enumerate(itertools.islice(numbers, count)):
                    key = f"{number:022d}"
                    writers["raw"]([i, key, lons[i], lats[i], 90.5, "2017-05-21", False])
                    more = (number // 9, False, False, "Forward")
                    writers["postprocessed"]([i, key, *places[i], *more])
                    writers["seq_info"]([i, key, f"s{number // 100:021d}", i % 100])
                    writers["subtask_index"]([i, key, *[True] * 7])
                    names.add(f"{folder}/images/{key}.jpg")


def _writers(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Callable]:
    found = {}
    for name, header in MSLS.items():
        file = stack.enter_context((folder / f"{name}.csv").open("w", newline=""))
        found[name] = csv.writer(file).writerow
        found[name](header)
    return found


WRITE = {"gsv_cities": write_gsv_cities, "msls": write_msls}


def tree(work: pathlib.Path, kind: str, rows: int, real: bool = False) -> pathlib.Path:
    """The raw folder of a set of that many images; a whole one is used again."""
    folder = work / f"{kind}_{rows}{'_real' if real else ''}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        WRITE[kind](folder / "raw", rows, Names(folder, real))
        (folder / "whole").touch()
    return folder / "raw"


def plain(raw: pathlib.Path) -> int:
    """Reads every table row by row and lists every folder; returns the count of names."""
    found = 0
    for folder, _, files in os.walk(raw):
        for name in files:
            found += not name.endswith(".csv")
            if name.endswith(".csv"):
                with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
                    for _ in csv.reader(file):
                        pass
    return found


def option(kind: str, **more) -> str:
    """The config of a set."""
    keys = {"protocol": "msls_25m"} if kind == "msls" else {}
    return json.dumps({"name": "listed", "layout": kind, **keys, **more})


def listed(raw: pathlib.Path, kind: str) -> dict:
    """Images, seconds, processor's seconds and peak memory of listing in a process of its own."""
    command = [sys.executable, "-c", LIST, str(raw), option(kind)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def built(raw: pathlib.Path, kind: str, out: pathlib.Path) -> tuple[float, float, float]:
    """Seconds of a build, seconds of its processors, and kB stored."""
    shutil.rmtree(out, ignore_errors=True)
    config = option(kind, height=STORED[0], width=STORED[1], image_format="jpeg")
    command = [sys.executable, "-m", "tfds_builders", "build", "places_csv"]
    command += [f"--manual_dir={raw}", f"--data_dir={out}", f"--config={config}"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stored = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return seconds, spent, stored / 1e3


def measure(args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    """Yields one row per set."""
    work = args.work.resolve()
    for kind in args.set or SETS:
        rows = args.rows or SETS[kind]
        raw, told = tree(work, kind, rows), []
        contestants = {
            "plain": lambda raw=raw: plain(raw),
            "listing": lambda raw=raw, kind=kind, told=told: told.append(listed(raw, kind)),
        }
        seconds = interleaved(contestants, args.rounds)
        more = {
            "images": told[-1]["images"],
            "peak_mib": max(found["peak_mib"] for found in told),
            "cpu_s": statistics.median(found["cpu_s"] for found in told),
        }
        if args.build:
            some = tree(work, kind, args.build, real=True)
            taken, spent, stored = built(some, kind, work / "out")
            more |= {
                "build_images": args.build,
                "build_s": round(taken, 1),
                "build_cpu_s": round(spent, 1),
                "build_cpu_hours": round(SETS[kind] * spent / args.build / 3600, 2),
                "stored_gb": round(stored / args.build * SETS[kind] / 1e6, 1),
            }
        name = f"{kind}-{rows}"
        yield row(name, "csv and os.walk", seconds["listing"], seconds["plain"], 0.0, **more)
