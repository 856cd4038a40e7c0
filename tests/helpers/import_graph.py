"""Who imports whom, read from the files' syntax."""

import ast
import functools
import graphlib
import pathlib
from collections.abc import Iterable


def python_files(root: pathlib.Path, *folders: str) -> list[pathlib.Path]:
    """The Python files below `folders` of `root`, as paths from there, sorted."""
    found = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sorted(path.relative_to(root) for path in found)


def parsed(path: pathlib.Path) -> ast.Module:
    """The syntax tree of a file."""
    return _parsed(path.read_text(encoding="utf-8"))


_parsed = functools.cache(ast.parse)


def imports(root: pathlib.Path, path: pathlib.Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it; `from a import b` gives `a.b`.

    Raises:
      ValueError: an import is relative.
    """
    found = set()
    for node in ast.walk(parsed(root / path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path} imports relatively")
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def inside(name: str, packages: Iterable[str]) -> bool:
    """Whether a dotted name is one of `packages` or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def module_name(path: pathlib.Path) -> str:
    """Dotted name of a file; a package's is its folder's."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def graph(root: pathlib.Path, *folders: str) -> dict[str, set[str]]:
    """The modules below `folders` and those of them that each imports, anywhere in it.

    Commands in experiments name each other without the folder's name, which is on their path.
    """
    files = {module_name(path): path for path in python_files(root, *folders)}

    def resolve(name: str, importer: str) -> str | None:
        parts = name.split(".")
        prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        if importer.startswith(("experiments.", "tests.")):
            prefixes += [f"experiments.{prefix}" for prefix in prefixes]
        return next((prefix for prefix in prefixes if prefix in files), None)

    return {
        module: {
            target
            for name in imports(root, path)
            if (target := resolve(name, module)) and target != module
        }
        for module, path in files.items()
    }


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, as its nodes in order with the first repeated; empty where there is none."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []
