"""The structure of the code, counted, and what `import vprjax.main` and `--help` cost."""

import re
import resource
import subprocess
import sys

import pytest

from tests.conftest import FIRST
from tests.helpers import structure
from tests.helpers.commands import ROOT

COUNTS = {measure.what: measure for measure in structure.measures(ROOT)}


@pytest.mark.parametrize("what", COUNTS)
def test_structure_does_not_worsen(what):
    assert COUNTS[what].holds, structure.table([COUNTS[what]])


def test_the_files_that_start_first_are_there():
    assert [name for name in FIRST if not (ROOT / "tests" / name).is_file()] == []


def function(lines, parameters=0):
    names = ", ".join(f"p{i}" for i in range(parameters))
    return f"def f(self, {names}):\n" + "    f()\n" * (lines - 1)


# The least that a tree must have, and that holds every bound.
SOUND = {
    **{f"{name}/__init__.py": "" for name in structure.NARROW},
    "vprjax/__init__.py": "__version__ = '1'\n",
    "vprjax/main.py": "from vprjax import run\n",
    "vprjax/run.py": "import vprjax.training.step\nfrom vprjax.storage import checkpoint\n",
    "vprjax/optim.py": "from vprjax.errors import Wrong\n",
    "vprjax/errors.py": "class Wrong(Exception):\n    pass\n",
    "vprjax/storage/checkpoint.py": "import orbax.checkpoint\n" + function(50, 8),
    "vprjax/report/render.py": "import jinja2\nimport vprjax\n",
    "vprjax/report/templates/page.html": "<br>\n" * 350,
    "vprjax/runtime/parallel.py": "import jax\nf = jax.pmap(_x)\n_secret = 1\n",
    "configs/base.py": "import ml_collections\nfrom vprjax.models import heads\n",
    "tfds_builders/show.py": "import pathlib\n",
    "experiments/grid.py": "import scores\n",
    "experiments/scores.py": "import vprjax.main\n",
    "experiments/records/runs.md": "|\n" * 400,
    "tests/test_it.py": "class A:\n    _own = 1\n    def f(self):\n        return self._secret\n",
}
REACH = """
from vprjax.runtime import parallel
from vprjax.runtime.parallel import _secret
parallel._secret
object()._secret = 1
def test(monkeypatch):
    monkeypatch.setattr(parallel, "_secret", None)
    monkeypatch.setattr("vprjax.runtime.parallel._secret", None)
"""
# Files that break one bound each, and what is then found.
BROKEN = {
    "rooms in vprjax": [({f"vprjax/room{i}.py": "" for i in range(20)}, "room19.py")],
    "files over 350 lines": [
        ({"vprjax/report/templates/page.html": "<br>\n" * 351}, "page.html: 351 lines"),
        ({"tfds_builders/show.py": "\n" * 351}, "tfds_builders/show.py: 351 lines"),
    ],
    "import circles of modules": [
        (
            {
                "experiments/scores.py": "def f():\n    import deep.most\n",
                "experiments/deep/most.py": "from grid import g\n",
            },
            "experiments.deep.most",
        ),
    ],
    "import circles of rooms": [
        (
            {
                "vprjax/data/a.py": "import vprjax.storage.b\n",
                "vprjax/storage/c.py": "from vprjax.data import a\n",
                "vprjax/storage/b.py": "",
            },
            "storage",
        )
    ],
    "upward arrows between rooms": [
        ({"vprjax/data/a.py": "from vprjax import run\n"}, "vprjax.data.a imports vprjax.run"),
        ({"vprjax/optim.py": "import vprjax.variants\n", "vprjax/variants.py": ""}, "vprjax.optim"),
        ({"vprjax/attic/a.py": ""}, "room attic has no place"),
    ],
    "functions over 50 lines": [
        ({f"configs/c{i}.py": function(51) for i in range(7)}, "configs/c6.py:1 f: 51 lines")
    ],
    "functions over 8 parameters": [
        ({"experiments/grid.py": function(2, 9)}, "experiments/grid.py:1 f: 9 parameters"),
        ({"configs/base.py": "def f(a, b, c, /, d, e, *f, g, h, **i): ...\n"}, "9 parameters"),
    ],
    "imports beyond what a file may know": [
        (
            {"vprjax/training/step/__init__.py": "import vprjax.storage.checkpoint\n"},
            "step/__init__",
        ),
        ({"vprjax/models/heads.py": "from vprjax.runtime import parallel\n"}, "heads.py imports"),
        ({"vprjax/report/page.py": "from vprjax import training\n"}, "vprjax/report/page.py"),
        (
            {"vprjax/losses/__init__.py": None, "vprjax/losses.py": "import vprjax.run\n"},
            "losses.py",
        ),
        ({"vprjax/weights/kmeans/__init__.py": None}, "vprjax/weights/kmeans is not there"),
    ],
    "importers of a package beside its home": [
        ({"vprjax/run.py": "import orbax.checkpoint\n"}, "vprjax/run.py imports orbax"),
        ({"vprjax/report/render.py": ""}, "vprjax/report/render.py does not import jinja2"),
    ],
    "files that map over devices beside their home": [
        ({"vprjax/training/step.py": "import jax\nf = jax.pmap(g)\n"}, "vprjax/training/step.py")
    ],
    "imports across vprjax, configs, tfds_builders": [
        ({"vprjax/data/a.py": "import tfds_builders.show\n"}, "imports tfds_builders.show"),
        ({"tfds_builders/show.py": "from vprjax.errors import Wrong\n"}, "tfds_builders/show.py"),
        ({"configs/base.py": "from vprjax import optim\n"}, "imports vprjax.optim"),
        ({"configs/base.py": "import jax\n"}, "configs/base.py imports jax"),
    ],
    "reaches of tests into private names": [
        ({"tests/test_it.py": REACH, "tests/deep/test_too.py": REACH, "tests/a.py": REACH}, ":8 _")
    ],
}


