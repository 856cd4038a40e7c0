"""A rebuilt file of each container, through the commands that a user types."""

import json
import os

import numpy as np
import PIL.Image
import pytest

import vprjax
from tests.helpers import goldens
from tests.parity.released.test_netvlad import hloc
from vprjax.localize.__main__ import main as localize
from vprjax.weights.__main__ import main as weights


def _pth(state, folder):
    state["aggregation.1.p"] = np.float32([2.7])
    return goldens.write_torch(state, folder / "ResNet18_512_cosplace.pth")


def _ckpt(state, folder):
    return goldens.write_torch(state, folder / "resnet50_MixVPR_128.ckpt", "state_dict")


CASES = {
    "cosplace_resnet18_512_p2.7": (_pth, 5e-6, "cosplace_resnet18_512"),
    "mixvpr_resnet50_128": (_ckpt, 1e-4, "mixvpr_resnet50_128"),
}
if os.environ.get("VPRJAX_GOLDENS") == "all":
    CASES["hloc_netvlad_32768"] = (hloc, 5e-6, "")


@pytest.mark.parametrize("name", CASES)
def test_a_map_holds_the_original_codes_descriptors(shared_goldens, tmp_path, capsys, name):
    write, tolerance, release = CASES[name]
    golden = goldens.golden(shared_goldens, name)
    file = write(golden.state, tmp_path)
    golden.state.clear()
    assert weights(["describe", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dimension"] == golden.facts["output_shapes"]["desc"][1]
    assert release in facts["released_as"] or not release
    (tmp_path / "views").mkdir()
    for number, image in enumerate(golden.images):
        PIL.Image.fromarray(image).save(tmp_path / f"views/{number}.png")
    rows = "sequence,image,x,y\nreference,0.png,0,0\nreference,1.png,5,0\n"
    (tmp_path / "views/places.csv").write_text(rows)
    height, width = golden.images.shape[1:3]
    flags = [f"--model={file}", f"--images={tmp_path / 'views'}", f"--out={tmp_path / 'map'}"]
    assert localize(["map", *flags, f"--size={height}x{width}"]) == 0
    golden.check(vprjax.Map.open(tmp_path / "map").descriptors[:], tolerance)
    file.unlink()
