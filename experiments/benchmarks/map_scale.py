"""A large map: opening it, and one query after the other, in little memory of its own.

Three quarters of its descriptors repeat the first. A process of its own opens it and asks it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from vprjax.data.pictures import Form
from vprjax.localize import folder
from vprjax.localize.frames import Frames
from vprjax.localize.model import Model
from vprjax.localize.sources import Source

TITLE = "A large map, describing not counted"
QUERIES = 40
COLUMNS = {
    "open, s": lambda f: f"{f['opened']:.2f}",
    "first query, s": lambda f: f"{f['first']:.2f}",
    "further, ms: least / median / most": lambda f: _ms(f["then"]),
    "with ratio, ms: least / median / most": lambda f: _ms(f["ratio"]),
    "memory beside the file's pages, MB": lambda f: f"{f['memory'] / 1e6:.0f}",
}

PROGRAM = """
import json, pathlib, sys, time
import numpy as np
from vprjax.localize.calibration import Calibration
from vprjax.localize.map import Map

def anonymous():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) << 10

before = anonymous()
start = time.perf_counter()
places = Map.open(sys.argv[1])
opened, seconds, answers = time.perf_counter() - start, {"plain": [], "ratio": []}, []
facts = dict(model="", data="", queries=1, radius=25.0, precision=0.99, reached=1.0, answered=1.0)
by_ratio = Calibration(
    **facts, threshold=0.8, distances=(0.0, 1.0), shares=(1.0, 0.0), measure="ratio"
)
for number in np.random.default_rng(1).integers(0, len(places), int(sys.argv[2])):
    query = np.array(places.descriptors[number : number + 1])
    query += np.float32(0.01) * query[:, ::-1]
    query /= np.linalg.norm(query)
    for name, calibration in (("plain", None), ("ratio", by_ratio)):
        start = time.perf_counter()
        (answer,) = places.query_descriptors(query, 5, calibration)
        seconds[name].append(time.perf_counter() - start)
    answers.append((int(number), answer.numbers.tolist()))
print(json.dumps({
    "opened": opened, "first": seconds["plain"][0], "then": sorted(seconds["plain"][1:]),
    "ratio": sorted(seconds["ratio"][1:]), "answers": answers, "memory": anonymous() - before,
}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--images", type=int, default=100_000, help="of the map (100000)")
    parser.add_argument("--dimension", type=int, default=2048, help="of a descriptor (2048)")
    parser.add_argument(
        "--work", type=pathlib.Path, help="folder that keeps the map; a temporary one by default"
    )


def measure(args) -> tuple[str, dict]:
    """The row's name and its facts."""
    with tempfile.TemporaryDirectory() as temporary:
        at = (args.work or pathlib.Path(temporary)) / f"{args.images}x{args.dimension}"
        if not at.exists():
            build(at, args.images, args.dimension)
        found = asked(at, QUERIES)
    del found["answers"]
    return f"{args.images:,} x {args.dimension:,}", found


def build(at: pathlib.Path, images: int, dimension: int) -> None:
    """Builds a map of random descriptors of length 1, one position unit apart."""
    rng = np.random.default_rng(0)
    unique = rng.normal(size=(images // 4, dimension)).astype(np.float32)
    unique /= np.linalg.norm(unique, axis=1, keepdims=True)
    number = np.arange(images)
    frames = Frames(
        image_ids=np.array([f"drive/camera/{i:08d}.jpg" for i in number]),
        paths=np.array([f"/data/drives/monday/drive/camera/{i:08d}.jpg" for i in number]),
        drives=np.full(images, "drive"),
        positions=np.stack([500000.0 + number, np.full(images, 5.7e6)], axis=1),
        headings=np.zeros(images),
        times=number / 10,
        altitudes=np.zeros(images),
    )
    facts = {"title": "random", "dimension": dimension, "digest": "random"}
    model = Model(_Repeated(unique, images), None, Form(8, 10), **facts)
    model.source = "nowhere/model"
    source = Source(frames, lambda form: range(images), "made up")
    header = folder.new_header(model, source)
    at.mkdir(parents=True)
    folder.build_part(at / folder.part_name(0), model, source)
    header["parts"] = [{"folder": folder.part_name(0), "images": images, "source": "made up"}]
    folder.write_header(at, header)


class _Repeated:
    """An engine that gives the same rows again and again."""

    def __init__(self, rows: np.ndarray, images: int):
        self._rows, self._images = rows, images

    def stream(self, pictures, batch: int, first: int):
        """Yields descriptors as `model.Engine` does."""
        for _ in range(first, self._images, len(self._rows)):
            yield self._rows


def asked(at: pathlib.Path, queries: int) -> dict:
    """Opens and asks the map in a new process; seconds, bytes and answers."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(at), str(queries)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def _ms(seconds: list[float]) -> str:
    shown = (min(seconds), statistics.median(seconds), max(seconds))
    return " / ".join(f"{1000 * value:.0f}" for value in shown)
