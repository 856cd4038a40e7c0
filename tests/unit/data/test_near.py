"""A dataset that is not where a config looks for it is named where it is."""

import pytest

from configs import base
from vprjax.data import source


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("mine", ".", "; write dataset.name=places_csv/mine"),
        ("places_csv/mine", "places_csv", "; write dataset.data_dir={root}"),
        ("places_csv/mine", "..", "; write dataset.data_dir={root}"),
        ("places_csv/other", ".", "; build it with: python -m tfds_builders build places_csv "),
        ("synthetic", ".", "; build it with: python -m tfds_builders build synthetic "),
    ],
)
def test_a_dataset_that_is_elsewhere_is_named(tmp_path, name, folder, said):
    root = tmp_path / "data"
    (root / "places_csv/mine/1.0.0").mkdir(parents=True)
    config = base.get_config()
    config.dataset.name, config.dataset.data_dir = name, str((root / folder).resolve())
    assert said.format(root=root) in source.missing_sentence(config)
