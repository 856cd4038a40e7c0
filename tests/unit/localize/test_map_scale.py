"""A map of 100,000 images: opened, asked one picture at a time, in little memory of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import made_up_model
from tests.helpers.commands import ENVIRONMENT, ROOT
from vprjax.localize import folder
from vprjax.localize.frames import Frames
from vprjax.localize.sources import Source

IMAGES, DIMENSION = 100_000, 512
UNIQUE = 25_000  # every descriptor is there four times

PROGRAM = """
import json, pathlib, sys, time
import numpy as np
from tests.helpers import made_up_model
from vprjax.localize.map import Map

def anonymous():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) << 10

before = anonymous()
start = time.perf_counter()
places = Map.open(sys.argv[1])
opened, seconds, first = time.perf_counter() - start, [], []
for number in np.random.default_rng(1).integers(0, len(places), 20):
    query = np.array(places.descriptors[number : number + 1])
    query += np.float32(0.01) * query[:, ::-1]
    query /= np.linalg.norm(query)
    start = time.perf_counter()
    (answer,) = places.query_descriptors(query, 5)
    seconds.append(time.perf_counter() - start)
    first.append((int(number), answer.numbers.tolist()))
print(json.dumps({
    "opened": opened, "first": seconds[0], "then": sorted(seconds[1:]), "answers": first,
    "memory": anonymous() - before,
}))
"""


def build(at, images, dimension):
    """A map of random descriptors of length 1, the last three quarters of which repeat the first."""
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

    class Repeated:
        def stream(self, pictures, batch, first):
            for _ in range(first, images, len(unique)):
                yield unique

    model = made_up_model.model()
    model.engine, model.dimension = Repeated(), dimension
    source = Source(frames, lambda form: range(images), "made up")
    header = folder.new_header(model, source)
    at.mkdir()
    folder.build_part(at / folder.part_name(0), model, source)
    header["parts"] = [{"folder": folder.part_name(0), "images": images, "source": "made up"}]
    folder.write_header(at, header)


def measured(at):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(at)],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    at = tmp_path_factory.mktemp("scale") / "map"
    build(at, IMAGES, DIMENSION)
    return measured(at)


def test_answers_are_the_equal_descriptors_in_order(found):
    for number, answer in found["answers"]:
        own = number % UNIQUE
        assert answer[:4] == [own, own + UNIQUE, own + 2 * UNIQUE, own + 3 * UNIQUE]


def test_it_opens_within_a_second(found):
    assert found["opened"] < 1


def test_a_query_takes_little_time(found):
    """Under 50 ms on two free cores; other tests may hold them here."""
    assert found["then"][0] < 0.25


def test_descriptors_stay_on_disk(found):
    whole = 4 * IMAGES * DIMENSION
    assert found["memory"] < whole / 2


if __name__ == "__main__":  # python -m tests.unit.localize.test_map_scale FOLDER DIMENSION
    import pathlib

    place = pathlib.Path(sys.argv[1])
    if not place.exists():
        build(place, IMAGES, int(sys.argv[2]))
    print({key: value for key, value in measured(place).items() if key != "answers"})
