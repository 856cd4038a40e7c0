"""Much and for long: flat memory over many steps, long listings, many sequences, two evaluations."""

import fcntl
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from configs import base
from tests.helpers import commands, raw_places
from tfds_builders.places_csv.layouts.table import read_table
from tfds_builders.places_csv.layouts.variant import Told
from vprjax.data import source

# A training run of its own, with mining and checkpoints, that tells its memory after every step and after
# which steps something was compiled.
TRAINING = """
import json, pathlib, sys
import jax
from configs import synthetic
from vprjax.data import source
from vprjax.training import loop, preflight
steps, data_dir, workdir = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
c = synthetic.get_config("mobilenetv2,gem,triplet")
c.dataset.update(name="synthetic/tiny", data_dir=data_dir)
c.model.stage = "expanded_conv"
c.tuples.update(mining_interval=20, mining_pool=30, batch=1, positive_radius=10.0)
c.tuples.update(negative_radius=25.0, other_visit_seconds=0.0, negatives=2)
c.train.update(steps=steps, log_every=10, checkpoint_every=max(40, steps // 100))
resident, compiled, add = [], [], loop.Recorder.add
def listen(name, *_, **__):
    if name.endswith("backend_compile_duration"):
        compiled.append(len(resident))
jax.monitoring.register_event_duration_secs_listener(listen)
def noting(self, *args):
    resident.append(int(open("/proc/self/statm").read().split()[1]) * 4096)
    return add(self, *args)
loop.Recorder.add = noting
data = preflight.training_data(c, source.open_dataset(c))
loop.train(c, data, workdir, None, {})
print(json.dumps([resident, compiled]))
"""


def test_steps(long, tally, tiny, tmp_path):
    steps, allowed = (20_000, 32e6) if long else (400, 4e6)
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(steps), str(tiny), str(tmp_path)],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resident, compiled = map(np.array, json.loads(done.stdout))
    assert 0 < compiled.size and compiled.max() < steps // 2, "compiled again and again"
    resident = resident[steps // 2 :]  # the rest is warm-up
    tenth = len(resident) // 10
    grown = np.median(resident[-tenth:]) - np.median(resident[:tenth])
    print(f"{steps} steps: {resident[0] / 1e6:.1f} MB, {grown / 1e6:+.2f} MB over the second half")
    tally.update(trials=steps)
    assert grown < allowed


def write_table(folder, sequences, images):
    """A places.csv in which every sequence takes all the images; (rows, its size in bytes)."""
    (folder / "frames").mkdir(parents=True)
    for i in range(images):
        (folder / f"frames/{i:06d}.jpg").touch()
    with (folder / "places.csv").open("w") as table:
        table.write("sequence,image,x,y,heading,time,label\n")
        for s in range(sequences):
            table.writelines(
                f"s{s},frames/{i:06d}.jpg,{620000 + i / 3},{5735000 + s},0.5,{s * 1000 + i},a\n"
                for i in range(images)
            )
    return folder / "places.csv"


LISTING = """
import json, pathlib, resource, sys, time
from tfds_builders.places_csv.layouts.table import read_table
from tfds_builders.places_csv.layouts.variant import Told
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read_table(pathlib.Path(sys.argv[1]), Told())
own = resource.getrusage(resource.RUSAGE_SELF)
last = list(found.values())[-1][-1]
print(json.dumps([sum(map(len, found.values())), last.image_id, last.position, last.timestamp,
    own.ru_utime + own.ru_stime, 1024 * (own.ru_maxrss - before)]))
"""


def test_listing(long, tally, tmp_path):
    sequences, images = (500, 2000) if long else (20, 1000)
    table = write_table(tmp_path, sequences, images)
    done = subprocess.run(
        [sys.executable, "-c", LISTING, str(table)],
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows, image_id, position, timestamp, seconds, memory = json.loads(done.stdout)
    s, i = sequences - 1, images - 1
    assert (rows, image_id) == (sequences * images, f"s{s}/frames/{i:06d}.jpg")
    assert position == [620000 + i / 3, 5735000 + s] and timestamp == (s * 1000 + i) * 10**6
    print(f"{rows} rows: {seconds:.1f} s of processor time, {memory / 2**20:.0f} MiB")
    tally.update(trials=rows)
    assert memory < 3000 * rows + 2e8 and seconds < 10 + 3e-4 * rows


def test_listing_names_every_bad_row(tmp_path):
    from tfds_builders.errors import RawDataError

    table = write_table(tmp_path, 2, 1000)
    table.write_text(table.read_text().replace("5735001,0.5", "north,0.5"))
    with pytest.raises(RawDataError) as caught:
        read_table(table, Told())
    assert len(caught.value.problems) == 1000 and "places.csv:1002" in caught.value.problems[0]


def test_sequences(long, tally, tmp_path):
    names = [f"drive{i:03d}" for i in range(500 if long else 40)]
    raw = raw_places.write_raw(tmp_path / "raw", names, 2)
    config = '--config={"name": "mine"}'
    started = time.process_time()
    assert raw_places.command("build", "places_csv", raw, tmp_path / "out", config) == 0
    c = base.get_config()
    c.dataset.update(name="places_csv/mine", data_dir=str(tmp_path / "out"))
    assert source.open_dataset(c).counts == dict.fromkeys(names, 2)
    places = source.load(c, tuple(names))
    print(f"{len(names)} sequences: {time.process_time() - started:.1f} s of processor time")
    assert places.image_ids.tolist() == [f"{n}/{n}/{i:03d}.png" for n in names for i in range(2)]
    last = raw_places.image(100 * (len(names) - 1) + 1)[..., ::-1]  # BGR
    assert (places.images([len(places) - 1])[0] == last).all()
    tally.update(trials=len(names))


def test_evaluations(tally, tiny, tmp_path):
    trained, again = tmp_path / "trained", tmp_path / "again"
    steps = ("--config.train.steps=2", "--config.eval.keep_descriptors=True")
    commands.run("vprjax.main", *commands.small("gem,triplet", trained, tiny), *steps)
    results = json.loads((trained / "results.json").read_text())["results"]
    command = ("--mode=evaluate", f"--checkpoint={trained}", f"--workdir={again}")
    both = [commands.start("vprjax.main", *command) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    statuses = [process.returncode for process in both]
    assert sorted(statuses) in ([0, 0], [0, 2]), said
    assert 2 not in statuses or "is in use by another run" in said[statuses.index(2)]
    found = json.loads((again / "results.json").read_text())["results"]
    tally.update(trials=2, wrong=int(found != results))
    assert found == results
    with (again / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = commands.run("vprjax.main", *command, status=2)
    assert "is in use by another run" in refused.stderr
