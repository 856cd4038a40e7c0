"""The grid's table at home and abroad."""

from analysis import abroad_table

from tests.helpers import made_up_runs

CELL = ("resnet50", "gem", "triplet")


def change(difference, low, high):
    found = {
        "before": 50.0,
        "after": 50.0 + difference,
        "difference": difference,
        "lost": 7,
        "gained": 2,
    }
    return {"test01": {"25": found | {"interval": [low, high]}}}


def run(seed, home, abroad):
    other = {"position_unit": "frames", "change": abroad}
    found = made_up_runs.document(CELL, seed, 40.0) | {"change": home}
    return found | {"others": {"places_csv/corridor:1.0.0": other}}


def test_one_seed_has_the_paired_interval_and_a_loss_abroad_is_told():
    found = abroad_table.table([run(0, change(9.0, 1.0, 12.0), change(-30.0, -40.0, -20.0))])
    home, abroad = found.rows
    assert home[:7] == [
        "triplet",
        "GeM",
        "ResNet50",
        "synthetic/tiny:1.1.0 (home)",
        "test01",
        "25 m",
        "1",
    ]
    assert home[9] == "+9.00 [+1.00, +12.00]"
    assert abroad[3:] == ["places_csv/corridor:1.0.0", "test01", "25 frames", "1", "50.00", "20.00",
                          "−30.00 [−40.00, −20.00]", "7", "2"]  # fmt: skip
    assert found.notes[0].endswith("below 0: ResNet50 + GeM, triplet on places_csv/corridor:1.0.0.")
    home_alone = abroad_table.table([run(0, change(-30.0, -40.0, -20.0), change(-3.0, -9.0, 2.0))])
    assert not home_alone.notes[0].startswith("**Forgot**")


def test_seeds_give_students_interval():
    found = abroad_table.table([run(i, {}, change(-30.0 - i, -90.0, -1.0)) for i in range(3)])
    (row,) = found.rows
    assert row[6] == "3" and row[9] == "−31.00 [−33.48, −28.52]" and row[10:] == ["21", "6"]


def test_without_another_dataset_there_is_no_table():
    assert abroad_table.table([made_up_runs.document(CELL, 0, 40.0)]) is None
