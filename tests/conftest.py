"""Strict JAX for every test: no silent rank promotion, eight virtual CPU devices."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()

import pathlib

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_real():
    """Folder of the real images and weights; tests that use it skip where it is absent."""
    real = SHARED / "real"
    if not real.is_dir():
        pytest.skip("../shared/real is not here")
    return real
