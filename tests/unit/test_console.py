"""What a run shows without a terminal."""

from vprjax import console


def test_plain_lines_tell_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    bar = console.Progress("train", 100, "steps", start=50)
    bar.advance(5)  # 10 s: too soon to say anything
    bar.advance(5, loss=0.25)
    bar.close()
    said = capsys.readouterr().err.splitlines()
    assert said == ["train: 60/100 steps, 0.5 steps/s, 80 s left loss=0.25"]
