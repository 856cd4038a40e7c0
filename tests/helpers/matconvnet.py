"""MatConvNet's `net` in a `.mat` file, laid out as the original NetVLAD's."""

import pathlib

import numpy as np
import scipy.io


def write(
    file: pathlib.Path, layers: dict[int, tuple], mean, count: int = 35, **own
) -> pathlib.Path:
    """Writes layers by number, each of them its arrays, between layers without any."""
    cells = np.empty(count, object)
    for i in range(count):
        weights = np.empty(len(layers.get(i, ())), object)
        for j, array in enumerate(layers.get(i, ())):
            weights[j] = np.asarray(array, np.float32)
        cells[i] = {"type": "conv" if i in layers else "relu", "stride": 1.0}
        if i in layers:
            cells[i]["weights"] = weights
    average = np.broadcast_to(np.float32(mean), (2, 3, len(mean)))
    meta = {"normalization": {"averageImage": average, "imageSize": [224.0, 224.0, 3.0]}}
    scipy.io.savemat(file, {"net": {"layers": cells, "meta": meta}, **own})
    return file