def write(root, files):
    for name, text in files.items():
        if text is None:
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return {measure.what: measure for measure in structure.measures(root)}


def test_a_sound_tree_holds_every_bound(tmp_path):
    counts = write(tmp_path, SOUND)
    assert all(measure.holds for measure in counts.values()), structure.table([*counts.values()])
    assert set(counts) == set(BROKEN) == set(COUNTS)


@pytest.mark.parametrize(
    ("what", "files", "found"), [(what, *case) for what, cases in BROKEN.items() for case in cases]
)
def test_each_count_can_fail(tmp_path, what, files, found):
    measure = write(tmp_path, {**SOUND, **files})[what]
    assert not measure.holds
    assert any(found in words for words in measure.found), measure.found
    assert found in structure.table([measure])


def test_every_way_to_a_private_name_counts_once(tmp_path):
    found = write(tmp_path, {**SOUND, "tests/test_it.py": REACH})[
        "reaches of tests into private names"
    ].found
    assert sorted(found) == [f"tests/test_it.py:{line} _secret" for line in (3, 4, 5, 7, 8)]


def test_a_relative_import_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"vprjax/run\.py imports relatively"):
        write(tmp_path, {**SOUND, "vprjax/run.py": "from . import main\n"})


def test_main_imports_no_tensorflow_no_torch_and_quickly():
    program = (
        "import sys, time; start = time.process_time(); import vprjax.main; "
        "print(time.process_time() - start); "
        "print(sorted({'tensorflow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 3


def imported(*arguments):
    """Packages from outside the standard library that an interpreter imports, and its output."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = {name.split(".")[0] for name in re.findall(r"\| +([\w.]+)$", done.stderr, re.M)}
    return names - sys.stdlib_module_names, done.stdout


def processor_seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_imports_what_reads_flags_alone():
    site, _ = imported("-c", "")  # what the installation itself imports
    before = processor_seconds_of_children()
    packages, shown = imported("-m", "vprjax.main", "--help")
    assert processor_seconds_of_children() - before < 1
    assert "--workdir: Folder for" in shown
    light = {
        "absl",
        "ml_collections",
        "org",
        "vprjax",
        "yaml",
    }  # org: tried by the standard library
    assert packages - site <= light
    assert "absl" in packages
