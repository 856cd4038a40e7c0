"""What is shipped: bounded dependencies, their licences, a wheel that is reproducible and complete."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import licences
import pytest
from end_to_end import commands


def test_bounds(tally):
    """Every run-time dependency has both ends, and what is installed lies between them."""
    for needed in licences.requirements():
        operators = {specifier.operator for specifier in needed.specifier}
        assert operators == {">=", "<"}, needed
        installed = importlib.metadata.version(needed.name)
        assert needed.specifier.contains(installed), f"{needed}: {installed} is installed"
        tally["trials"] += 1


def test_licences(tally):
    """Every package that a plain installation brings is in LICENSES.md."""
    lines = licences.FILE.read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")][2:]
    listed = {row[0].strip().lower().replace("_", "-"): row[2].strip() for row in rows}
    needed = set(licences.closure())
    assert not needed - set(listed), "see LICENSES.md for the command that writes it"
    assert all(licence and licence != "UNKNOWN" for licence in listed.values()), listed
    tally.update(trials=len(needed))


def test_wheel(long, tally, tmp_path):
    """Two builds are the same bytes; the wheel alone builds a dataset, trains and evaluates."""
    if not long:
        pytest.skip("installs packages: --long only")
    python = new_environment(tmp_path / "builder", "build")
    wheels = [build(python, tmp_path / f"copy{i}", tmp_path / f"out{i}") for i in range(2)]
    assert wheels[0].name == wheels[1].name
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    python = new_environment(tmp_path / "empty", str(wheels[0]))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    site = subprocess.check_output(
        [python, "-c", "import configs; print(configs.__path__[0])"], cwd=elsewhere, text=True
    ).strip()
    assert pathlib.Path(site).is_relative_to(tmp_path / "empty")
    flags = [
        f.replace("=configs/", f"={site}/") for f in commands.small("gem,triplet", "run", "data")
    ]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [python, "-m", "vprjax.main", *flags, "--config.train.steps=2"],
        cwd=elsewhere,
        env={**environment, **commands.ENVIRONMENT},
        check=True,
    )
    assert (elsewhere / "run/results.json").exists() and (elsewhere / "run/report.html").exists()
    tally.update(trials=2)


def new_environment(folder, *packages):
    """The interpreter of a new virtual environment with `packages`."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def build(python, copy, out):
    """The wheel of a copy of the checkout; the copies differ in their times and places."""
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=commands.ROOT).split(b"\0")[:-1]
    for name in map(os.fsdecode, files):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((commands.ROOT / name).read_bytes())
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [python, "-m", "build", "--wheel", "--outdir", out, copy],
        env={**environment, "SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
    )
    (wheel,) = out.glob("*.whl")
    return wheel
