"""Strict JAX for every test: no silent rank promotion, eight virtual CPU devices."""

import os

import launch_local

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), launch_local.virtual(8)["XLA_FLAGS"]]
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
