"""NetVLAD's ports and the original: the descriptors of their files equal those of their own code."""

import numpy as np
import pytest

import vprjax
from tests.helpers import goldens, matconvnet
from vprjax.weights import load_released
from vprjax.weights.released import cosplace


def nanne(state, folder, parallel):
    if parallel:
        state = {n.replace(".", ".module.", 1): a for n, a in state.items()}
    return goldens.write_torch(state, folder / "checkpoint.pth.tar", "state_dict")


def hloc(state, folder):
    """The `.mat` file whose torch module has this state dict."""
    layers = {
        n: (state[f"backbone.{n}.weight"].transpose(2, 3, 1, 0), state[f"backbone.{n}.bias"])
        for n in cosplace.VGG16.values()
    }
    layers[30] = state["netvlad.score_proj.weight"][..., 0].T, -state["netvlad.centers"]
    if "whiten.weight" in state:
        layers[33] = state["whiten.weight"].T[None, None], state["whiten.bias"]
    mean = np.float32([123.68, 116.779, 103.939])
    return matconvnet.write(folder / "Pitts30K_struct.mat", layers, mean)


def sharp(state):
    changed = {"netvlad.score_proj.weight": 40, "whiten.bias": 0.02}
    return {n: (a * np.float32(changed.get(n, 1))) for n, a in state.items()}


def write(name, state, folder):
    if name.startswith("nanne"):
        return nanne(state, folder, parallel=name.endswith("v2"))
    return hloc(sharp(state) if name.endswith("sharp") else state, folder)


@pytest.mark.parametrize(
    "name",
    [
        "nanne_vgg16_netvlad64",
        "nanne_vgg16_netvlad64_v2",
        "hloc_netvlad_32768",
        "hloc_netvlad_4096",
        "hloc_netvlad_4096_sharp",
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name):
    golden = goldens.golden(shared_goldens, name)
    file = write(name, golden.state, tmp_path)
    golden.state.clear()  # the whitening takes half a GiB each time
    module, variables = load_released(str(file))
    descriptors, features = goldens.run(module, variables, golden.images)
    golden.check(descriptors)
    golden.check_map(features)
    if name.endswith("sharp"):
        model = vprjax.load(file, size=tuple(golden.facts["image_size"]))
        # A CPU's Winograd convolutions round more, and 40 times the scores magnify it.
        golden.check(model.describe(list(golden.images)), tolerance=1e-5)
