"""Descriptors of many images, batch by batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import drive
from vprjax import models
from vprjax.descriptors import extraction
from vprjax.errors import ConfigError
from vprjax.runtime import parallel


def test_images_of_which_not_one_fits_a_device_are_refused(monkeypatch):
    words, said = ["RESOURCE_EXHAUSTED: Out of memory.\nmore", "INTERNAL: a broken card"], []
    monkeypatch.setattr(extraction, "log", said.append)

    def broken(variables, images):
        raise jax.errors.JaxRuntimeError(words[0])

    extract = extraction.Extractor(broken, 16)
    refusal = r"^describing 8 images at once, one per device, does not fit \(RES.*memory\.\): build"
    with pytest.raises(ConfigError, match=refusal):
        extract({}, drive(), np.arange(20), "describe")
    assert [line.rpartition(" ")[2] for line in said] == ["8"]
    del words[0]
    with pytest.raises(jax.errors.JaxRuntimeError, match="a broken card"):
        extract({}, drive(), np.arange(20), "describe")


def test_the_dimensions_are_those_of_the_images_at_hand():
    """OverFeat takes 231 pixels, and a flat map grows with the image."""
    config = base.get_config().model
    config.update(backbone="overfeat_fast", pooling="flatten")
    module = models.build(config)
    assert extraction.dimensions(module, drive(n=1, laps=1, size=(231, 231))) == 4096
    assert extraction.dimensions(module, drive(n=1, laps=1, size=(231, 327))) > 4096
    with pytest.raises(ConfigError, match="images of 224 x 224 pixels are too small"):
        extraction.dimensions(module, drive(n=1, laps=1, size=(224, 224)))


def first_pixels(variables, images):
    return images[:, 0, 0, :2].astype(jnp.float32)


def test_a_batch_that_the_device_has_no_memory_for_is_halved_and_no_image_is_lost(monkeypatch):
    said, sizes = [], []
    monkeypatch.setattr(extraction, "log", said.append)
    wrapped = parallel.compile_called

    def compiled(mapped, variables, batch):
        program = wrapped(mapped, variables, batch)

        def call(variables, batch):
            sizes.append(batch.shape[1])
            if batch.shape[1] > 4 and len(sizes) > 2:  # another process has taken the rest
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")
            return program(variables, batch)

        call.memory_analysis = program.memory_analysis
        return call

    monkeypatch.setattr(parallel, "compile_called", compiled)
    extract = extraction.Extractor(first_pixels, 128)
    found = extract({"w": np.ones((8, 2), np.float32)}, drive(n=300), np.arange(595), "describe")
    assert found.tolist() == [[i % 256] * 2 for i in range(595)]
    assert sizes[:5] == [16, 16, 16, 8, 4] and set(sizes[4:]) == {4}
    assert said[0].startswith(
        "memory: describing 128 images at once takes 0.00 GiB of this machine's"
    )
    assert [line for line in said if "does not fit" in line] == [
        "describing 128 images at once does not fit (RESOURCE_EXHAUSTED: Out of memory.): from here on "
        "eval.batch is 64",
        "describing 64 images at once does not fit (RESOURCE_EXHAUSTED: Out of memory.): from here on "
        "eval.batch is 32",
    ]


def test_a_batch_whose_plan_exceeds_the_memory_is_halved_before_it_runs(monkeypatch):
    said = []
    monkeypatch.setattr(extraction, "log", said.append)
    sizes = {128: 900, 64: 500, 32: 300}
    monkeypatch.setattr(extraction.memory, "free_for_devices", lambda: (400, "the card's memory"))
    monkeypatch.setattr(
        extraction.memory, "beyond_arguments", lambda _, waiting: sizes[waiting // 480]
    )  # two batches of 8 x 10 x 3 bytes an image wait
    extract = extraction.Extractor(first_pixels, 128)
    found = extract({"w": np.ones((8, 2), np.float32)}, drive(n=70), np.arange(70), "describe")
    assert found[:, 0].tolist() == list(range(70))
    assert [line.rpartition(" ")[2] for line in said if "does not fit" in line] == ["64", "32"]


def test_a_batch_far_beyond_the_images_is_not_filled_with_repeats(monkeypatch):
    read, places = [], drive(n=24)
    monkeypatch.setattr(extraction, "log", lambda _: None)
    images = type(places).images
    monkeypatch.setattr(
        type(places), "images", lambda self, i: [read.append(len(i)), images(self, i)][1]
    )
    extract = extraction.Extractor(first_pixels, 100_000)
    found = extract({"w": np.ones((8, 2), np.float32)}, places, np.arange(24), "describe")
    assert found[:, 0].tolist() == list(range(24)) and sum(read) <= 32
