"""The store on disk: resumed to the byte, refused where it does not fit, damage named."""

import json
import os
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from configs import base
from tests.helpers.commands import ROOT
from tests.helpers.memory_places import standing
from vprjax.descriptors import store
from vprjax.errors import DataError

KEY = {"model": "abc", "dataset": "x:1.0.0", "split": "test01"}
N, D = 23, 6
ROWS = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def described(first):
    for start in range(first, N, 4):
        yield ROWS[start : start + 4]


def written(folder, describe=described, dtype="float32", key=KEY):
    return store.write(folder, key, standing(np.arange(2 * N).reshape(N, 2)), D, dtype, describe)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rows_ids_and_positions_come_back(tmp_path, dtype):
    store = written(tmp_path / "s", dtype=dtype)
    kind = {"bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    assert (np.asarray(store.rows) == ROWS.astype(kind)).all()
    assert store.image_ids[22] == "image22" and store.positions[22].tolist() == [44, 45]
    store.check()


def test_a_complete_store_is_not_computed_again(tmp_path):
    written(tmp_path / "s")

    def never(first):
        raise AssertionError

    assert (written(tmp_path / "s", never).rows == ROWS).all()


def test_an_extraction_that_fails_goes_on_after_its_last_block(tmp_path):
    def broken(first):
        for number, block in enumerate(described(first)):
            if number == 3:
                raise RuntimeError("power cut")
            yield block

    with pytest.raises(RuntimeError, match="power cut"):
        written(tmp_path / "s", broken)
    with pytest.raises(DataError, match="incomplete: 288 bytes of 552"):
        store.open_store(tmp_path / "s", KEY)
    # What a kill may leave: bytes that no line lists, and half a line.
    with (tmp_path / "s" / "rows").open("ab") as file:
        file.write(b"half a block")
    with (tmp_path / "s" / "blocks.jsonl").open("a") as file:
        file.write('{"first": 12, "ro')
    seen = []

    def rest(first):
        seen.append(first)
        yield from described(first)

    written(tmp_path / "s", rest)
    whole = written(tmp_path / "whole")
    assert seen == [12] and whole.rows.shape == (N, D)
    for name in ("rows", "blocks.jsonl", "store.json"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"model": "def"}, "model"), ({"dataset": "x:1.0.1"}, "dataset"), ({"split": "a"}, "split")],
)
def test_a_store_of_something_else_is_refused(tmp_path, change, named):
    written(tmp_path / "s")
    with pytest.raises(DataError, match=f"holds descriptors of another {named}"):
        written(tmp_path / "s", key=KEY | change)
    with pytest.raises(DataError, match=f"holds descriptors of another {named}"):
        store.open_store(tmp_path / "s", KEY | change)


def test_another_size_or_dtype_is_refused(tmp_path):
    written(tmp_path / "s")
    with pytest.raises(DataError, match="another dtype"):
        written(tmp_path / "s", dtype="float16")
    with pytest.raises(DataError, match="another dimension"):
        store.write(tmp_path / "s", KEY, standing(np.zeros((N, 2))), D + 1, "float32", described)


def test_damage_is_found_and_computed_again(tmp_path):
    written(tmp_path / "s")
    rows = tmp_path / "s" / "rows"
    data = bytearray(rows.read_bytes())
    data[5 * D * 4] ^= 1
    rows.write_bytes(data)
    with pytest.raises(DataError, match="rows 4 to 7 are damaged"):
        store.open_store(tmp_path / "s", KEY).check()
    assert (written(tmp_path / "s").rows == ROWS).all()
    rows.write_bytes(rows.read_bytes()[:-1])
    with pytest.raises(DataError, match="incomplete: 551 bytes of 552"):
        store.open_store(tmp_path / "s", KEY)
    (tmp_path / "s" / "store.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        store.open_store(tmp_path / "s")
    with pytest.raises(DataError, match=r"no store\.json"):
        store.open_store(tmp_path / "none")


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*/s/rows'"):
            # What is written before the rows are, is not waited for.
            patch.setattr(store, "write_atomically", lambda path, text: path.write_text(text))
            written(tmp_path / "s")
    assert (written(tmp_path / "s").rows == ROWS).all()


def test_the_fingerprint_tells_models_apart():
    config, variables = base.get_config().model, {"params": {"p": np.ones(3, np.float32)}}
    same = store.fingerprint(config, {"params": {"p": np.ones(3, np.float32)}})
    assert store.fingerprint(config, variables) == same
    other = {"params": {"p": np.array([1, 1, 1 + 2**-23], np.float32)}}
    assert store.fingerprint(config, other) != same
    config.update(weights="elsewhere", released="megaloc", partial_weights=True, remat=True)
    assert store.fingerprint(config, variables) == same
    config.scales_power = 3.0  # of one size it does nothing; earlier versions had none
    assert store.fingerprint(config, variables) == same
    config.scales = (1.0, 0.5)
    several = store.fingerprint(config, variables)
    config.scales_power = 1.0
    assert len({same, several, store.fingerprint(config, variables)}) == 3
    config.scales, config.pooling = (1.0,), "mac"
    assert store.fingerprint(config, variables) != same


PROGRAM = """
import os, pathlib, signal, sys
import numpy as np
from tests.helpers.memory_places import standing
from vprjax.descriptors import store

rows = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)
computed = open(sys.argv[2], "a")
left = int(sys.argv[3])

def describe(first):
    global left
    for start in range(first, 400, 8):
        computed.write(f"{start}\\n"); computed.flush()
        yield rows[start : start + 8]
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

places = standing(np.zeros((400, 2)))
store.write(pathlib.Path(sys.argv[1]), {"model": "m"}, places, 64, "float32", describe)
"""


def test_killed_extractions_end_with_the_bytes_of_an_undisturbed_one(tmp_path):
    def run(folder, log, kill_after):
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), str(log), str(kill_after)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        ).returncode

    assert run(tmp_path / "whole", tmp_path / "whole.log", 0) == 0
    for kill_after in (1, 17):
        assert run(tmp_path / "cut", tmp_path / "cut.log", kill_after) == -signal.SIGKILL
    assert run(tmp_path / "cut", tmp_path / "cut.log", 0) == 0
    starts = (tmp_path / "cut.log").read_text().split()
    assert sorted(map(int, set(starts))) == list(range(0, 400, 8))
    assert len(starts) <= 50 + 2  # at most the block in hand at each kill is computed again
    for name in ("rows", "blocks.jsonl", "store.json", "places.npz"):
        cut, whole = ((tmp_path / f / name).read_bytes() for f in ("cut", "whole"))
        assert cut == whole, name
    assert json.loads((tmp_path / "cut" / "store.json").read_text())["rows"] == 400
