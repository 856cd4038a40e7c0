"""Commands from a process that imported ahead end as those that start from nothing."""

import os

import pytest

from tests.helpers import ready
from tests.helpers.commands import ROOT

PROGRAM = """
import os, signal, sys
print(os.getcwd(), os.environ["WORD"], *sys.argv[1:], __name__, "jax" in sys.modules, flush=True)
print(os.getpid(), file=sys.stderr, flush=True)
if sys.argv[1] == "-9":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def environment(tmp_path):
    """Variables with which `python -m told` runs, and both ways to start it."""
    (tmp_path / "told.py").write_text(PROGRAM)
    paths = os.pathsep.join(
        [str(ROOT), str(tmp_path), *os.environ.get("PYTHONPATH", "").split(":")]
    )
    variables = {**os.environ, "PYTHONPATH": paths, "WORD": "a word"}
    yield variables
    process, control = ready.servers.pop((*sorted(variables.items()), tmp_path))
    control.close()
    assert process.wait() == 0


def test_a_command_is_a_process_of_its_own_with_its_status_output_and_folder(environment, tmp_path):
    seen = set()
    for number, status in enumerate((2, 2, 0, -9)):
        with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
            words = (environment, tmp_path, "told", [status, "--flag=1"])
            assert ready.run(*words, out, err) == status
        said = (tmp_path / "out").read_text()
        assert said == f"{tmp_path} a word {status} --flag=1 __main__ {number > 0}\n"
        seen.add(int((tmp_path / "err").read_text()))
    assert len(seen) == 4 and os.getpid() not in seen
