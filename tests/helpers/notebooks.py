"""Reads and executes the notebooks."""

import json

import nbformat
from nbclient import NotebookClient

from tests.helpers import commands

FOLDER = commands.ROOT / "experiments" / "notebooks"


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(name, monkeypatch, **parameters):
    """Runs a notebook with `parameters` set after its own; its outputs as one text."""
    for key, value in commands.ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    notebook = read(name)
    (own,) = (i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", ()))
    lines = [f"{key} = {value!r}" for key, value in parameters.items()]
    assert all(key in notebook.cells[own].source for key in parameters)
    notebook.cells.insert(own + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": commands.ROOT}},
    )
    client.execute()
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])
