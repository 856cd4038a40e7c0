"""The grid's command in this process; its jobs are processes of their own."""

import sys

import paper_grid

from tests.helpers.commands import ENVIRONMENT


def run(monkeypatch, *flags):
    """`python experiments/paper_grid.py flags`; its exit status."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["paper_grid.py", *flags])
    return paper_grid.main()
