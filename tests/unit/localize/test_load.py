"""A loaded model describes pictures exactly as the run's own evaluation does, and names what is wrong."""

import dataclasses
import shutil
import subprocess
import sys

import cv2
import jax
import numpy as np
import PIL.Image
import pytest

import vprjax
from configs import base
from tests.helpers import memory_places, short_run, small_models
from tests.helpers.commands import ROOT
from vprjax import models
from vprjax.data import pictures, source
from vprjax.descriptors import store, whitening
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError, DataError, WeightsError
from vprjax.evaluation import blend, evaluate
from vprjax.export import check
from vprjax.localize import calibration, load, network
from vprjax.localize.network import Network
from vprjax.runtime import parallel
from vprjax.storage import checksum
from vprjax.storage.checkpoint import open_for_reading
from vprjax.weights import names, pretrained

SPLIT = "reference"


def textured(n=40, laps=2, size=(8, 10)):
    """The drive of short runs with pictures that differ, 40 of them kept."""
    places = memory_places.drive(n, laps, size)
    rng = np.random.default_rng(0)
    encoded = [
        cv2.imencode(".png", rng.integers(0, 255, (*size, 3), dtype=np.uint8))[1].tobytes()
        for _ in range(n * laps)
    ]
    return dataclasses.replace(places, sources=(memory_places.Memory(encoded),))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of seven steps with its evaluation, whose descriptors are kept; and its config."""
    workdir, config = tmp_path_factory.mktemp("run"), short_run.config()
    config.dataset.query_splits = ("test01",)
    config.eval.update(pca=4, pca_whiten=True, batch=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_run, "DRIVE", textured)
        short_run.train(config, workdir)
        reader = open_for_reading(workdir)
        module = models.build_for_platform(config.model, parallel.AXIS)
        evaluate.evaluate(
            config,
            Extractor(module.apply, config.eval.batch),
            reader.restore_model(7),
            "fine_tuned",
            workdir,
            short_run.Dataset(),
        )
        reader.close()
    return workdir, config


def copied(run, tmp_path):
    return shutil.copytree(run[0], tmp_path / "run")


def test_descriptors_are_the_evaluations_bit_for_bit(run):
    workdir, _ = run
    model = vprjax.load(workdir)
    kept = store.open_store(workdir / "descriptors" / f"fine_tuned_{SPLIT}").rows
    assert model.size == (8, 10) and model.dimension == 4 and model.batch == 16
    projected = np.concatenate([model.projection(kept[i : i + 16]) for i in range(0, 80, 16)])
    places = textured()
    of_places = np.concatenate([*model.stream(places)])
    assert (of_places == projected).all()
    described = model.describe(places.images(np.arange(80)))
    assert described.dtype == np.float32 and (described == projected).all()
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, atol=1e-6)
    rest = np.concatenate([*model.stream(places, first=64)])
    assert (rest == projected[64:]).all()


def test_without_pca_the_network_alone_is_loaded(run, tmp_path):
    workdir, config = run
    config = config.copy_and_resolve_references()
    config.eval.pca = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_run, "DRIVE", textured)
        short_run.train(config, tmp_path)
    model, reduced = vprjax.load(tmp_path), vprjax.load(workdir)
    assert model.projection is None and model.dimension == 16
    assert model.id != reduced.id and model.digest != reduced.digest
    kept = store.open_store(workdir / "descriptors" / f"fine_tuned_{SPLIT}").rows
    assert (model.describe(textured().images(np.arange(80))) == kept).all()


def test_a_picture_alone_is_not_padded_to_the_runs_batch(run, monkeypatch):
    model, asked = vprjax.load(run[0]), []
    stream = model.engine.stream

    def noted(pictures, batch, first):
        asked.append(batch)
        return stream(pictures, batch, first)

    monkeypatch.setattr(model.engine, "stream", noted)
    image = np.zeros((30, 40, 3), np.uint8)
    for count in (1, 3, 16, 20):
        assert model.describe([image] * count).shape == (count, 4)
    model.describe([image], batch=3)
    assert asked == [1, 4, 16, 16, 3]
    with pytest.raises(DataError, match="batch is 0; give 1 or more"):
        model.describe([image], batch=0)


def test_a_picture_alone_has_a_program_with_the_weights_in_it(monkeypatch):
    image = check.pictures(32, 40, 1)
    for backbone, head in (("mobilenetv2", "netvlad"), ("vgg16", "gem")):
        model = small_models.small(backbone, head)
        both = model.describe([*image, *image], batch=2)
        engine = Network(model.engine.config, model.engine.variables)
        model.engine = engine
        with monkeypatch.context() as patch:
            patch.setattr(network, "Extractor", None)  # which only larger batches use
            alone = model.describe(image)
        assert alone.shape == (1, model.dimension) and alone.dtype == np.float32
        assert np.linalg.norm(alone - both[:1]) < 1e-6
        several = np.concatenate(
            [*model.stream(check.Made(np.resize(image, (3, 32, 40, 3))), 1, 1)]
        )
        assert (several == alone).all() and len(several) == 2
        norms = engine.alone.lower(image).as_text().count("stablehlo.rsqrt")
        assert norms <= 4  # the head's alone: BatchNorm is in the kernels
    monkeypatch.setattr(network, "MOST_CONSTANT", 1000)
    assert Network(model.engine.config, model.engine.variables).alone is None


def test_pictures_of_every_kind_and_number(run, tmp_path):
    model = vprjax.load(run[0])
    pixels = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path)
    mixed = model.describe([path, str(path), PIL.Image.open(path), pixels])
    assert mixed.shape == (4, 4) and (mixed == mixed[:1]).all()
    for one in (path, str(path), PIL.Image.open(path), pixels, pixels[None]):
        assert model.describe(one).shape == (1, 4)
    assert model.describe([]).shape == (0, 4) and model.describe([]).dtype == np.float32
    assert model.describe(p for p in [path, path]).shape == (2, 4)


def test_another_size_is_another_model(run):
    model, larger = vprjax.load(run[0]), vprjax.load(run[0], size=(16, 20))
    assert larger.size == (16, 20) and larger.digest == model.digest and larger.id != model.id
    assert vprjax.load(run[0]).id == model.id
    assert vprjax.load(run[0], size=tuple(np.array([16, 20]))).id == larger.id
    image = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    assert (larger.describe(image) != model.describe(image)).any()
    for wrong in ((16,), (16, 0), (16.0, 20), "ab", 16, (True, 20)):
        with pytest.raises(DataError, match=r"give \(height, width\) in pixels"):
            vprjax.load(run[0], size=wrong)


def test_the_projection_of_another_model_is_refused(run, tmp_path):
    folder = copied(run, tmp_path)
    file = evaluate.pca_file(folder, "fine_tuned")
    found = whitening.Projection(np.zeros(16), np.zeros((16, 4)))
    whitening.save(file, found, "another")
    with pytest.raises(DataError, match=r"pca_fine_tuned\.npz is of another model .*evaluate"):
        vprjax.load(folder)
    np.savez(file, mean=found.mean, kernel=found.kernel)  # an earlier version's
    with pytest.raises(DataError, match="is of another model"):
        vprjax.load(folder)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"pca_fine_tuned\.npz cannot be read"):
        vprjax.load(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"pca_fine_tuned\.npz is not there: evaluate the run"):
        vprjax.load(folder)


def forget_form(folder):
    """Makes a run one of an earlier version, which did not save the form of its images."""
    reader = open_for_reading(folder)
    step = reader.chosen()
    saved = reader.config(step)["provenance"]
    del saved["image_form"]
    reader.amend(step, {"provenance": saved})
    reader.close()


def test_an_earlier_versions_run_has_its_size_in_its_dataset(run, tmp_path, monkeypatch):
    folder = copied(run, tmp_path)
    forget_form(folder)
    with pytest.raises(DataError, match=r"does not say the size of its images.*pass size=\(height"):
        vprjax.load(folder)
    assert vprjax.load(folder, size=(8, 10)).size == (8, 10)
    dataset = short_run.Dataset()
    dataset.metadata = {"config": {"resize": "pad"}}
    monkeypatch.setattr(source, "open_dataset", lambda _: dataset)
    assert vprjax.load(folder).form == pictures.Form(8, 10, "pad")


def test_a_runs_calibration_comes_along(run, tmp_path):
    folder = copied(run, tmp_path)
    assert vprjax.load(folder).calibration is None
    (folder / calibration.FILE).write_text(checksum.line({"threshold": 0.5}))
    model = vprjax.load(folder)
    assert model.calibration == {"threshold": 0.5} and model.dataset == ""
    (folder / calibration.FILE).write_text("{")
    with pytest.raises(DataError, match=r"calibration\.json cannot be read .*calibrate again"):
        vprjax.load(folder)


def test_images_too_small_for_the_network_are_refused():
    config = base.get_config().model
    config.backbone = "vgg16"
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    shapes = jax.eval_shape(models.build(config).init, jax.random.key(0), image)
    assert Network(config, shapes).dimension(pictures.Form(16, 16)) == 512
    with pytest.raises(ConfigError, match="are too small for this backbone"):
        load.of_network(Network(config, shapes), None, pictures.Form(8, 8), "VGG16 + GeM")


def vgg_file(folder):
    """VGG16's arrays under their Keras names."""
    table = names.names_and_shapes("vgg16", "keras").values()
    np.savez(folder / "vgg16.npz", **{name: np.ones(shape, np.float32) for name, shape in table})
    return folder / "vgg16.npz"


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNetV2's arrays under their Keras names, behind a prefix, random."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("weights") / "mine.npz"
    table = names.names_and_shapes("mobilenetv2", "keras").values()
    np.savez(path, **{f"model/{name}": rng.random(shape, np.float32) for name, shape in table})
    return path


