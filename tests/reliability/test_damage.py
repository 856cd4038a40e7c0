"""Whatever a disk does to a file, its reader gives what was written or names it; never a wrong number.

Files are cut short or get one bit flipped at random places. A flip where no data lies may read as before.
"""

import contextlib
import json
import pathlib
import random
import re
import shutil

import jax
import numpy as np
import pytest
from analysis import scores

from configs import synthetic
from tests.helpers import made_up_runs
from tests.helpers.memory_places import standing
from vprjax.data import source
from vprjax.descriptors import store
from vprjax.errors import DataError, VprjaxError
from vprjax.storage import checkpoint, checksum, json_lines

TRIALS = {"checkpoint": (5, 60), "shard": (4, 50), "store": (5, 40), "lines": (5, 30)}
TRIALS |= {"results": (5, 20)}  # 24 in the short form, 200 in the long one


def bits(tree):
    """A tree of arrays and plain values as something that compares to the bit."""
    return jax.tree.map(lambda leaf: (np.asarray(leaf).dtype.str, np.asarray(leaf).tobytes()), tree)


def make_checkpoint(folder, _):
    random_rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    model = {"params": {"kernel": random_rows, "bias": random_rows[0]}, "mean": np.ones(3)}
    training = {"opt_state": random_rows[::-1], "tuples": np.arange(12, dtype=np.int32)}
    checkpoints = checkpoint.Checkpoints(folder)
    for step in (0, 5):
        checkpoints.save(
            step, model, training, {"config": {"seed": step}, "validations": [[1, 2.5]]}
        )
    checkpoints.close()

    def read():
        reader = checkpoint.open_for_reading(folder)
        read = reader.restore_model(5), reader.restore_training(5, training), reader.config(5)
        assert reader.config(0)["config"] == {"seed": 0}  # the one before stays good
        return bits(read[:2]), read[2]

    return folder / "5", read


def make_shard(folder, tiny):
    config = synthetic.get_config()
    config.dataset.update(name="synthetic/tiny", data_dir=str(folder))
    for path in tiny.rglob("*"):
        if path.is_file() and not re.search(r"test0\d\.array_record", path.name):
            copy = folder / path.relative_to(tiny)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())

    def read():
        told, places = source.open_dataset(config), source.load(config, ("train", "reference"))
        columns = places.positions, places.headings, places.timestamps
        words = places.image_ids.tolist(), places.labels.tolist(), told.version, told.counts
        return bits(columns), words, places.encoded(range(len(places)))

    return folder / "synthetic/tiny/1.1.0", read


def make_store(folder, _):
    rows = np.random.default_rng(0).normal(size=(23, 6)).astype(np.float32)
    places, key = standing(np.arange(46).reshape(23, 2)), {"model": "abc", "split": "test01"}

    def describe(first):
        return (rows[i : i + 4] for i in range(first, 23, 4))

    store.write(folder, key, places, 6, "float32", describe)

    def read():
        found = store.open_store(folder, key)
        found.check()
        return found.image_ids.tolist(), bits((np.array(found.rows), found.positions)), found.key

    return folder, read


def make_lines(folder, _):
    path = folder / "metrics.jsonl"
    lines = json_lines.JsonLines(path, 0)
    for step in range(1, 30):
        lines.write(step, {"loss": 1 / step, "histogram": [step, 0.1]})
    lines.close()
    whole = json_lines.read_rows(path)
    known = [json.dumps(row, sort_keys=True) for row in whole]

    def read():
        """Left-out rows must have been named; those that are read must be as they were."""
        said, before = [], json_lines.log
        json_lines.log = said.append
        try:
            found = json_lines.read_rows(path)
        finally:
            json_lines.log = before
        kept = [json.dumps({k: row.get(k) for k in whole[0]}, sort_keys=True) for row in found]
        if said and set(kept) < set(known):
            raise DataError(said[0])
        return kept

    return folder, read


def make_results(folder, _):
    path = folder / "results.json"
    document = made_up_runs.document(("vgg16", "gem", "triplet"), 0, 41.25)
    path.write_text(json.dumps(checksum.seal(document), indent=2) + "\n")
    return folder, lambda: scores.read([path])


MAKERS = {
    "checkpoint": make_checkpoint,
    "shard": make_shard,
    "store": make_store,
    "lines": make_lines,
    "results": make_results,
}


