"""Values that do not go together are refused; the single ones are tried end to end."""

import pytest

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
