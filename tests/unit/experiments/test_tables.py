"""The command `tables.py`."""

import tables


def test_command_prints_the_paper_and_refuses_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py"])
    assert tables.main() == 0
    assert capsys.readouterr().out.count("93.18*") == 1
    monkeypatch.setattr("sys.argv", ["tables.py", f"--runs={tmp_path}"])
    assert tables.main() == 2
    assert "no results.json" in capsys.readouterr().err