@contextlib.contextmanager
def damaged(path, dice):
    """`path` cut short or with one bit flipped, and back again; yields which."""
    whole = path.read_bytes()
    place = dice.randrange(len(whole))
    if dice.random() < 0.3:
        path.write_bytes(whole[:place])
        what = f"cut at byte {place} of {len(whole)}"
    else:
        bit = 1 << dice.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        what = f"bit {bit} of byte {place} of {len(whole)} flipped"
    try:
        yield f"{path.name}: {what}"
    finally:
        path.write_bytes(whole)


def outcome(read, good, folder):
    """ "equal", "named", or what is wrong with what was read or said."""
    try:
        return "equal" if read() == good else "WRONG: another value was read"
    except VprjaxError as error:
        said = str(error)
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {error}"
    is_named = str(folder) in said or " of split 'train' " in said or "split '" in said
    return "named" if is_named and "\n" not in said else f"WRONG: {said}"


@pytest.mark.parametrize("kind", list(TRIALS))
def test_damage(kind, long, tally, tiny, tmp_path):
    folder, read = MAKERS[kind](tmp_path, tiny)
    good, dice, found = read(), random.Random(kind), []
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(TRIALS[kind][long]):
        with damaged(dice.choice(files), dice) as what:
            found.append((outcome(read, good, folder), what))
    assert read() == good
    problems = [pair for pair in found if pair[0].startswith("WRONG")]
    tally.update(trials=len(found), named=len(found), wrong=len(problems))
    tally["named"] = sum(result == "named" for result, _ in found)
    assert not problems
    assert tally["named"] > len(found) / 4  # the damage was there to be seen


def test_a_damaged_store_is_extracted_again(tmp_path):
    folder, read = make_store(tmp_path / "store", None)
    good = read()
    whole = (folder / "blocks.jsonl").read_text()
    (folder / "blocks.jsonl").write_text(whole.replace('"rows": 4', '"rows": 5', 1))
    with pytest.raises(DataError, match="incomplete"):
        read()
    make_store(folder, None)
    assert read() == good


def test_a_cut_last_line_is_healed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    make_lines(tmp_path, None)
    whole = path.read_text()
    path.write_text(whole[:-9])
    lines = json_lines.JsonLines(path, 28)
    lines.write(29, {"loss": 1 / 29, "histogram": [29, 0.1]})
    lines.close()
    assert path.read_text() == whole


def test_a_split_that_lost_a_record_is_refused(tiny, tmp_path):
    folder, read = make_shard(tmp_path, tiny)
    path = pathlib.Path(folder / "dataset_info.json")
    path.write_text(re.sub(r'("shardLengths": \[\s*")48', r"\g<1>47", path.read_text()))
    with pytest.raises(DataError, match=r"'train' cannot be opened .* lists 47 records.*holds 48"):
        read()


def test_every_digit_of_results_counts(tally, tmp_path):
    """Another digit is still JSON: the checksum alone finds it."""
    _, read = make_results(tmp_path, None)
    path, good, found = tmp_path / "results.json", read(), []
    whole = path.read_bytes()
    for place in (i for i, byte in enumerate(whole) if chr(byte).isdigit()):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found.append(outcome(read, good, tmp_path))
    tally.update(trials=len(found), wrong=len(found) - found.count("named") - found.count("equal"))
    assert set(found) == {"named", "equal"}
    assert found.count("equal") == 2  # in the checksum's own name, crc32: the figures are whole


def test_arrays_of_another_checkpoint_are_refused(tmp_path):
    """Orbax reads them without complaint: the checksum of the arrays alone finds it."""
    checkpoints = checkpoint.Checkpoints(tmp_path)
    for step in (0, 5):
        values = {"a": np.full(9, step)}
        checkpoints.save(step, values, values, {"config": {}})
    checkpoints.close()
    for item in ("model", "training"):
        shutil.rmtree(tmp_path / "5" / item)
        shutil.copytree(tmp_path / "0" / item, tmp_path / "5" / item)
    reader = checkpoint.open_for_reading(tmp_path)
    for read in (reader.restore_model, lambda step: reader.restore_training(step, values)):
        assert read(0)["a"].tolist() == [0] * 9
        with pytest.raises(VprjaxError, match=r"5 cannot be read .* differs from its checksum"):
            read(5)
