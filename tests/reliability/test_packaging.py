"""What is shipped: bounded dependencies, their licences, a wheel that is reproducible and complete."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

import licences
import pytest

from tests.helpers import commands


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


LOWEST = (
    "tests/unit/losses/test_losses.py",
    "tests/unit/data/test_source.py",
    "tests/unit/storage/test_checkpoint.py",
    "tests/unit/models/test_backbones.py",
    "tests/unit/report",
    "tests/reliability/test_fuzz_images.py",
    "tests/reliability/test_names_in_figures.py",
    "tests/end_to_end/test_main_job.py",
)


def test_lowest_versions(long, tally, tmp_path):
    """The lowest version of every dependency that setup.cfg allows, with the newest of all else."""
    if not long:
        pytest.skip("installs packages: --long only")
    uv = new_environment(sys.executable, tmp_path / "uv", "uv")
    python = new_environment(sys.executable, tmp_path / "lowest")
    checkout = copy(tmp_path / "copy")
    install = [uv, "-m", "uv", "pip", "install", "--python", python, "--resolution=lowest-direct"]
    subprocess.run([*install, f"{checkout}[test]"], check=True)
    pytest_ = [python, "-m", "pytest", "-n", "0", "-q"]
    subprocess.run([*pytest_, *LOWEST], cwd=checkout, env=environment(), check=True)
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
