"""The arrows of the design, read from the imports, and what `import vprjax.main` costs."""

import ast
import subprocess
import sys

import pytest

from tests.helpers.commands import ROOT

MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("vprjax", "configs", "tfds_builders")
    for path in (ROOT / folder).rglob("*.py")
)


def imports(path):
    """Dotted names that a file imports; `from a import b` gives `a` and `a.b`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module)
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def inside(names, package):
    return {name for name in names if name == package or name.startswith(package + ".")}


def holding(package):
    """The files that import a package."""
    return {str(path) for path in MODULES if inside(imports(path), package)}


@pytest.mark.parametrize(
    "name",
    [
        "losses",
        "mining",
        "optim",
        "data/transforms",
        "kmeans",
        "fcm",
        "place_classes",
        "health",
    ],
)
def test_pure_modules_import_nothing_of_vprjax(name):
    assert not inside(imports(f"vprjax/{name}.py"), "vprjax")


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parts[:2] == ("vprjax", "models")], ids=str
)
def test_models_import_only_models(path):
    names = inside(imports(path), "vprjax") - {"vprjax"}
    assert all(name.startswith(("vprjax.models", "vprjax.errors")) for name in names), names


def test_the_step_knows_health_and_the_optimiser_alone():
    names = inside(imports("vprjax/training/step.py"), "vprjax") - {"vprjax"}
    assert names == {"vprjax.training.health", "vprjax.optim"}


def test_configs_import_only_ml_collections():
    for path in MODULES:
        if path.parts[0] == "configs":
            assert all(n.split(".")[0] in {"configs", "ml_collections"} for n in imports(path)), (
                path
            )


def test_builders_and_vprjax_meet_only_on_disk():
    assert not [p for p in holding("tfds_builders") if not p.startswith("tfds_builders/")]
    assert not [p for p in holding("vprjax") if not p.startswith("vprjax/")]


def test_one_home_for_checkpoints_and_for_devices():
    assert holding("orbax") == {"vprjax/storage/checkpoint.py"}
    mapping = ("jax.pmap", "jax.shard_map", "shard_map(", "Mesh(")
    users = {str(p) for p in MODULES if any(word in (ROOT / p).read_text() for word in mapping)}
    assert users <= {"vprjax/runtime/parallel.py"}


def test_pages_know_findings_and_nothing_of_training():
    known = {
        "data",
        "errors",
        "memory",
        "evaluation",
        "metric_writer",
        "pages",
        "published",
        "report",
    }
    for path in MODULES:
        if path.parts[:2] == ("vprjax", "pages"):
            parts = {name.split(".")[1] for name in inside(imports(path), "vprjax") - {"vprjax"}}
            assert parts <= known, (path, parts - known)
    assert holding("jinja2") == {"vprjax/report/render.py"}


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
