"""Descriptors of many images, batch by batch."""

import jax
import numpy as np
import pytest

from tests.helpers.memory_places import drive
from vprjax.descriptors import extraction
from vprjax.errors import ConfigError


def test_images_that_do_not_fit_a_device_at_once_name_what_to_lower():
    words = ["RESOURCE_EXHAUSTED: Out of memory.\nmore", "INTERNAL: a broken card"]

    def broken(variables, images):
        raise jax.errors.JaxRuntimeError(words[0])

    extract = extraction.Extractor(broken, 16)
    refusal = (
        r"^describing 16 images at once does not fit .*EXHAUSTED.*memory\.\): lower eval\.batch$"
    )
    with pytest.raises(ConfigError, match=refusal):
        extract({}, drive(), np.arange(20), "describe")
    del words[0]
    with pytest.raises(jax.errors.JaxRuntimeError, match="a broken card"):
        extract({}, drive(), np.arange(20), "describe")
