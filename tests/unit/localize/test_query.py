"""The query command keeps what it wrote before, follows a drive, and names what cannot be asked."""

import io
import os
import types

import pytest

from tests.helpers import made_up_model
from tests.helpers.made_up_model import drive, picture
from vprjax.errors import DataError
from vprjax.export.__main__ import main as export
from vprjax.localize import place_filter
from vprjax.localize.__main__ import main
from vprjax.localize.map import Map


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A saved map of twelve pictures, which opens with its made-up model."""
    built = Map.build(made_up_model.model(), drive(tmp_path / "monday"), tmp_path / "map")
    monkeypatch.setattr(Map, "open", lambda *_: built)
    return built


def ask(tmp_path, *flags):
    return main(["query", "--map=map", f"--images={tmp_path / 'asked'}", *flags])


def test_a_damaged_picture_leaves_an_earlier_file_as_it_is(tmp_path, places, capsys):
    drive(tmp_path / "asked", range(6))
    out = tmp_path / "good.csv"
    assert ask(tmp_path, f"--out={out}") == 0
    before = out.read_bytes()
    assert before.count(b"\n") == 7
    (tmp_path / "asked/005.png").write_bytes(b"no picture")
    assert ask(tmp_path, f"--out={out}") == 2
    assert "005.png" in capsys.readouterr().err and out.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "name", "before", "said"),
    [
        ("out", "places.csv", "sequence,image,x,y\n", "places.csv is a file that this command did not"),
        ("out", "map.json", '{"model": {}}', "map.json is a file that this command did not write; name"),
        ("out", "route.geojson", '{"type": "Feature"}', "route.geojson is a file that this command did"),
        ("page", "a.html", "<svg>", "a.html is a file that this command did not write; name another"),
        ("page", "places.npz", "PK", "places.npz: give a file ending in .html"),
        ("out", "a.csv", None, "a.csv is a folder; name a file"),
        ("page", "a.html", None, "a.html is a folder; name a file"),
    ],
)  # fmt: skip
def test_files_of_others_stay(tmp_path, places, capsys, option, name, before, said):
    drive(tmp_path / "asked", range(2))
    at = tmp_path / name
    at.write_text(before) if before else at.mkdir()
    assert ask(tmp_path, f"--{option}={at}") == 2
    assert said in capsys.readouterr().err and (at.is_dir() or at.read_text() == before)


@pytest.mark.parametrize("flag", ["out=a.csv", "out=a.json", "out=a.geojson", "page=a.html"])
def test_its_own_files_are_written_again(tmp_path, places, monkeypatch, flag):
    monkeypatch.chdir(tmp_path)
    drive(tmp_path / "asked", range(2))
    monkeypatch.setattr(Map, "crs", "EPSG:32630")
    for _ in range(2):
        assert ask(tmp_path, f"--{flag}") == 0


def test_ctrl_c_keeps_what_is_answered(tmp_path, places, monkeypatch):
    drive(tmp_path / "asked", range(6))
    whole, calls = Map.query, []

    def query(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(Map, "query", query)
    assert ask(tmp_path, f"--out={tmp_path / 'part.csv'}") == 130
    assert (tmp_path / "part.csv").read_text().count("\n") == 5


def test_a_home_folder_is_meant_by_its_sign(tmp_path, places, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    drive(tmp_path / "asked", range(2))
    assert ask(tmp_path, "--out=~/answers.json") == 0
    assert (tmp_path / "answers.json").is_file()


def test_a_reader_that_has_enough_ends_the_command(tmp_path, places, monkeypatch, capfd):
    drive(tmp_path / "asked", range(2))

    class Head:
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return taken

    taken = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr("sys.stdout", Head())
    assert ask(tmp_path) == 0
    os.close(taken)
    assert "run the same command again" not in capfd.readouterr().err


@pytest.mark.parametrize("out", ["", "/", ".", "loops/"])
def test_loop_files_need_a_prefix(capsys, out):
    assert main(["loops", "--map=map", f"--out={out}"]) == 2
    assert "give what the files' names begin with" in capsys.readouterr().err


def test_loops_keeps_files_of_others_and_replaces_its_own(tmp_path, places, capsys):
    loops = ["loops", "--map=map", f"--out={tmp_path / 'closed'}"]
    assert main(loops) == main(loops) == 0
    (tmp_path / "closed-colmap.txt").write_text("a.png b.png\n")
    assert main([*loops, "--window=3f"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(
        "closed-colmap.txt is a file that this command did not write; name another"
    )
    assert (tmp_path / "closed-colmap.txt").read_text() == "a.png b.png\n"


@pytest.mark.parametrize("flag", ["--fps=inf", "--fps=nan", "--speed=inf", "--images="])
def test_what_means_nothing_is_refused(tmp_path, places, capsys, flag):
    drive(tmp_path / "asked", range(1))
    assert ask(tmp_path, flag) == 2
    said = capsys.readouterr()
    assert not said.out and "give " in said.err and said.err.count("\n") == 1


def test_what_was_not_written_is_not_said_to_be(tmp_path, places, monkeypatch, capsys):
    stream = types.SimpleNamespace(buffer=io.BytesIO())
    monkeypatch.setattr("sys.stdin", stream)
    assert ask(tmp_path, "--images=-", f"--out={tmp_path / 'a.csv'}") == 0
    assert capsys.readouterr().err == "0 pictures answered\n"
    drive(tmp_path / "asked", range(1))
    assert ask(tmp_path) == 0
    assert capsys.readouterr().err == "1 picture answered\n"


@pytest.mark.parametrize("threshold", ["95", "-0.1", "nan"])
def test_a_threshold_in_percent_is_refused(tmp_path, places, capsys, threshold):
    assert main(["loops", "--map=map", f"--out={tmp_path / 'a'}", f"--threshold={threshold}"]) == 2
    assert "give a confidence from 0 to 1" in capsys.readouterr().err
    assert not [*tmp_path.glob("a-*")]


def test_a_step_takes_one_frame(places):
    follower = places.follow(20.0)
    with pytest.raises(DataError, match="2 pictures at once; give one frame per step"):
        follower.step([picture(0), picture(1)], 0.0)
    with pytest.raises(DataError, match="k is 0; give a whole number, 1 or more"):
        follower.step(picture(0), 0.0, k=0)
    assert follower.step(picture(3), 0.0, k=1).image_ids.tolist() == ["003.png"]


def test_a_speed_that_reaches_too_many_places_is_refused(places, monkeypatch):
    monkeypatch.setattr(place_filter, "MOST_MOVES", 60)
    follower = places.follow(25.0)  # of twelve places, 10 m apart
    follower.step(picture(0), 0.0)
    follower.step(picture(1), 1.0)  # 12 + 2 (11 + 10) moves
    with pytest.raises(
        DataError, match="within the 50 position units of a step a place has 7 others on"
    ):
        follower.step(picture(2), 2.0)


def test_ctrl_c_ends_an_export_in_a_word(tmp_path, monkeypatch, capsys):
    def write(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vprjax.export.write.write", write)
    words = ["--model=runs/mine", "--format=stablehlo", f"--out={tmp_path / 'a.bin'}"]
    assert export(words) == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
