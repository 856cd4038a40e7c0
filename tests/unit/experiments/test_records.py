"""The committed record: its tables are what the command prints, and a grid or a benchmark adds to it."""

import json
import re
import shutil

import pytest
import records
from analysis import fill, rows, speed
from analysis.record_tables import TABLES

from tests.helpers import made_up_runs
from vprjax.errors import DataError

CELL = ("resnet50", "gem", "triplet")


@pytest.fixture(scope="module")
def kept():
    return fill.read(records.FOLDER)


def test_the_committed_files_are_what_the_command_writes(kept):
    for path, text in records.texts(records.ROOT, kept).items():
        name = path.relative_to(records.ROOT)
        assert path.read_text(encoding="utf-8") == text, f"{name}: run experiments/records.py"


def test_every_table_of_the_records_is_shown_and_a_changed_number_is_noticed(kept):
    documents = sorted(records.FOLDER.glob("*.md"))
    blocks = [
        (path, *block) for path in documents for block in fill.BLOCK.findall(path.read_text())
    ]
    assert len(blocks) > 30 and {name for *_, name, _ in blocks} <= TABLES.keys()
    for path in {path for path, *_ in blocks}:
        text = path.read_text()
        at = re.search(r"\d\.\d", text[text.index("<!-- results") :]).start()
        at += text.index("<!-- results")
        changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
        assert fill.filled(changed, kept) == text != changed


def test_no_record_holds_a_path_of_one_machine():
    for path in records.FOLDER.iterdir():
        if path.suffix in (".md", ".csv", ".jsonl"):
            found = re.findall(r"(?<![\w.<])/(?:\w+/)+\w+", path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: {found[:3]}"
    assert not list(records.FOLDER.glob("*.json"))


def test_configs_are_named_by_their_digest_and_hold_nothing_of_a_run(kept):
    for name, config in kept.runs.configs.items():
        assert rows.digest(config) == name and "seed" not in config
        assert "data_dir" not in config["dataset"] and "/" not in config["model"]["weights"]


def test_a_block_names_a_table_and_ends(kept):
    with pytest.raises(
        DataError, match=r"no table is called 'nordlnad': must be one of .*nordland"
    ):
        fill.filled("<!-- results: nordlnad -->\n<!-- end -->", kept)
    with pytest.raises(DataError, match="has no `<!-- end -->`"):
        fill.filled("<!-- results: nordland -->\n", kept)


def grid(folder, fcm, seeds):
    folder.mkdir()
    found = [made_up_runs.document(CELL, seed, fcm) for seed in seeds]
    rows.write(folder, rows.renewed(rows.merged(rows.of_results(d, folder.name) for d in found)))
    return folder


def test_a_grid_replaces_the_runs_of_its_set_cell_and_seed(kept, tmp_path):
    first = records.added(kept, grid(tmp_path / "made_up", 40.0, (0, 1)))
    assert len(first.runs.rows) == len(kept.runs.rows) + 2 * 2 * 2 * 4
    shutil.rmtree(tmp_path / "made_up")
    second = records.added(first, grid(tmp_path / "made_up", 60.0, (1, 2)))
    own = [r for r in second.runs.rows if r.set == "made_up" and r.model == "fine_tuned"]
    widest = {row.seed: row.fcm for row in own if (row.split, row.tolerance) == ("test01", "25")}
    assert widest == {"0": "40.0", "1": "60.0", "2": "60.0"}
    assert second.runs.rows[: len(kept.runs.rows)] == kept.runs.rows


def test_a_benchmarks_file_joins_the_speed_table(kept, tmp_path):
    row = {
        "name": "vgg16-gem-triplet",
        "rival": "torch eager",
        "vprjax_s": 2.0,
        "rival_s": 3.0,
        "ratio": 1.5,
        "spread": [1.9, 2.1],
        "rival_spread": [2.9, 3.1],
        "gflops": 7.0,
    }
    document = {
        "command": "python experiments/benchmark.py --json=f train_step --batch=4 --only=vgg16",
        "machine": "made up",
        "code_version": "0.1.0 (abc)",
        "packages": {"jax": "1"},
        "rows": [row],
    }
    path = tmp_path / "train_step.json"
    path.write_text(json.dumps(document))
    twice = records.added(records.added(kept, path), path)
    assert len(twice.speed) == len(kept.speed) + 1
    last = twice.speed[-1]
    assert (last.benchmark, last.flags, last.figures) == ("train_step", "--batch=4", "gflops=7.0")
    table = speed.rivals(twice.speed, "train_step")
    assert table.head[-1] == "made up, --batch=4"
    assert table.rows[0][-1] == "2 / 3 / 1.50"
    command = (
        "python experiments/benchmark.py --rounds 3 --json=f train_step --batch {} --only vgg16"
    )
    for batch in (4, 8):  # other spellings of flags, and another case
        path.write_text(json.dumps(document | {"command": command.format(batch)}))
        twice = records.added(twice, path)
    assert [(row.benchmark, row.flags) for row in twice.speed[len(kept.speed) :]] == [
        ("train_step", "--batch=4"),
        ("train_step", "--batch=8"),
    ]
    path.write_text(json.dumps(document | {"rows": [{"kind": "convolution"}]}))
    with pytest.raises(DataError, match="have no rival"):
        records.added(kept, path)


def test_what_is_neither_grid_nor_benchmark_is_refused(kept, tmp_path):
    with pytest.raises(DataError, match="holds no record of runs"):
        records.added(kept, tmp_path)
    (tmp_path / "file").write_text("{}")
    with pytest.raises(DataError, match="is no benchmark's record"):
        records.added(kept, tmp_path / "file")
