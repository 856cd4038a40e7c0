"""Counts of the code's structure beside their bounds; `python -m tests.helpers.structure` prints them."""

import ast
import dataclasses
import pathlib
import re

from tests.helpers.import_graph import (
    circle,
    graph,
    imports,
    inside,
    module_name,
    parsed,
    python_files,
)

ROOMS = 22
FILE_LINES = 350
FUNCTION_LINES, LONG_FUNCTIONS = 50, 6
PARAMETERS = 8
PRIVATE_REACHES = 11

PACKAGES = ("vprjax", "configs", "tfds_builders", "experiments")
TEXT = (".py", ".html", ".md", ".sh", ".ipynb")  # data such as records and tables may be long

# From top to bottom: a room may import those below it alone.
ORDER = (
    "main",
    "run",
    "export",
    "localize",
    "report",
    "training",
    "evaluation",
    "config",
    "sampling",
    "retrieval",
    "weights",
    "descriptors",
    "data",
    "losses",
    "models",
    "cpu_ops",
    "storage",
    "runtime",
    "console",
    "errors",
    "optim",
    "variants",
)
FOR_ALL = ("console", "errors")  # any room may import these
LEAVES = ("console", "errors", "optim", "variants")  # these import no room but those for all

# What a module or package may import of vprjax, besides itself: narrower than the order.
NARROW = {
    "vprjax/losses": ("vprjax.errors", "vprjax.variants"),
    "vprjax/sampling/mining": ("vprjax.sampling.poses",),
    "vprjax/sampling/poses": (),
    "vprjax/sampling/place_classes": (),
    "vprjax/data/transforms": (),
    "vprjax/weights/kmeans": (),
    "vprjax/evaluation/fcm": (),
    "vprjax/training/health": (),
    "vprjax/training/step": (
        "vprjax.training.health",
        "vprjax.training.non_finite",
        "vprjax.optim",
    ),
    "vprjax/models": ("vprjax.cpu_ops", "vprjax.errors", "vprjax.variants"),
    "vprjax/retrieval/baselines": (
        "vprjax.console",
        "vprjax.data.source",
        "vprjax.descriptors.whitening",
        "vprjax.errors",
        "vprjax.runtime.machine",  # the cores that a process may use
        "vprjax.variants",
        "vprjax.weights.kmeans",
    ),
    "vprjax/report": (
        "vprjax.retrieval.baselines",  # titles, as those of the losses and the models
        "vprjax.console",
        "vprjax.data",
        "vprjax.errors",
        "vprjax.evaluation",
        "vprjax.losses",  # titles of the losses and the models
        "vprjax.models",
        "vprjax.runtime",
        "vprjax.storage",
    ),
}
# Packages with one importer in vprjax, configs and tfds_builders.
IMPORTERS = {"orbax": "vprjax/storage/checkpoint.py", "jinja2": "vprjax/report/render.py"}
# Words of a file that maps over devices.
MAPS = ("jax.pmap", "jax.shard_map", "shard_map(", "Mesh(")
MAPPER = "vprjax/runtime/parallel.py"
CONFIGS_IMPORT = (
    "configs",
    "ml_collections",
    "vprjax.retrieval.baselines",
    "vprjax.models",
    "vprjax.losses",
    "vprjax.variants",
    "vprjax.weights.catalogue",
)


@dataclasses.dataclass(frozen=True)
class Measure:
    """One count: what is counted, what was found and how many of it there may be."""

    what: str
    found: list[str]
    bound: int = 0

    @property
    def holds(self) -> bool:
        """Whether no more was found than the bound."""
        return len(self.found) <= self.bound


def room(module: str) -> str | None:
    """The room of a module of vprjax; None of the package itself and of modules elsewhere."""
    parts = module.split(".")
    return parts[1] if parts[0] == "vprjax" and len(parts) > 1 else None


