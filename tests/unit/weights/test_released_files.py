"""Released models' files: what is read, what starts a training, and a sentence for each that is unsound."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vprjax
from tests.helpers import released_files
from vprjax import models
from vprjax.errors import WeightsError
from vprjax.weights import catalogue, load_released, names
from vprjax.weights.released import FAMILIES, load


@pytest.fixture(scope="module")
def arrays():
    return released_files.cosplace()


@pytest.fixture
def file(arrays, tmp_path):
    return released_files.write(tmp_path / "ResNet18_32_cosplace.safetensors", arrays)


def test_a_file_is_a_module_and_its_variables(file, arrays):
    module, variables = load_released(str(file))
    image = jax.ShapeDtypeStruct((2, 64, 48, 3), np.uint8)
    assert jax.eval_shape(module.apply, variables, image).shape == (2, 32)
    kernel = variables["params"]["projection"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays["aggregation.3.weight"].T)
    assert variables["params"]["pooling"]["p"] == np.float32(2.7)
    block = variables["params"]["backbone"]["conv3_1"]
    np.testing.assert_array_equal(
        block["conv1"]["kernel"], arrays["backbone.5.0.conv1.weight"].transpose(2, 3, 1, 0)
    )


def test_what_a_training_puts_around_a_state_dict_comes_off(file, arrays, tmp_path):
    plain = load.read(str(file))
    for number, prefix in enumerate(("state_dict.", "model_state_dict.module.", "module.")):
        wrapped = {prefix + name: array for name, array in arrays.items()}
        beside = {"optimizer.lr": np.ones(1, np.float32)} if "state" in prefix else {}
        other = released_files.write(tmp_path / f"{number}.safetensors", wrapped | beside)
        found = load.read(str(other))
        jax.tree.map(np.testing.assert_array_equal, found.variables, plain.variables)
    assert plain.unused and all(n.endswith("num_batches_tracked") for n in plain.unused)


@pytest.mark.parametrize(
    ("prefix", "beside"), [("model.", "ema_p"), ("model.state_dict.module.", "optimizer.state.0.m")]
)
def test_other_levels_come_off_too(file, arrays, tmp_path, prefix, beside):
    """As of a training in Lightning or of one that keeps its model in a mapping."""
    wrapped = {prefix + name: array for name, array in arrays.items()}
    wrapped[beside] = np.ones(3, np.float32)
    found = load.read(str(released_files.write(tmp_path / "own.safetensors", wrapped)))
    jax.tree.map(np.testing.assert_array_equal, found.variables, load.read(str(file)).variables)


def test_two_models_in_a_file_are_refused(arrays, tmp_path):
    both = {f"{who}.{name}": a for who in ("student", "teacher") for name, a in arrays.items()}
    file = released_files.write(tmp_path / "two.safetensors", both)
    with pytest.raises(WeightsError, match=r"models behind student\., teacher\.: save one of them"):
        load.read(str(file))


def test_a_backbone_alone_is_named(tmp_path):
    table = names.names_and_shapes("resnet18", "torch").values()
    backbone = {name: np.ones(shape, np.float32) for name, shape in table}
    file = released_files.write(tmp_path / "resnet18.safetensors", backbone)
    with pytest.raises(
        WeightsError, match=r"no released model .* it holds the backbone resnet18 al"
    ):
        load.read(str(file))


def without(*names):
    return lambda arrays: {n: a for n, a in arrays.items() if n not in names}


def having(**changes):
    return lambda arrays: arrays | {n.replace("__", "."): a for n, a in changes.items()}


VIT = {
    f"blocks.{i}.{part}.weight": np.ones((3, 3), np.float32)
    for i in range(12)
    for part in ("attn.qkv", "mlp.fc1")
}
UNSOUND = {
    "a ViT": (lambda _: VIT, ["no released model", "blocks.0.attn.qkv", "blocks.0.mlp.fc1"]),
    "a missing kernel": (
        without("backbone.5.0.conv1.weight", "backbone.5.0.bn1.bias"),
        [
            "file: 2 arrays are missing",
            "backbone.5.0.bn1.bias",
            "has aggregation",
        ],
    ),
    "no bias": (
        without("aggregation.3.bias"),
        [
            "file: aggregation.3.bias is missing; it has aggregation.1.p, ",
            "ResNet18_512_cosplace.pth has aggregation.3.bias, ",
        ],
    ),
    "a further array": (
        having(surplus=np.ones(3, np.float32)),
        [
            "0 arrays are missing (none) and 1 are unknown",
            "it has surplus",
            "expected are backbone",
        ],
    ),
    "NaN": (
        having(aggregation__3__weight=np.full((32, 512), np.nan, np.float32)),
        ["aggregation.3.weight holds numbers that are not finite"],
    ),
    "a variance below 0": (
        having(backbone__1__running_var=np.full(64, -0.5, np.float32)),
        ["backbone.1.running_var holds variances below 0"],
    ),
    "whole numbers": (
        having(aggregation__3__bias=np.ones(32, np.int8)),
        ["aggregation.3.bias holds whole numbers, as quantised models do"],
    ),
    "an exponent of 0": (
        having(aggregation__1__p=np.zeros(1, np.float32)),
        ["aggregation.1.p is GeM's exponent and must be above 0"],
    ),
    "another shape": (
        having(aggregation__3__weight=np.ones((32, 511), np.float32)),
        ["aggregation.3.weight has shape (32, 511), expected (32, 512)"],
    ),
    "a text for a shape": (
        having(backbone__0__weight=np.ones((64, 3, 49), np.float32)),
        ["backbone.0.weight has shape (64, 3, 49), expected (64, 3, 7, 7)"],
    ),
    "nothing": (lambda _: {}, ["no released model", "it has no arrays", "aggregation.1.p"]),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_file_gets_one_sentence(case, arrays, tmp_path):
    change, words = UNSOUND[case]
    file = released_files.write(tmp_path / "model.safetensors", change(arrays))
    with pytest.raises(WeightsError) as error:
        load_released(str(file))
    text = str(error.value)
    assert str(file) in text and "\n" not in text
    assert all(part in text for part in words), text


@pytest.mark.parametrize("mean, std", [(np.nan, 1.0), (0.0, 0.0), (0.0, np.inf)])
def test_a_scaling_that_no_image_survives_is_refused(file, monkeypatch, mean, std):
    """Some projects keep it in the file, beside the arrays."""
    own = {"mean": (mean,) * 3, "std": (std,) * 3}
    family = dataclasses.replace(FAMILIES["cosplace"], preprocess=lambda arrays: own)
    monkeypatch.setitem(FAMILIES, "cosplace", family)
    with pytest.raises(
        WeightsError, match=r"mean of its images is \[.* deviation \[.* scales none"
    ):
        load_released(str(file))


def test_files_that_are_cut_empty_or_texts(arrays, tmp_path):
    torch = pytest.importorskip("torch")
    whole = tmp_path / "whole.pth"
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, whole)
    module, variables = load_released(str(whole))
    assert models.USUAL_NORMS != module.norms and variables["params"]["projection"]["bias"].size
    data = whole.read_bytes()
    for name, content in {
        "empty.pth": b"",
        "text.pth": b"weights are at https://example.org\n" * 9,
        "cut.pth": data[: len(data) // 2],
        "cut.safetensors": data[:999],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            WeightsError, match=f"{name} is truncated, corrupt .* a released model"
        ) as e:
            load_released(str(tmp_path / name))
        assert "\n" not in str(e.value)
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(
        WeightsError, match=r"model\.bin has a suffix that no reader of weights knows"
    ):
        load_released(str(tmp_path / "model.bin"))


def test_a_model_of_any_kind_reads_a_file_once(file, monkeypatch):
    opened = []
    read = load.files.read
    monkeypatch.setattr(load.files, "read", lambda *words: opened.append(words[0]) or read(*words))
    model = vprjax.load(file, size=(48, 64))
    assert model.title == "CosPlace, ResNet18 + GeM" and model.size == (48, 64)
    assert model.dimension == 32 and opened == [file]


def pair(file, **changes):
    found = load.read(str(file))
    config = found.config.copy_and_resolve_references()
    config.update(changes)
    return found, config


def start(file, **changes):
    return load.start_of(*pair(file, **changes))


def test_training_starts_from_a_files_head_where_the_config_has_it(file):
    head = start(file)["head"]
    assert set(head) == {"pooling", "projection"} and head["projection"]["kernel"].shape == (
        512,
        32,
    )
    assert load.other_head(*pair(file)) == ""
    same = {"norms": ["local", "descriptor"], "stage": "conv5", "gem": {"p_rate": 1.0}}
    assert "head" in start(file, **same)  # norms as JSON has them; a rate changes no model
    others = [("projection", 0), ("norms", models.USUAL_NORMS), ("stage", "conv4"), ("gem.p", 4.0)]
    for key, value in others:
        section, _, last = key.rpartition(".")
        changes = {section: {last: value}} if section else {key: value}
        found = start(file, **changes)
        assert "head" not in found and "conv5_1" in found["params"]
        words = load.other_head(*pair(file, **changes))
        assert (
            f"CosPlace's head is left out: model.{key}={value!r} differs from the file's" in words
        )
        assert words.endswith("; configs/released.py:cosplace_resnet18_32 has it")
    with pytest.raises(
        WeightsError,
        match=r"resnet18, not vgg16: set model.backbone='resnet18' or take \S+py:cosplace_resnet18_32",
    ):
        start(file, backbone="vgg16")


def test_images_of_another_size_are_told(file):
    found = load.read(str(file))
    form = FAMILIES["cosplace"].form
    assert load.other_size(found, form.height, form.width) == ""
    words = load.other_size(found, 48, 64)
    assert "48 x 64 pixels" in words and "480 x 640 (native size; no resize)" in words


# The largest release of each backbone of a family.
LARGEST = {
    (key, release.model["backbone"], release.model["pooling"]): name
    for key, family in FAMILIES.items()
    for name, release in family.releases.items()
}


def test_names_are_unique():
    rows = catalogue.rows()
    assert len({row["name"] for row in rows}) == len(rows)


@pytest.mark.parametrize("name", LARGEST.values())
def test_a_release_says_its_dimensions_and_parameters(name):
    family, release = catalogue.release(name)
    config = load.section(release.model)
    models.check(config)
    module = models.build(config)
    image = jax.ShapeDtypeStruct((1, family.form.height, family.form.width, 3), jnp.uint8)
    out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    assert out.shape == (1, release.dimension)
    sizes = [leaf.size for leaf in jax.tree.leaves(variables["params"])]
    assert abs(sum(sizes) / 1e6 - release.parameters) <= 0.01 * release.parameters + 0.06
    assert family.recognise(frozenset()) is False
    assert dataclasses.is_dataclass(release) and release.file and family.licence
