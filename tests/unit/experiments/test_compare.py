"""Two grids side by side: pairs of seeds, what is left out, what is refused."""

import compare
import pytest

from tests.helpers import made_up_runs
from vprjax.errors import DataError

GEM, VLAD = ("resnet50", "gem", "triplet"), ("resnet50", "netvlad", "triplet")


def grids(tmp_path, first, second, **options):
    made_up_runs.write(tmp_path / "a", first)
    made_up_runs.write(tmp_path / "b", second, **options)
    return compare.read(tmp_path / "a"), compare.read(tmp_path / "b")


def test_seeds_are_paired_and_what_one_grid_lacks_is_left_out(tmp_path):
    first = {(GEM, 0): 50.0, (GEM, 1): 60.0, (GEM, 2): 70.0, (VLAD, 0): 1.0}
    table = compare.compare(
        *grids(tmp_path, first, {(GEM, 1): 52.0, (GEM, 2): 66.0, (GEM, 5): 0.0}), ("hard", "random")
    )
    assert len(table.rows) == 8  # two query splits, four tolerances, one cell
    words = ["ResNet50", "GeM", "Triplet", "test01", "25 m", "2"]
    assert [text.lower() for text in table.rows[0][:6]] == [text.lower() for text in words]
    assert table.rows[0][6].startswith("65.00 [") and table.rows[0][7].startswith("59.00 [")
    # 8 and 4 points: mean 6, half width t(0.975, 1) * sqrt(8) / sqrt(2) = 12.706 * 2
    assert table.rows[0][8] == "+6.00 [−19.41, +31.41]"
    assert not any("off" in text for row in table.rows for text in row)


def test_grids_that_cannot_be_compared_are_refused(tmp_path):
    pair = grids(tmp_path / "x", {(GEM, 0): 1.0}, {(GEM, 0): 1.0}, dataset="synthetic/other:1.1.0")
    with pytest.raises(DataError, match=r"synthetic/tiny:1.1.0, b of synthetic/other"):
        compare.compare(*pair, ("a", "b"))
    pair = grids(tmp_path / "y", {(GEM, 0): 1.0}, {(GEM, 1): 1.0})
    with pytest.raises(DataError, match="no cell and seed in common"):
        compare.compare(*pair, ("a", "b"))
    with pytest.raises(DataError, match=r"no results\.json"):
        compare.read(tmp_path / "nowhere")


def test_grids_of_two_protocols_are_told_apart(tmp_path):
    pair = grids(tmp_path, {(GEM, 0): 1.0}, {(GEM, 0): 1.0}, protocol="msls_10m")
    (said, _) = compare.compare(*pair, ("a", "b")).notes
    assert said.startswith("**The protocols differ**") and said.endswith(
        "a counts by none that is named, b by msls_10m."
    )
    same = grids(tmp_path / "same", {(GEM, 0): 1.0}, {(GEM, 0): 1.0})
    assert len(compare.compare(*same, ("a", "b")).notes) == 1
