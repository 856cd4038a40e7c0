"""BoQ: the descriptors of its files equal those of its own code."""

from tests.helpers import goldens


def test_descriptors_equal_the_original_code(shared_goldens, tmp_path):
    golden = goldens.golden(shared_goldens, "boq_resnet50_16384")
    file = goldens.write_torch(golden.state, tmp_path / "model.pth")
    assert goldens.check_file(golden, file, 1e-4).family == "boq"
