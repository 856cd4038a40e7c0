"""`--long` for the long form of every test here, and a line that says how many trials were done."""

import collections

import pytest


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="reliability tests: all trials")


@pytest.fixture
def long(request):
    """Whether the long form was asked for; a run of the whole suite does not know the option."""
    return request.config.getoption("--long", default=False)


@pytest.fixture
def tally(request, record_property):
    """Counts of `trials`, `lost` and `wrong`, told at the end of the session."""
    counts = collections.Counter()
    yield counts
    told = ", ".join(f"{counts[name]} {name}" for name in ("trials", "lost", "wrong"))
    record_property("tally", f"{request.node.name}: {told}")


def pytest_terminal_summary(terminalreporter):
    for reports in list(terminalreporter.stats.values()):
        for report in reports:
            if getattr(report, "when", "") == "teardown":
                told = dict(report.user_properties).get("tally")
                if told:
                    terminalreporter.write_line(told)