def test_a_weights_file_is_its_backbone_under_gem(mobilenet):
    model = vprjax.load(mobilenet)
    assert model.title == "MobileNetV2 + GeM, off the shelf"
    assert model.size == (224, 224) and model.dimension == 1280
    config = base.get_config().model
    config.weights = str(mobilenet)
    assert set(model.engine.config.keys()) == set(config.keys())
    loaded, variables = pretrained.load(str(mobilenet), "mobilenetv2"), model.engine.variables
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    shapes = jax.eval_shape(models.build(config).init, jax.random.key(0), image)
    own = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables)
    assert own == shapes and variables["params"]["pooling"]["p"] == 3
    own = {
        "params": variables["params"]["backbone"],
        "batch_stats": variables["batch_stats"]["backbone"],
        "preprocess": variables["preprocess"],
    }
    jax.tree.map(np.testing.assert_array_equal, own, loaded)
    assert model.digest == store.fingerprint(config, variables)  # an evaluation's of these weights


def test_the_backbone_of_a_file_is_recognised(mobilenet, tmp_path):
    assert pretrained.recognise(str(mobilenet)) == "mobilenetv2"
    assert pretrained.recognise(str(vgg_file(tmp_path))) == "vgg16"
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match=r"other\.npz holds the arrays of no backbone .* has a"):
        vprjax.load(tmp_path / "other.npz")
    (tmp_path / "notes.npz").write_text("hello")
    with pytest.raises(WeightsError, match=r"notes\.npz is truncated, corrupt"):
        vprjax.load(tmp_path / "notes.npz")
    with pytest.raises(WeightsError, match="has a suffix that no reader of weights knows"):
        vprjax.load(__file__)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing is not there: give a run's workdir"):
        vprjax.load(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="no checkpoint in"):
        vprjax.load(tmp_path)
    with pytest.raises(WeightsError, match="no model is named"):
        vprjax.load("")
    with pytest.raises(
        DataError, match=r"size is \(999999, 9999\); give 134,217,728 pixels at most"
    ):
        vprjax.load(tmp_path, size=(999_999, 9_999))


