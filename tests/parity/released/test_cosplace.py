"""CosPlace and EigenPlaces: the descriptors of their files equal those of their own code."""

import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from vprjax.models import descriptor
from vprjax.weights.released import load

CHANGED = {"p2.7": lambda s: {**s, "aggregation.1.p": np.float32([2.7])}, "calm": goldens.calm}


def write(golden, name, folder, file):
    change = CHANGED.get(name.rpartition("_")[2], lambda state: state)
    return goldens.write_torch(change(golden.state), folder / file)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("cosplace_resnet18_512", 5e-6),
        ("cosplace_resnet18_512_p2.7", 5e-6),
        ("cosplace_resnet50_2048", 1e-4),
        ("cosplace_resnet50_2048_calm", 5e-6),
        ("cosplace_resnet101_512", 1e-4),
        ("cosplace_vgg16_512", 5e-6),
        ("cosplace_vgg16_512_p2.7", 5e-6),
        ("eigenplaces_resnet18_256", 5e-6),
        ("eigenplaces_resnet50_2048", 1e-4),
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name, tolerance):
    golden = goldens.golden(shared_goldens, name)
    project = name.partition("_")[0]
    file = write(golden, name, tmp_path, f"ResNet_{project}.pth")
    released = goldens.check_file(golden, file, tolerance, alone=name.endswith("p2.7"))
    assert released.family == project
    assert released.title.lower() == project


def test_the_title_of_a_file_whose_name_says_nothing_names_both(shared_goldens, tmp_path):
    name = "cosplace_resnet18_512_p2.7"
    golden = goldens.golden(shared_goldens, name)
    model = vprjax.load(
        write(golden, name, tmp_path, "best.pth"), size=tuple(golden.facts["image_size"])
    )
    golden.check(model.describe(list(golden.images)))
    assert model.title == "CosPlace or EigenPlaces, ResNet18 + GeM"


@pytest.mark.parametrize("mutation", ["relu", "pooled", "no_local"])
def test_a_golden_sees_each_departure(shared_goldens, tmp_path, monkeypatch, mutation):
    name = "cosplace_vgg16_512_p2.7"
    golden = goldens.golden(shared_goldens, name)
    released = load.read(str(write(golden, name, tmp_path, "cosplace.pth")))
    config = released.config
    if mutation == "relu":
        config.stage = "conv5"
    else:
        config.norms = {"pooled": descriptor.NORMS, "no_local": ("descriptor",)}[mutation]
    apply = load.models.build(config).apply
    with pytest.raises(AssertionError):
        golden.check(apply(released.variables, golden.images), 5e-4)
