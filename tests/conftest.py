"""Strict JAX for every test: no silent rank promotion, eight virtual CPU devices."""

import os
import tempfile

import launch_local

# Programs that were compiled once serve all tests of this worker and the commands that they start.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vprjax-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), launch_local.virtual(8)["XLA_FLAGS"]]
).strip()

import pathlib
import shutil

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

COMPILED = os.environ["JAX_COMPILATION_CACHE_DIR"]
SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def pytest_unconfigure():
    shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_real():
    """Folder of the real images and weights; tests that use it skip where it is absent."""
    real = SHARED / "real"
    if not real.is_dir():
        pytest.skip("../shared/real is not here")
    return real