def room_graph(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """The rooms and those that each imports."""
    rooms: dict[str, set[str]] = {}
    for module, targets in modules.items():
        if own := room(module):
            rooms.setdefault(own, set()).update(
                other for target in targets if (other := room(target)) and other != own
            )
    return rooms


def upward_arrows(modules: dict[str, set[str]]) -> list[str]:
    """Imports of a room above the importer's or, by a leaf, of any; rooms without a place in `ORDER`."""
    height = {name: number for number, name in enumerate(ORDER)}
    unplaced = [f"room {name} has no place in the order" for name in room_graph(modules)]
    found = [words for words in unplaced if words.split()[1] not in height]
    for module, targets in modules.items():
        for target in sorted(targets):
            own, other = room(module), room(target)
            if None in (own, other) or own == other or other in FOR_ALL:
                continue
            if own in LEAVES or height.get(other, 0) < height.get(own, 0):
                found.append(f"{module} imports {target}")
    return found


def rooms(root: pathlib.Path) -> list[str]:
    """Files and folders at the top of vprjax, but `__init__.py`."""
    names = (path.name for path in (root / "vprjax").iterdir())
    return sorted(name for name in names if not name.startswith(("__", ".")))


def long_files(root: pathlib.Path) -> list[str]:
    """Files of text in `PACKAGES` with more than `FILE_LINES` lines, but records."""
    paths = [path for folder in PACKAGES for path in (root / folder).rglob("*")]
    found = []
    for path in sorted(paths):
        if path.suffix in TEXT and "records" not in path.parts:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > FILE_LINES:
                found.append(f"{path.relative_to(root)}: {lines} lines")
    return found


def functions(root: pathlib.Path):
    """`(label, node)` of every function of `PACKAGES`, however deep."""
    for path in python_files(root, *PACKAGES):
        for node in ast.walk(parsed(root / path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", node


def long_functions(root: pathlib.Path) -> list[str]:
    """Functions of more than `FUNCTION_LINES` lines, from `def` to the last."""
    lengths = ((label, node.end_lineno - node.lineno + 1) for label, node in functions(root))
    return [f"{label}: {lines} lines" for label, lines in lengths if lines > FUNCTION_LINES]


def wide_functions(root: pathlib.Path) -> list[str]:
    """Functions of more than `PARAMETERS` parameters, `*args` and `**kwargs` one each, self none."""
    found = []
    for label, node in functions(root):
        named = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        count = sum(arg.arg not in ("self", "cls") for arg in named)
        count += sum(arg is not None for arg in (node.args.vararg, node.args.kwarg))
        if count > PARAMETERS:
            found.append(f"{label}: {count} parameters")
    return found


def strange_imports(root: pathlib.Path) -> list[str]:
    """Imports of `NARROW`'s modules and packages that are not theirs; those that are not there."""
    found = []
    for place, allowed in NARROW.items():
        file = pathlib.Path(f"{place}.py")
        paths = [file] if (root / file).is_file() else python_files(root, place)
        if not paths:
            found.append(f"{place} is not there")
        own = module_name(file)
        for path in paths:
            names = (name for name in imports(root, path) if name.startswith("vprjax."))
            found += [f"{path} imports {n}" for n in names if not inside(n, (own, *allowed))]
    return found


def strange_importers(root: pathlib.Path) -> list[str]:
    """Importers of a package beside its one home, and homes that do not import theirs."""
    found = []
    for package, home in IMPORTERS.items():
        paths = python_files(root, "vprjax", "configs", "tfds_builders")
        importers = [
            str(path) for path in paths if any(inside(n, [package]) for n in imports(root, path))
        ]
        found += [f"{path} imports {package}" for path in importers if path != home]
        if home not in importers:
            found.append(f"{home} does not import {package}")
    return found


def strange_mappers(root: pathlib.Path) -> list[str]:
    """Files other than `MAPPER` that map over devices."""
    paths = python_files(root, "vprjax", "configs", "tfds_builders")
    users = (path for path in paths if any(word in (root / path).read_text() for word in MAPS))
    return [f"{path} maps over devices" for path in users if str(path) != MAPPER]


def broken_borders(root: pathlib.Path) -> list[str]:
    """Imports between vprjax and tfds_builders, and those of configs beyond `CONFIGS_IMPORT`."""
    found = []
    for folder in ("vprjax", "configs", "tfds_builders"):
        for path in python_files(root, folder):
            for name in sorted(imports(root, path)):
                strange = {
                    "vprjax": inside(name, ["tfds_builders"]),
                    "tfds_builders": inside(name, ["vprjax"]),
                    "configs": not inside(name, CONFIGS_IMPORT),
                }
                if strange[folder]:
                    found.append(f"{path} imports {name}")
    return found


def private_names(paths: list[pathlib.Path], root: pathlib.Path) -> set[str]:
    """Private names of functions, classes, variables and own attributes in files below `root`."""
    found = set()
    for path in paths:
        for node in ast.walk(parsed(root / path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif _on_self(node) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return {name for name in found if re.match("_[A-Za-z]", name)}


def _on_self(node: ast.AST) -> bool:
    whose = node.value if isinstance(node, ast.Attribute) else None
    return isinstance(whose, ast.Name) and whose.id in ("self", "cls")


def _named(node: ast.AST) -> list[str]:
    """What a node names of something else: an attribute, imported names, or the end of a string."""
    if isinstance(node, ast.Attribute):
        return [] if _on_self(node) else [node.attr]
    if isinstance(node, ast.ImportFrom):
        return [name.name for name in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.findall(r"^(?:\w+\.)*(\w+)$", node.value)
    return []


def private_reaches(root: pathlib.Path) -> list[str]:
    """Places of tests that name what is private to a module of `PACKAGES`.

    Counted are attributes of anything but self and cls, names from an import, and strings such as those
    that `monkeypatch.setattr` and `getattr` take; not counted are names that the test file gives itself.
    """
    every = private_names(python_files(root, *PACKAGES), root)
    found = []
    for path in python_files(root, "tests"):
        ours = every - private_names([path], root)
        nodes = list(ast.walk(parsed(root / path)))
        joined = (node.values for node in nodes if isinstance(node, ast.JoinedStr))
        parts = {id(part) for values in joined for part in values}
        for node in nodes:
            if id(node) not in parts:
                found += [f"{path}:{node.lineno} {name}" for name in _named(node) if name in ours]
    return found


def measures(root: pathlib.Path) -> list[Measure]:
    """Every count of a tree that has the folders `PACKAGES` and tests."""
    modules = graph(root, *PACKAGES)
    by_room = room_graph(modules)
    return [
        Measure("rooms in vprjax", rooms(root), ROOMS),
        Measure(f"files over {FILE_LINES} lines", long_files(root)),
        Measure("import circles of modules", circle(modules)),
        Measure("import circles of rooms", circle(by_room)),
        Measure("upward arrows between rooms", upward_arrows(modules)),
        Measure(f"functions over {FUNCTION_LINES} lines", long_functions(root), LONG_FUNCTIONS),
        Measure(f"functions over {PARAMETERS} parameters", wide_functions(root)),
        Measure("imports beyond what a file may know", strange_imports(root)),
        Measure("importers of a package beside its home", strange_importers(root)),
        Measure("files that map over devices beside their home", strange_mappers(root)),
        Measure("imports across vprjax, configs, tfds_builders", broken_borders(root)),
        Measure("reaches of tests into private names", private_reaches(root), PRIVATE_REACHES),
    ]


def table(found: list[Measure]) -> str:
    """One line per count with its bound, and below each that is too high what was found."""
    width = max(len(measure.what) for measure in found)
    lines = []
    for measure in found:
        lines.append(f"{measure.what:{width}}  {len(measure.found):3} of at most {measure.bound}")
        lines += [] if measure.holds else [f"    {one}" for one in measure.found]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measures(pathlib.Path(__file__).resolve().parents[2])))
