"""Writes LICENSES.md: the licence of every package that an installation brings.

python experiments/licences.py
"""

import argparse
import configparser
import importlib.metadata
import pathlib

from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILE = ROOT / "LICENSES.md"
HEAD = """# Licences of what vprjax needs at run time

`python experiments/licences.py` writes this table from the metadata of the installed packages. A
package that only other releases bring, which `setup.cfg` allows too, keeps its row. This repository
holds nothing of theirs.

| package | version | licence |
| --- | --- | --- |
"""


def requirements() -> list[Requirement]:
    """The run-time dependencies of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in parser["options"]["install_requires"].split("\n") if line]


def closure() -> list[str]:
    """Names of the run-time dependencies and of all packages that they need here."""
    found, waiting = set(), [(r.name, extra) for r in requirements() for extra in ("", *r.extras)]
    while waiting:
        name, extra = waiting.pop()
        name = name.lower().replace("_", "-")
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, further) for further in ("", *needed.extras)]
    return sorted({name for name, _ in found})


def licence(name: str) -> str:
    """The licence in a package's metadata; empty where it has none."""
    metadata = importlib.metadata.metadata(name)
    classes = [
        c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier", []) if "License ::" in c
    ]
    text = metadata.get("License-Expression") or "; ".join(classes) or metadata.get("License", "")
    return next(iter(text.strip().splitlines()), "")


def main() -> None:
    """Writes the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    _, _, table = FILE.read_text().partition("| --- | --- | --- |\n")
    rows = {row.split(" ")[1]: row for row in table.splitlines()}
    rows |= {n: f"| {n} | {importlib.metadata.version(n)} | {licence(n)} |" for n in closure()}
    FILE.write_text(HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows)))


if __name__ == "__main__":
    main()
