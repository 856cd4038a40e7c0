"""Reading rows of memory maps keeps resident memory flat."""

import subprocess
import sys

import numpy as np

from vprjax.retrieval.rows import Block, Rows

PROGRAM = """
import sys
import numpy as np
from vprjax.runtime.memory import measured_peak
from vprjax.retrieval.rows import Rows

stored = np.memmap(sys.argv[1], np.float32, "r", shape=(4000, 16384))
start = measured_peak()
read = Rows(stored)
for first in range(0, 4000, 100):
    read(slice(first, first + 100))
read(np.arange(0, 4000, 50))
print((measured_peak() - start) / 2**20)
"""


def test_pages_of_a_file_are_given_back(tmp_path):
    np.zeros((4000, 16384), np.float32).tofile(tmp_path / "rows")  # 250 MiB
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "rows")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 60


def test_a_block_counts_from_its_start():
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    for hold in (True, False):
        block = Block(Rows(x), slice(3, 8), hold)
        assert len(block) == 5
        assert (block(slice(1, 3)) == x[4:6]).all()
        assert (block(slice(None), slice(1, 2)) == x[3:8, 1:2]).all()
        assert (block(np.array([4, 0])) == x[[7, 3]]).all()