def test_the_best_checkpoint_is_loaded_as_the_evaluation_takes_it(run, tmp_path):
    folder = copied(run, tmp_path)
    reader = open_for_reading(folder)
    assert reader.chosen() == 7
    reader.amend(7, {"validations": [[3, 50.0], [6, 80.0], [7, 60.0]]})
    assert reader.chosen() == 6
    reader.close()


def test_a_blend_is_loaded_as_the_evaluation_takes_it(run, tmp_path):
    folder = copied(run, tmp_path)
    reader = open_for_reading(folder)
    config = reader.config(7)["config"]
    config["eval"].update(pca=0, blend="auto")
    reader.amend(7, {"config": config})
    with pytest.raises(DataError, match=r"blend\.json is not there, .*evaluate the run"):
        vprjax.load(folder)
    blend.write(folder, blend.Blend(0.25))
    model, first, last = vprjax.load(folder), reader.restore_model(0), reader.restore_model(7)
    expected = jax.tree.map(lambda a, b: a + 0.25 * (np.float64(b) - a), first, last)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), model.engine.variables, expected
    )
    assert ", blended at 0.25" in model.title
    blend.write(folder, blend.Blend(1.0))
    assert vprjax.load(folder).digest == store.fingerprint(run[1].model, last) != model.digest
    reader.close()


def test_importing_the_package_is_light():
    program = (
        "import sys; import vprjax; vprjax.__version__; "
        "print(sorted({'jax', 'numpy', 'flax', 'cv2', 'PIL'} & set(sys.modules))); "
        "vprjax.load; print('jax' in sys.modules); "
        "print(hasattr(vprjax, 'nothing'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "True", "False"]
