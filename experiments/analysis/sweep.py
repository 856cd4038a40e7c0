"""Tables of sweeps: one row per run, named by the config keys that differ from its cell's first run."""

from analysis import scores
from analysis.record_scores import marks_of, model_name, unit
from analysis.rows import Record, Row
from analysis.scores import OFF_THE_SHELF
from analysis.text_table import NAMES, Table
from vprjax.config.changes import differences, leaves


def table(record: Record, rows: list[Row]) -> Table:
    """The FCM of every run of `rows`, and of every untrained model once.

    A cell's first run shows the values of all keys that its other runs change.
    """
    runs, untrained, trained = _runs(rows), [], []
    splits = list(dict.fromkeys(row.split for row in rows))
    texts = _texts(record, runs)
    for run, text in zip(runs, texts, strict=True):
        row, fine_tuned = run[0], _title(run[0])
        dataset = row.dataset.partition("/")[2].partition(":")[0]
        trained.append(
            [fine_tuned, dataset, row.seed, row.machine.partition(",")[0], text]
            + [_ladder(run, "fine_tuned", split) for split in splits]
        )
        marks = marks_of(record, row._replace(model=OFF_THE_SHELF))
        what = ", ".join([NAMES[OFF_THE_SHELF], *marks])
        before = [fine_tuned.partition(",")[0], dataset, row.seed, "", what]
        before += [_ladder(run, OFF_THE_SHELF, split) for split in splits]
        if before not in untrained:
            untrained.append(before)
    return _table(record, rows, splits, untrained + trained)


def _texts(record: Record, runs: list[list[Row]]) -> list[str]:
    """Per run the keys that differ from its cell's first run; for the first all that others change."""
    bases: dict[str, Row] = {}
    changed: dict[str, set[str]] = {}
    for row, *_ in runs:
        base = bases.setdefault(row.cell, row)
        changed.setdefault(row.cell, set()).update(_differences(record, base, row))
    out = []
    for row, *_ in runs:
        base, known = bases[row.cell], _settings(record, row)
        keys = changed[row.cell] if row is base else _differences(record, base, row)
        out.append(", ".join(f"`{key}={_value(known[key])}`" for key in sorted(keys)))
    return out


def _runs(rows: list[Row]) -> list[list[Row]]:
    """Rows by run, in order."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        key = (row.cell, row.dataset, row.seed, row.config, row.trained_with, row.machine)
        found.setdefault(key, []).append(row)
    return list(found.values())


def _table(record: Record, rows: list[Row], splits: list[str], out: list[list[str]]) -> Table:
    tolerances = " / ".join(dict.fromkeys(row.tolerance for row in rows))
    head = ["model", "images", "seed", "processor", "settings"]
    # A column with one value for all rows goes.
    kept = [i for i in range(5) if i == 4 or len({line[i] for line in out} - {""}) > 1]
    head = [head[i] for i in kept]
    columns = [f"{split}, {tolerances} {unit(record, rows)}" for split in splits]
    lines = [[*(line[i] for i in kept), *line[5:]] for line in out]
    return Table("", head + columns, lines, len(head), [])


def _title(row: Row) -> str:
    cell = row.parts
    return f"{model_name(cell.backbone, cell.pooling)}, {NAMES[cell.loss]}"


def _settings(record: Record, row: Row) -> dict:
    """All keys of a run's training and evaluation, with their values."""
    trained, evaluated = record.configs[row.trained_with], record.configs[row.config]
    return dict(leaves({**trained, "eval": evaluated["eval"]}))


def _differences(record: Record, base: Row, row: Row) -> list[str]:
    """The keys that matter to this cell and differ; a projection's start matters beside one only."""
    trained, known = record.configs[row.trained_with], _settings(record, row)
    return [
        key
        for key, pair in differences(_settings(record, base), known).items()
        if None not in pair
        and scores.matters(key, trained)
        and (key != "model.projection_start" or known["model.projection"])
    ]


def _value(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ladder(run: list[Row], model: str, split: str) -> str:
    values = [row.fcm for row in run if row.model == model and row.split == split]
    return " / ".join(f"{float(value):.1f}" for value in values)
