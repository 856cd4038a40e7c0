"""Weights files that others wrote: loaded, or refused in a sentence, whatever their bytes."""

import io

import h5py
import numpy as np
import pytest
import safetensors.numpy

from tests.helpers import raw_caffe
from tests.reliability import fuzzing
from vprjax.errors import WeightsError
from vprjax.weights import pretrained

RNG = np.random.default_rng(0)
KERNEL, BIAS = RNG.standard_normal((3, 3, 3, 64), np.float32), np.ones(64, np.float32)
KERAS = {"block1_conv1/kernel": KERNEL, "block1_conv1/bias": BIAS}
TORCH = {"features.0.weight": KERNEL.transpose(3, 2, 0, 1).copy(), "features.0.bias": BIAS}


def npz(save):
    out = io.BytesIO()
    save(out, **KERAS)
    return out.getvalue()


def h5(**options):
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        for name, array in KERAS.items():
            f.create_dataset(f"{name}:0", data=array, **options)
    return out.getvalue()


def pth(zipped):
    torch = pytest.importorskip("torch")
    out = io.BytesIO()
    state = {name: torch.tensor(array) for name, array in TORCH.items()}
    torch.save(state, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def caffemodels():
    layers = {"conv1_1": [TORCH["features.0.weight"], BIAS]}
    return [raw_caffe.caffemodel(layers, old=old) for old in (False, True)]


VALID = {
    ".caffemodel": caffemodels,
    ".safetensors": lambda: [safetensors.numpy.save(TORCH)],
    ".h5": lambda: [h5(), h5(compression="gzip")],
    ".npz": lambda: [npz(np.savez), npz(np.savez_compressed)],
    ".pth": lambda: [pth(True), pth(False)],
}


@pytest.mark.parametrize("suffix", VALID)
def test_damaged_weights(tmp_path, suffix):
    outcomes = fuzzing.Outcomes(f"weights, {suffix}", WeightsError)
    path = tmp_path / f"w{suffix}"

    @fuzzing.fuzz(raw=fuzzing.files(VALID[suffix]()))
    def check(raw):
        path.write_bytes(raw)
        loaded = outcomes.of(lambda: pretrained.load(path, "vgg16", partial=True))
        for layer in (loaded or {"params": {}})["params"].values():
            for array in layer.values():
                assert np.isfinite(np.asarray(array, np.float32)).all()

    check()
    outcomes.tell()
