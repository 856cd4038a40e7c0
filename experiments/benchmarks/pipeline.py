"""Images per second of the input pipeline, against a plain OpenCV loop and against the step.

    python experiments/benchmark.py --json=FILE input

The rival reads the same encoded images one after another in one thread, without records or batches.
`step_images_s` is the rate of a VGG16 + GeM triplet step at the same size; `over_step` is the pipeline's
rate by the step's.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

import cv2
import numpy as np

from benchmarks import models, train_step
from configs import base
from vprjax.data import source
from vprjax.runtime import prefetch

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    models.add_arguments(parser)


def places(size: int, folder: str) -> source.Places:
    """Builds a rendered dataset at `size` and returns its training images."""
    option = {"name": "bench", "height": size, "width": size, "route_length": 500.0}
    option |= {"train": COUNT, "reference": 8, "test01": 8, "test02": 8}
    build = ["-m", "tfds_builders", "build", "synthetic", f"--config={json.dumps(option)}"]
    command = [sys.executable, *build, f"--data_dir={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    config = base.get_config()
    config.dataset.name, config.dataset.data_dir = "synthetic/bench", folder
    return source.load(config, ("train",))


def measure(args, interleaved: Callable, row: Callable) -> list[dict]:
    """One row; raises SystemExit where the pixels differ."""
    with tempfile.TemporaryDirectory() as folder:
        found = places(args.size, folder)
        count = COUNT // args.batch * args.batch  # whole batches
        order = np.random.default_rng(0).permutation(COUNT)[:count].reshape(-1, args.batch)
        encoded = found.encoded(order.ravel())

        def ours():
            for _, images in prefetch.prefetch(lambda n: found.images(order[n]), 0, len(order)):
                assert len(images) == args.batch

        def theirs():
            for content in encoded:
                image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
                cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

        image = cv2.imdecode(np.frombuffer(encoded[0], np.uint8), cv2.IMREAD_COLOR_RGB)
        models.check_close("pixels", found.images(order[0])[0], image, 0.0)
        seconds = interleaved({"opencv": theirs, "vprjax": ours}, args.rounds)
    step = train_step.Ours(models.pair("vgg16-gem", args), "triplet")
    step()
    a_step = statistics.median(interleaved({"step": step}, args.rounds)["step"])
    rate, needed = count / statistics.median(seconds["vprjax"]), args.batch / a_step
    more = {"images_s": round(rate), "step_images_s": round(needed, 1)}
    more["over_step"] = round(rate / needed, 1)
    name = f"input-{args.size}"
    return [row(name, "OpenCV loop", seconds["vprjax"], seconds["opencv"], 0.0, **more)]
