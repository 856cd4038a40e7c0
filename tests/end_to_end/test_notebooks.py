"""The notebooks, executed from top to bottom with small settings; saved without outputs.

`paper_tables` is executed by test_paper_grid.py, whose runs it shows.
"""

import os
import pathlib

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tests.helpers.notebooks import FOLDER, execute, read

NAMES = ("quickstart", "your_own_images", "localize", "paper_tables")
TINY = (
    "--config.train.steps=2 --config.train.log_every=1 --config.tuples.batch=2 "
    "--config.tuples.negatives=2 --config.tuples.positive_radius=10.0 "
    "--config.tuples.negative_radius=25.0 --config.tuples.other_visit_seconds=0.0 "
    "--config.model.stage=expanded_conv"
)


def test_no_notebook_is_left_out():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_saved_clean_with_badge_and_install_cell(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert f"experiments/notebooks/{name}.ipynb" in notebook.cells[0].source
    assert "colab-badge.svg" in notebook.cells[0].source
    assert "pip install" in notebook.cells[1].source
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


class Session:
    """IPython, as far as the install cell uses it; notes what would go out to the network."""

    def __init__(self):
        self.noted, self.names = [], {}

    def run_line_magic(self, name, line):
        if name == "cd":
            os.chdir(line)
        else:
            self.noted.append(f"{name} {line.format(**self.names)}")

    def system(self, line):
        self.noted.append(line)
        pathlib.Path(line.split()[-1], "configs").mkdir(parents=True)

    def start(self, name, folder, monkeypatch):
        """Runs the install cell in `folder`; what was noted and the folder it ends in."""
        monkeypatch.chdir(folder)
        self.noted, self.names = [], {"get_ipython": lambda: self}
        code = TransformerManager().transform_cell(read(name).cells[1].source)
        exec(code, self.names)
        return self.noted, pathlib.Path.cwd()


@pytest.mark.parametrize("name", NAMES)
def test_the_install_cell_finds_its_checkout_also_after_a_restart(name, tmp_path, monkeypatch):
    clone = "git clone -q https://github.com/vprjax/vprjax vprjax-checkout"
    session, checkout = Session(), tmp_path / "vprjax-checkout"
    device, glob = ["nvidia0"], pathlib.Path.glob

    def find(path, pattern):
        if str(path) != "/dev":
            return glob(path, pattern)
        return [path / name for name in device if (path / name).match(f"/dev/{pattern}")]

    monkeypatch.setattr(pathlib.Path, "glob", find)
    install = 'pip install -q ".{}"'  # without the extra, Colab's plugin of another JAX stays
    said = [clone, install.format("[cuda]")]
    assert session.start(name, tmp_path, monkeypatch) == (said, checkout)
    for device[0], extra in (("accel0", "[tpu]"), ("vfio/0", "[tpu]"), ("vfio/vfio", "")):
        said = [install.format(extra)]
        assert session.start(name, tmp_path, monkeypatch) == (said, checkout)
    assert session.start(name, checkout, monkeypatch) == ([], checkout)
    inside = checkout / "experiments/notebooks"
    inside.mkdir(parents=True)
    assert session.start(name, inside, monkeypatch) == ([], checkout)


def test_quickstart(tmp_path, monkeypatch):
    flags = f"{TINY} --config.dataset.name=synthetic/tiny --config.dataset.data_dir={tmp_path}/data"
    said = execute(
        "quickstart",
        monkeypatch,
        WORKDIR=f"{tmp_path}/run",
        CELL="mobilenetv2,gem,triplet",
        FLAGS=flags,
    )
    assert "| test02 | fine_tuned |" in said and "iframe srcdoc" in said
    assert "test02/000012 -> reference/" in said


def test_your_own_images(tmp_path, monkeypatch):
    said = execute(
        "your_own_images",
        monkeypatch,
        WORK=f"{tmp_path}/work",
        HEIGHT=48,
        WIDTH=64,
        FLAGS=f"{TINY} --config.model.batch_norm=train",
    )
    assert "train,train/0000.jpg," in said and "places_csv/mine" in said
    assert (tmp_path / "work/run/report.html").exists() and "iframe srcdoc" in said


def test_localize(tmp_path, monkeypatch):
    work = tmp_path / "work"
    said = execute("localize", monkeypatch, WORK=str(work), FLAGS=TINY)
    assert "distance 0." in said and "iframe srcdoc" in said
    answers = (work / "answers.csv").read_text().splitlines()
    assert len(answers) == 1 + len([*(work / "night").glob("*.jpg")])
