"""Evaluates a released model as it is, and measures its speed and memory.

`experiments/released.py` runs it per file: `python experiments/grid/one_file.py WORKDIR`, where the folder
holds `config.json`. `measured.json` comes first, as results.json marks the end.
"""

import json
import pathlib
import statistics
import sys
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from vprjax import models, run
from vprjax.data import source
from vprjax.errors import VprjaxError
from vprjax.runtime import memory, parallel
from vprjax.storage.atomic import write_atomically
from vprjax.weights.released import load

MEASURED = "measured.json"
ROUNDS = 3


def measure(config: ConfigDict) -> dict:
    """Returns dimensions, parameters, ms per image of `eval.batch` images, and the peak memory in bytes.

    The time includes the images' way to the device, not their decoding.
    """
    found = load.read(config.model.weights)
    places = source.open_dataset(config).places((config.dataset.reference_split,))
    images = places.images(np.resize(np.arange(len(places)), config.eval.batch))
    module = models.build_for_platform(config.model, parallel.AXIS)
    describe = parallel.map_over_devices(module.apply)
    variables = parallel.replicate(found.variables)
    seconds = []
    for _ in range(1 + ROUNDS):  # the first compiles
        began = time.perf_counter()
        descriptors = np.asarray(describe(variables, parallel.place(images)))
        seconds.append(time.perf_counter() - began)
    return {
        "dimension": descriptors.shape[-1],
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"])),
        "ms_per_image": 1e3 * statistics.median(seconds[1:]) / len(images),
        "batch": len(images),
        "size": [*images.shape[1:3]],
        "peak_bytes": memory.measured_peak(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def main() -> int:
    """Runs both; returns the exit status."""
    workdir = pathlib.Path(sys.argv[1])
    config = ConfigDict(json.loads((workdir / "config.json").read_text()))
    try:
        measured = measure(config)
        write_atomically(workdir / MEASURED, json.dumps(measured, indent=1) + "\n")
        run.evaluate_untrained(config, workdir)
    except (VprjaxError, OSError, ValueError) as error:
        print(f"released: error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
