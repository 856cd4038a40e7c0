"""Provenance of a run's figures: dataset, config, code, machine and command."""

import datetime
import importlib
import pathlib
import platform
import shlex
import subprocess
import sys

import jax

import vprjax
from vprjax.data import protocol, source
from vprjax.evaluation import post
from vprjax.runtime.machine import cpu


def evaluation_provenance(config, dataset: source.Dataset) -> dict:
    """Provenance of one evaluation, as JSON."""
    return {
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "counts": dataset.counts,
            "pose_source": dataset.metadata.get("pose_source"),
        },
        "protocol": protocol.used(config, dataset),
        "denominator": "all queries of the split that have a position",
        **({"post_processing": words} if (words := post.words(config.eval)) else {}),
        "config": config.to_dict(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "machine": f"{cpu()}, Python {platform.python_version()}",
        "packages": {"jax": jax.__version__},
        "seed": config.seed,
        "command": shlex.join(["python", "-m", "vprjax.main", *sys.argv[1:]]),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def load_code() -> str:
    """The version of the code at a run's start, with all modules loaded.

    A checkout may change during a run. The page's modules, which only the end needs, load here and not
    on import: matplotlib costs 0.3 s.
    """
    importlib.import_module("vprjax.report.run_page")
    return code_version()


def code_version() -> str:
    """Package version; in a git checkout also the commit, with `+dirty` where files differ."""
    folder = pathlib.Path(vprjax.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        # Without it the checkout is another project's, around the environment of this installation.
        own = git("ls-files", "__init__.py")
        commit = git("rev-parse", "--short", "HEAD") if own else ""
        dirty = "+dirty" if commit and git("status", "--porcelain", "--", ".") else ""
    except OSError:
        commit = dirty = ""  # git is not installed
    return f"{vprjax.__version__}" + (f" ({commit}{dirty})" if commit else "")
