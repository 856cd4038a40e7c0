"""A trained run becomes a map; its answers are the evaluation's, through Python and the commands."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request

import cv2
import numpy as np
import pytest

from tests.helpers import commands
from vprjax.data.pictures import Form
from vprjax.localize import calibration, sources
from vprjax.localize.__main__ import main
from vprjax.localize.commands import COMMANDS

PROGRAM = """
import json, sys
import numpy as np
import vprjax
from vprjax.evaluation.fcm import fcm
from vprjax.localize import sources
from vprjax.localize.__main__ import main
from vprjax.localize.commands import COMMANDS
run, data, at = sys.argv[1:]
places = vprjax.Map.open(at)
queries = sources.read("synthetic/tiny:test02", data)
pictures = queries.pictures(places.model.form).images(np.arange(len(queries.frames)))
answers = places.query(pictures, k=1)
positions = np.stack([a.positions[0] for a in answers])
out = {
    "fcm": fcm(queries.frames.positions, positions, (25.0, 10.0, 5.0, 2.0)).tolist(),
    "rows": [
        [i, str(a.image_ids[0]), *a.positions[0].tolist(), str(a.distances[0])]
        for i, a in zip(queries.frames.image_ids.tolist(), answers)
    ],
}
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a short run on the smallest town, `run`, and a map of its reference drive, `map`."""
    folder = tmp_path_factory.mktemp("localize")
    flags = (
        *commands.small("gem,triplet", folder / "run", folder / "data"),
        "--config.train.steps=4",
        "--config.train.checkpoint_every=4",
        "--config.dataset.query_splits=('test02',)",
        "--config.dataset.tolerances=(25.0, 10.0, 5.0, 2.0)",
    )
    commands.run("vprjax.main", *flags)
    done = commands.run("vprjax.localize", "map", *map_flags(folder))
    assert "WARNING" not in done.stderr, done.stderr  # no library's own lines among ours
    return folder


def map_flags(folder):
    return (
        f"--model={folder / 'run'}",
        "--images=synthetic/tiny:reference",
        f"--data_dir={folder / 'data'}",
        f"--out={folder / 'map'}",
    )


def table(text):
    return [*csv.DictReader(io.StringIO(text))]


def test_answers_are_the_evaluations(room):
    arguments = [str(room / name) for name in ("run", "data", "map")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    results = json.loads((room / "run/results.json").read_text())["results"]
    wanted = results["fine_tuned"]["test02"]["fcm"]
    assert [round(value, 4) for value in found["fcm"]] == [
        wanted[t] for t in ("25", "10", "5", "2")
    ]
    matches = table((room / "run/matches/fine_tuned_test02.csv").read_text())
    assert len(matches) == len(found["rows"]) > 10
    for row, (query, match, x, y, distance) in zip(matches, found["rows"], strict=True):
        assert (row["query"], row["match"]) == (query, match)
        assert (float(row["match_x"]), float(row["match_y"])) == (x, y)
        assert np.float32(row["distance"]) == np.float32(distance)


def test_the_same_command_again_changes_nothing(room):
    before = {p: p.stat().st_mtime_ns for p in (room / "map").rglob("*") if p.name != ".lock"}
    said = commands.run("vprjax.localize", "map", *map_flags(room)).stderr
    assert "is complete" in said and "images, " in said
    assert {p: p.stat().st_mtime_ns for p in before} == before


def stored(room, folder, count=3):
    """Writes the first pictures of the reference drive as files; their ids."""
    source = sources.read("synthetic/tiny:reference", str(room / "data"))
    folder.mkdir()
    for number, image in enumerate(source.pictures(Form(48, 64)).images(np.arange(count))):
        cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
    return source.frames.image_ids[:count].tolist()


def changed(room, folder):
    """Writes the pictures of the reference drive a little brighter; their positions file."""
    source = sources.read("synthetic/tiny:reference", str(room / "data"))
    frames, rows = source.frames, []
    folder.mkdir()
    for number, image in enumerate(source.pictures(Form(48, 64)).images(np.arange(len(frames)))):
        image = np.minimum(image.astype(int) + 2, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
        x, y = frames.positions[number]
        rows.append({"image": f"{number}.png", "id": f"{number}", "x": x, "y": y})
    document = {"position_unit": frames.unit, "crs": frames.crs, "splits": {"drive": rows}}
    (folder / "positions.json").write_text(json.dumps(document))
    return folder / "positions.json"


def test_query_answers_a_folder_and_a_stream(room, tmp_path):
    ids = stored(room, tmp_path / "asked")
    asking = ["query", f"--map={room / 'map'}", "--k=2"]
    flags = [*asking, f"--images={tmp_path / 'asked'}"]
    rows = table(commands.run("vprjax.localize", *flags).stdout)
    assert [row["match"] for row in rows] == ids and [r["image"] for r in rows] == [
        "0.png",
        "1.png",
        "2.png",
    ]
    out = tmp_path / "answers.json"
    done = commands.run("vprjax.localize", *flags, f"--out={out}")
    assert done.stdout == "" and "3 pictures answered" in done.stderr
    assert [one["matches"][0]["image"] for one in json.loads(out.read_text())] == ids
    frames = b"".join((tmp_path / f"asked/{i}.png").read_bytes() for i in (2, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "vprjax.localize", *asking, "--images=-"],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(frames)
    process.stdin.flush()
    lines = [process.stdout.readline().decode() for _ in range(3)]  # while the stream is open
    assert process.poll() is None
    assert [row["match"] for row in table("".join(lines))] == [ids[2], ids[0]]
    _, said = process.communicate(frames[:100])
    assert process.returncode == 0 and "ends inside image 2" in said.decode()


def test_query_writes_a_page_with_pictures_of_a_prepared_dataset(room, tmp_path):
    ids = stored(room, tmp_path / "asked")
    page = tmp_path / "page.html"
    flags = ["query", f"--map={room / 'map'}", f"--images={tmp_path / 'asked'}", f"--page={page}"]
    commands.run("vprjax.localize", *flags, f"--out={tmp_path / 'answers.csv'}")
    text = page.read_text(encoding="utf-8")
    assert text.count('src="data:image/jpeg;base64,') == 2 * len(ids)
    assert all(f"<figcaption>{name}</figcaption>" in text for name in ids)
    said = commands.run("vprjax.localize", *flags[:-1], "--page=/no/where/a.html", status=2).stderr
    assert "--page=/no/where/a.html: there is no folder /no/where" in said


def test_serve_answers_from_a_prepared_dataset(room, tmp_path):
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    ids = stored(room, tmp_path / "asked")
    with commands.start("vprjax.localize", "serve", f"--map={room / 'map'}", "--port=0") as server:
        try:
            at = next(line for line in server.stderr if "answers; Ctrl+C" in line).split()[0]
            asked = urllib.request.Request(
                f"{at}/query?k=2", (tmp_path / "asked/1.png").read_bytes()
            )
            with urllib.request.urlopen(asked) as response:
                found = json.load(response)
            assert found["image_ids"][0] == ids[1] and found["located"] is None
            with urllib.request.urlopen(f"{at}/image/{found['numbers'][0]}") as response:
                shown = cv2.imdecode(np.frombuffer(response.read(), np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(cv2.imread(str(tmp_path / "asked/1.png")) - shown.astype(int)).mean() < 12
            server.send_signal(signal.SIGTERM)
            last = server.stderr.read().splitlines()[-1]
            assert json.loads(last) == {"answered": 1, "refused": 0}
            assert server.wait(60) == 0
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host=0.0.0.0"], "--host=0.0.0.0 lets other machines ask: give --token=SECRET too"),
        (["--token=short"], "--token must have 16 or more characters"),
        (["--port=99999"], "--port=99999 cannot be used"),
        (["--map=missing"], "missing holds no map; build one"),
    ],
)
def test_mistakes_of_serve_end_in_one_sentence(room, flags, words):
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    flags = ["serve", f"--map={room / 'map'}", "--port=0", *flags]
    said = commands.run("vprjax.localize", *flags, status=2).stderr
    assert words in said and said.startswith("vprjax: error: ") and said.count("\n") == 1


def test_loops_writes_its_files(room, tmp_path):
    flags = ("loops", f"--map={room / 'map'}", f"--out={tmp_path / 'closed'}", "--k=2")
    said = commands.run("vprjax.localize", *flags, "--window=3f").stderr
    endings = ("-colmap.txt", "-descriptors.h5", "-g2o.csv", "-pairs.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"closed{e}" for e in endings]
    assert "pairs of" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--k=0"], "--k=0: give 1 or more"),
        (["--speed=0"], "--speed=0: give position units per second above 0"),
        (["--fps=0"], "--fps=0: give frames per second above 0"),
        (["--out=a.txt"], "--out=a.txt: give a file ending in .csv, .json, .geojson"),
        (["--out=/no/where/a.csv"], "there is no folder /no/where"),
        (["--out=a.geojson"], "does not know what its positions are coordinates of"),
        (["--images=missing.jpg"], "missing.jpg is not there"),
        (["--map=missing"], "missing holds no map; build one"),
    ],
)
def test_mistakes_end_in_one_sentence(room, flags, words, capsys):
    good = ["query", f"--map={room / 'map'}", f"--images={__file__}"]
    assert main([*good, *flags]) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("vprjax: error: ") and said.count("\n") == 1


def test_every_help_shows_a_whole_example(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert f"example:\n  python -m vprjax.localize {name} --" in capsys.readouterr().out


def test_help_imports_neither_jax_nor_numpy():
    program = (
        "import sys; from vprjax.localize.__main__ import parser; parser().format_help(); "
        "print(sorted({'jax', 'numpy', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_calibrated_map_locates_and_a_drive_is_followed(room, tmp_path):
    queries = changed(room, tmp_path / "queries")
    flags = [f"--map={room / 'map'}", f"--queries={queries}", "--radius=25"]
    flags += [f"--data_dir={room / 'data'}", "--test=synthetic/tiny:test01"]
    said = commands.run("vprjax.localize", "calibrate", *flags).stdout
    found = calibration.read(room / "run" / calibration.FILE)
    assert (found.precision, found.radius, found.reached) == (
        0.99,
        25.0,
        1.0,
    )  # nearly the map's own pictures
    assert f"ratio to the next other place is at most {found.threshold:.4f}" in said
    assert "synthetic/tiny:test01: " in said and "queries are located" in said
    stored(room, tmp_path / "asked")
    asking = ["query", f"--map={room / 'map'}", f"--images={tmp_path / 'asked'}", "--k=1"]
    rows = table(commands.run("vprjax.localize", *asking).stdout)
    assert [row["located"] for row in rows] == ["yes"] * 3
    (room / "run" / calibration.FILE).unlink()
    rows = table(commands.run("vprjax.localize", *asking, "--speed=20").stdout)
    assert len(rows) == 3 and all(row["located"] in ("yes", "no") for row in rows)
