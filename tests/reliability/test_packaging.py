"""What is shipped: bounded dependencies, their licences, a wheel that is reproducible and complete."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

import licences
import pytest
from packaging.requirements import Requirement

from tests.helpers import commands, oldest


def test_bounds(tally):
    """Every run-time dependency has both ends, and what is installed lies between them."""
    for needed in licences.requirements():
        operators = {specifier.operator for specifier in needed.specifier}
        assert operators == {">=", "<"}, needed
        installed = importlib.metadata.version(needed.name)
        assert needed.specifier.contains(installed), f"{needed}: {installed} is installed"
        tally["trials"] += 1


def test_oldest(tally):
    """The gate's constraints hold what the run and the tests need at the lower bounds of setup.cfg."""
    held = {r.name: r.specifier for r in map(Requirement, oldest.constraints())}
    assert {"pytest", "scikit-learn", "ruff"} <= set(held)
    for needed in licences.requirements():
        (lowest,) = [s.version for s in needed.specifier if s.operator == ">="]
        assert str(held[needed.name]) == f"=={lowest}", needed
    assert {s.operator for specifier in held.values() for s in specifier} == {"=="}, held
    tally.update(trials=len(held))


def test_licences(tally):
    """Every package that an installation brings is in LICENSES.md, with the oldest releases too."""
    lines = licences.FILE.read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")][2:]
    listed = {row[0].strip().lower().replace("_", "-"): row[2].strip() for row in rows}
    needed = set(licences.closure())
    assert not needed - set(listed), "see LICENSES.md for the command that writes it"
    assert all(licence and licence != "UNKNOWN" for licence in listed.values()), listed
    tally.update(trials=len(needed))


def test_licences_of_other_releases_stay(tally, tmp_path, monkeypatch):
    """What is not installed here keeps its row: another set that setup.cfg allows brings it."""
    file = tmp_path / "LICENSES.md"
    file.write_text(f"{licences.HEAD}| absl-py | 0.1 | none |\n| zlast | 1.0 | MIT |\n")
    monkeypatch.setattr(licences, "FILE", file)
    monkeypatch.setattr(sys, "argv", ["licences.py"])
    licences.main()
    rows = file.read_text().removeprefix(licences.HEAD).splitlines()
    assert rows[0].startswith("| absl-py | 2.") and rows[-1] == "| zlast | 1.0 | MIT |"
    assert len(rows) == len(licences.closure()) + 1
    tally.update(trials=len(rows))


@pytest.fixture(scope="module")
def wheel(request, tmp_path_factory):
    """The wheel; two builds of it, in other folders and at other times, are the same bytes."""
    if not request.config.getoption("--long", default=False):
        pytest.skip("installs packages: --long only")
    folder = tmp_path_factory.mktemp("wheel")
    python = new_environment(sys.executable, folder / "builder", "build")
    wheels = [build(python, copy(folder / f"copy{i}"), folder / f"out{i}") for i in range(2)]
    assert wheels[0].name == wheels[1].name
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    return wheels[0]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_wheel(wheel, tally, tmp_path, version):
    """The wheel alone builds a dataset, trains, evaluates and writes its report."""
    found = shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"no python{version} on the PATH")
    python = new_environment(found, tmp_path / "empty", str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    site = subprocess.check_output(
        [python, "-c", "import configs; print(configs.__path__[0])"],
        cwd=elsewhere,
        env=environment(),
        text=True,
    ).strip()
    assert pathlib.Path(site).is_relative_to(tmp_path / "empty")
    flags = [
        f.replace("=configs/", f"={site}/") for f in commands.small("gem,triplet", "run", "data")
    ]
    subprocess.run(
        [python, "-m", "vprjax.main", *flags, "--config.train.steps=2"],
        cwd=elsewhere,
        env=environment(**commands.ENVIRONMENT),
        check=True,
    )
    assert (elsewhere / "run/results.json").exists() and (elsewhere / "run/report.html").exists()
    tally.update(trials=1)


def environment(**values):
    """The environment without what would make a new one find this checkout."""
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **values}


def new_environment(python, folder, *packages):
    """The interpreter of a new virtual environment of `python`'s version with `packages`."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    made = str(folder / "bin/python")
    if packages:
        subprocess.run([made, "-m", "pip", "install", "-q", *packages], check=True)
    return made


def copy(folder):
    """A copy of the checkout's tracked files; its times are its own."""
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=commands.ROOT).split(b"\0")[:-1]
    for name in map(os.fsdecode, files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((commands.ROOT / name).read_bytes())
    return folder


def build(python, checkout, out):
    """The wheel of a checkout."""
    subprocess.run(
        [python, "-m", "build", "--wheel", "--outdir", out, checkout],
        env=environment(SOURCE_DATE_EPOCH="1700000000"),
        check=True,
    )
    (wheel,) = out.glob("*.whl")
    return wheel
