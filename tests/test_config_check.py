"""Values that do not go together are refused; the single ones are tried end to end."""

import pytest
from ml_collections import ConfigDict

from configs import base
from vprjax import config_check
from vprjax.errors import ConfigError


def test_no_more_negatives_are_remembered_than_mined():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    c.tuples.remembered = c.tuples.negatives
    config_check.check_values(c)
    c.tuples.remembered += 1
    with pytest.raises(
        ConfigError, match=r"tuples.remembered=6 must be at most tuples.negatives=5"
    ):
        config_check.check_values(c)


def test_the_config_of_an_earlier_version_gets_the_keys_it_lacks():
    c = base.get_config()
    c.dataset.name, c.tuples.batch = "places_csv/mine", 8
    saved = c.to_dict()
    for key in config_check.LATER:
        section, name = key.split(".")
        del saved[section][name]
    config_check.check_values(ConfigDict(config_check.completed(saved)))
    with pytest.raises(
        ConfigError, match=r"lacks tuples\.positive"
    ):  # what was saved stays as it is
        config_check.check_values(ConfigDict(saved))
    saved["tuples"]["positive"] = "random"
    assert config_check.completed(saved) == saved


@pytest.mark.parametrize("saved", [{}, {"tuples": {}, "model": {"backbone": "vgg16"}}])
def test_a_damaged_config_still_names_what_it_lacks(saved):
    with pytest.raises(ConfigError, match="the config lacks seed"):
        config_check.check_values(ConfigDict(config_check.completed(saved)))


def test_a_section_that_is_a_number_is_told_like_an_unknown_key():
    with pytest.raises(ConfigError, match="config key tuples is unknown"):
        config_check.check_values(ConfigDict(config_check.completed({"tuples": 3})))
