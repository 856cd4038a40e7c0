"""Tables of made-up rows, worked out by hand."""

from analysis import record_tables, rows, sweep
from analysis.record_scores import as_scores, chosen
from analysis.record_tables import Records

from tests.helpers import made_up_runs

TRIPLET, ARCFACE = ("vgg16", "gem", "triplet"), ("vgg16", "gem", "arcface")
PLAIN = {"pca": 0, "pca_whiten": False}
WHITENED = {"pca": 8, "pca_whiten": True}


def run(cell, seed, fcm, name="a", before=10.0, projection=0, evaluated=PLAIN, **sections):
    document = made_up_runs.document(cell, seed, fcm, before, projection=projection)
    provenance = document["provenance"]
    trained = provenance["config"] | {"eval": PLAIN}
    for section, values in sections.items():
        trained[section] = trained.get(section, {}) | values
    provenance["trained_with"], provenance["config"] = trained, trained | {"eval": evaluated}
    return rows.of_results(document, name)


def records(*runs):
    return Records(rows.merged(runs), [])


def test_overview_has_a_model_as_it_comes_off_the_shelf():
    found = records(
        run(TRIPLET, 0, 40.0, evaluated=WHITENED, before=20.0),
        run(TRIPLET, 1, 60.0, evaluated=WHITENED, before=20.0),
        run(ARCFACE, 0, 30.0, projection=4, before=12.0),
        run(("vgg16", "gem", "contrastive"), 0, 8.0, before=6.0),
    )
    table = record_tables.overview(found, "a", ("25", "2"))
    assert table.head == ["", "queries", "off the shelf", "triplet", "contrastive", "ArcFace"]
    own = ["6.0 / 0.8", "50.0 / 6.2", "8.0 / 1.0", "30.0 / 3.8"]
    assert table.rows[0] == ["VGG16 + GeM", "test01", *own]


def test_detail_keeps_variants_apart():
    found = records(
        run(TRIPLET, 0, 40.0),
        run(TRIPLET, 1, 60.0),
        run(TRIPLET, 0, 44.0, "b", evaluated=WHITENED, before=20.0),
        run(ARCFACE, 0, 30.0, projection=4, before=12.0),
    )
    table = record_tables.detail(found, "a", "b")
    first = [row[2:4] for row in table.rows if row[1] == "test01"]
    # Two seeds, 40 and 60: half width t(0.975, 1) * 14.142 / sqrt(2) = 127.06.
    assert first == [
        ["off the shelf", "10.0"],
        ["off the shelf, projected", "12.0"],
        ["off the shelf, whitened", "20.0"],
        ["triplet", "50.0 ± 127.1"],
        ["triplet, whitened", "44.0"],
        ["ArcFace", "30.0"],
    ]


def test_detail_has_losses_that_the_paper_lacks_behind_its_own():
    other = ("vgg16", "gem", "multi_similarity")
    found = records(run(other, 0, 50.0), run(TRIPLET, 0, 40.0))
    table = record_tables.detail(found, "a")
    named = [row[2] for row in table.rows if row[1] == "test01"]
    assert named == ["off the shelf", "triplet", "multi-similarity"]


def test_comparisons_show_every_single_model():
    found = records(
        *(run(c, s, f + s) for c, f in ((TRIPLET, 40.0), (ARCFACE, 46.0)) for s in (0, 1))
    )
    rows_ = record_tables.comparisons(found, "a").rows
    assert [row[:3] for row in rows_] == [
        ["ArcFace − triplet", "all", "1"],
        ["ArcFace − triplet", "VGG16 + GeM", "1"],
    ]
    # 6 points on test01 and half of that on test02, with both seeds.
    assert rows_[0][3] == rows_[1][3] == "+4.50 [+4.50, +4.50]"


def test_a_sweep_is_named_by_what_its_runs_change():
    found = rows.merged(
        [
            run(TRIPLET, 0, 40.0, optim={"learning_rate": 1e-3}, loss={"arcface_margin": 0.1}),
            run(TRIPLET, 0, 50.0, optim={"learning_rate": 1e-4}, loss={"arcface_margin": 0.3}),
            run(TRIPLET, 0, 60.0, evaluated=WHITENED, before=9.0, optim={"learning_rate": 1e-3}),
        ]
    )
    table = sweep.table(found, chosen(found, ["a"]))
    ladder = "25 / 10 / 5 / 2 m"
    assert table.head == ["model", "settings", f"test01, {ladder}", f"test02, {ladder}"]
    assert [row[1:3] for row in table.rows] == [
        ["off the shelf", "10.0 / 5.0 / 2.5 / 1.2"],
        ["off the shelf, whitened", "9.0 / 4.5 / 2.2 / 1.1"],
        [
            "`eval.pca=0`, `eval.pca_whiten=False`, `optim.learning_rate=0.001`",
            "40.0 / 20.0 / 10.0 / 5.0",
        ],
        ["`optim.learning_rate=0.0001`", "50.0 / 25.0 / 12.5 / 6.2"],
        ["`eval.pca=8`, `eval.pca_whiten=True`", "60.0 / 30.0 / 15.0 / 7.5"],
    ]


def test_gains_are_of_the_same_seed():
    found = records(run(TRIPLET, 0, 40.0, before=10.0), run(TRIPLET, 1, 60.0, before=20.0))
    only = [row for row in found.runs.rows if row.split == "test01"]
    found = Records(rows.Record(only, found.runs.configs), [])
    # 30 and 40 points: mean 35, half width 12.706 * 7.071 / sqrt(2) = 63.53.
    assert record_tables.gains(found, "a").rows[0][2] == "+35.00 [−28.53, +98.53]"


def test_scores_are_those_of_the_rows():
    found = rows.merged([run(TRIPLET, 0, 40.0), run(TRIPLET, 1, 60.0)])
    scores = as_scores(found, found.rows)
    assert (scores.unit, scores.tolerances) == ("m", (25.0, 10.0, 5.0, 2.0))
    trained = next(key for key in scores.values if key.cell.loss == "triplet")
    assert scores.mean(trained).mean == 50.0 and scores.oracle["test01", 2.0] == 100.0
