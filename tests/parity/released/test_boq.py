"""BoQ: the descriptors of its files equal those of its own code."""

import pytest

from tests.helpers import goldens


@pytest.mark.parametrize(
    ("name", "family", "stage", "tolerance"),
    [
        ("boq_resnet50_16384", "boq", "conv4", 1e-4),
        ("boq_dinov2_12288", "boq_dinov2", "block12", 5e-6),
    ],
)
def test_descriptors_equal_the_original_code(
    shared_goldens, tmp_path, name, family, stage, tolerance
):
    golden = goldens.golden(shared_goldens, name)
    file = goldens.write_torch(golden.state, tmp_path / "model.pth")
    released = goldens.check_file(golden, file, tolerance, alone=family == "boq")
    assert (released.family, released.config.stage) == (family, stage)
    # DINOv2's final LayerNorm is in the file, and its own code never applies it.
    unused = [n for n in released.unused if not n.endswith("num_batches_tracked")]
    rest = ["mask_token", "norm.bias", "norm.weight"] if family == "boq_dinov2" else []
    assert unused == [f"backbone.dino.{name}" for name in rest]
