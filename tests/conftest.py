"""Strict JAX for every test: no silent rank promotion, eight virtual CPU devices."""

import os
import tempfile

import launch_local

from tests.helpers import commands

# Programs that were compiled once serve all tests of this worker and the commands that they start.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vprjax-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# Most programs here run once: what optimising them takes is never won back.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {commands.QUICK}"
os.environ["XLA_FLAGS"] = launch_local.virtual(8)["XLA_FLAGS"]

import pathlib
import shutil

import jax
import pytest
from absl import logging

from tests.helpers import programs, ready

jax.config.update("jax_numpy_rank_promotion", "raise")

COMPILED = os.environ["JAX_COMPILATION_CACHE_DIR"]
TESTS = pathlib.Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"

# The files that take longest, longest first: all workers have work until the end.
FIRST = (
    "reliability/test_kills.py",
    "multidevice/test_processes.py",
    "unit/training/test_interruptions.py",
    "reliability/test_disks.py",
    "multidevice/test_device_count.py",
    "end_to_end/test_paper_grid.py",
    "end_to_end/test_main_job.py",
    "end_to_end/test_notebooks.py",
    "reliability/test_hosts.py",
    "unit/training/test_train.py",
    "reliability/test_load.py",
    "end_to_end/test_bad_input.py",
    "unit/training/test_memory_estimate.py",
    "unit/training/test_overlap.py",
    "unit/training/test_keep.py",
    "end_to_end/test_localize.py",
    "parity/released/test_cosplace.py",
    "end_to_end/test_serve.py",
    "end_to_end/test_faults.py",
    "end_to_end/test_released.py",
    "unit/weights/test_initialise.py",
    "unit/models/test_backbones.py",
    "parity/test_backbones_torch.py",
    "end_to_end/test_raw_datasets.py",
    "end_to_end/test_image_sets.py",
    "unit/cpu_ops/test_convolution.py",
    "reliability/test_mat_bombs.py",
    "unit/weights/test_wrapped.py",
    "unit/training/test_not_finite.py",
    "end_to_end/test_new_variants.py",
)


def pytest_collection_modifyitems(items):
    place = {TESTS / name: n for n, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(FIRST)))


def pytest_unconfigure():
    ready.end()
    shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """A worker that keeps every compiled program reaches the kernel's limit of memory maps, and dies."""
    yield
    programs.drop_beyond()


@pytest.fixture(scope="module", autouse=True)
def own_log_level():
    """A command that a test calls may set the level of the whole process."""
    level = logging.get_verbosity()
    yield
    logging.set_verbosity(level)


@pytest.fixture(scope="session")
def shared_real():
    """Folder of the real images and weights; tests that use it skip where it is absent."""
    real = SHARED / "real"
    if not real.is_dir():
        pytest.skip("../shared/real is not here")
    return real


@pytest.fixture(scope="session")
def shared_goldens():
    """Folder of what other projects' models gave; tests that use it skip where it is absent."""
    goldens = SHARED / "goldens"
    if not goldens.is_dir():
        pytest.skip("../shared/goldens is not here")
    return goldens


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of the smallest synthetic dataset, built as a user builds it."""
    folder = tmp_path_factory.mktemp("datasets")
    commands.run("tfds_builders", "build", "synthetic", "--config=tiny", f"--data_dir={folder}")
    return folder


@pytest.fixture(scope="module", params=["one device", "all devices"])
def devices(request):
    """The suite has eight devices; a user's processor is one, for which the host selects."""
    from vprjax.runtime import parallel

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "one device":
            patch.setattr(parallel, "device_count", lambda: 1)
        yield request.param
