"""The words of a result's files and page on what it is of."""

import json

from configs import base
from vprjax.report import titles


def test_images_beside_the_home_datasets():
    provenance = {"others": {"synthetic/tiny:train": 48}, "keep_images": {"mine:a,b": 12_000}}
    assert titles.images_beside(provenance) == [
        ("trained on, too", "synthetic/tiny:train 48"),
        ("keep images", "mine:a,b 12,000"),
    ]
    assert titles.images_beside({"keep_images": {}}) == []


def test_a_model_tells_how_its_head_starts():
    """Learned R-MAC of few images is R-MAC, whatever its title says."""
    config, seen = (
        base.get_config(),
        {"weights_sha256": "12ab", "start": "Learned R-MAC from the identity"},
    )
    assert titles.origin(config, seen)[-1] == "- start: Learned R-MAC from the identity"


def test_a_model_tells_the_sizes_that_its_descriptors_join():
    config, seen = base.get_config(), {"weights_sha256": "12ab"}
    assert len(titles.origin(config, seen)) == 1
    config.model.update(scales=(1.0, 2**-0.5, 0.5), scales_power=3.0)
    words = "- descriptors of the sizes 1, 0.7071, 0.5 joined by a power mean of 3"
    assert titles.origin(config, seen)[-1] == words


def test_a_baseline_tells_the_settings_that_its_text_does_not():
    """The text names 128 words and ten frames, whatever a run's config says."""
    config = base.select(base.get_config(), "seqslam")
    read = json.loads(json.dumps(config.to_dict()))  # as from results.json, where tuples are lists
    assert titles.own_settings(config) == titles.own_settings(read) == ""
    config.baseline.seqslam.update(length=3, speeds=(1.0,))
    assert titles.own_settings(config) == "length=3, speeds=(1.0,)"
    lines = titles.origin(config, {})
    assert lines[0].startswith("- method: Small patch-normalised pictures")
    assert lines[1] == "- here, other than by default: length=3, speeds=(1.0,)"
