"""Runs the project's commands as a user does: a process of its own, on one device."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile

from tests.helpers import ready

ROOT = pathlib.Path(__file__).resolve().parents[2]
CELL = "resnet50-gem-contrastive"  # of the smoke grid
# XLA's former way to compile fusions takes a third of the time. Later releases refuse the flag.
FORMER = importlib.metadata.version("jaxlib").startswith("0.10.")
QUICK = "--xla_cpu_use_fusion_emitters=false" if FORMER else ""
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
# Compiles as a user's command does: in the environment, or as options of one program.
USERS = {**ENVIRONMENT, "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
USERS_OPTIONS = {"xla_cpu_use_fusion_emitters": True} if FORMER else {}
SMALL = (
    "--config.dataset.name=synthetic/tiny",
    "--config.model.stage=expanded_conv",
    "--config.model.projection=0",  # a PCA start needs more training images
    "--config.tuples.mining_pool=0",
    "--config.tuples.batch=2",
    "--config.tuples.positive_radius=10.0",
    "--config.tuples.negative_radius=25.0",
    "--config.tuples.other_visit_seconds=0.0",
    "--config.places.cell=10.0",
    "--config.places.groups=2",
    "--config.places.batch_places=2",
    "--config.places.min_images=2",
    "--config.eval.batch=8",
)


def small(names, workdir, data_dir):
    """Flags of the shipped synthetic config at a size for tests; builds what dataset is missing."""
    config = f"--config=configs/synthetic.py:mobilenetv2,{names}"
    return config, *SMALL, f"--workdir={workdir}", f"--config.dataset.data_dir={data_dir}"


def run(module, *flags, status=0):
    """`python -m module flags`, which must exit with `status`; its output."""
    return run_with({}, module, *flags, status=status)


def run_with(environment, module, *flags, status=0):
    """`run` with more variables in the environment."""
    variables = {**os.environ, **ENVIRONMENT, **environment}
    variables.pop("PYTEST_CURRENT_TEST", None)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        found = ready.run(variables, ROOT, module, flags, out, err)
        for file in (out, err):
            file.seek(0)
        done = subprocess.CompletedProcess([module, *flags], found, out.read(), err.read())
    assert done.returncode == status, done.stderr
    return done


def start(module, *flags):
    """`python -m module flags` on its way, in a session of its own; what it says is in `stderr`."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def start_grid(runs, *flags):
    """The grid's command as a process of its own."""
    command = [sys.executable, "experiments/paper_grid.py", "--dataset=synthetic", "--smoke"]
    return subprocess.Popen(
        [*command, f"--runs={runs}", f"--cells={CELL}", *flags],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stderr=subprocess.PIPE,
        text=True,
    )
