"""Feature maps and gradients against PyTorch, on random weights that travel through files.

Every case writes a weights file with the names and the container of its source, loads it through
`pretrained.load` and compares the descriptor module's local features, and the gradients of a random
projection of them, with PyTorch's on the same images.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import base
from vprjax import models
from vprjax.models import Layers
from vprjax.weights import names, pretrained

torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402

import tests.parity.torch_backbones as tb  # noqa: E402

TOLERANCE = 1e-4
TORCH_MEAN, TORCH_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_BGR = np.array([103.939, 116.779, 123.68])


def images(b, h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (b, h, w, 3), np.uint8)


def torch_input(x, source, backbone):
    """The published preprocessing of each source, `(b, 3, h, w)`."""
    x = x.astype(np.float64)
    if source == "torch":
        x = (x / 255 - TORCH_MEAN) / TORCH_STD
    elif backbone == "mobilenetv2":
        x = x / 127.5 - 1
    else:
        x = x[..., ::-1] - CAFFE_BGR
    return torch.tensor(x.transpose(0, 3, 1, 2).astype(np.float32))


def config(backbone, **changes):
    c = base.get_config().model
    c.update({"backbone": backbone, "pooling": "spoc"} | changes)
    return c


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def load_variables(c, path):
    """A descriptor and its variables, all of them from the file."""
    module = models.build(c)
    init = functools.partial(module.init, jax.random.key(0))
    shapes = jax.eval_shape(init, jnp.zeros((1, 64, 64, 3), jnp.uint8))
    return module, pretrained.insert(shapes, pretrained.load(path, c.backbone))


def features_and_gradients(module, variables, x, cotangent):
    rest = {k: v for k, v in variables.items() if k != "params"}

    def projected(params):
        f = module.apply({"params": params, **rest}, x, method="features")
        return jnp.sum(f * cotangent), f

    # Half the compile time; the values do not depend on it.
    quick = {"xla_backend_optimization_level": 0}
    step = jax.jit(jax.value_and_grad(projected, has_aux=True), compiler_options=quick)
    (_, f), gradients = step(variables["params"])
    return f, gradients["backbone"]


def torch_gradients(network, backbone, source):
    """PyTorch's gradients under our paths and in our layout (of the networks' own channel order)."""
    if source == "torch":
        flat = {n: p.grad.numpy() for n, p in network.named_parameters()}
    else:
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(p.grad)
        flat = tb.keras_arrays(network) if backbone != "vgg16" else tb.vgg16_keras_arrays(network)
    table = names.names_and_shapes(backbone, source)
    return {
        path[1:]: names.convert(path, flat[name], source)
        for path, (name, _) in table.items()
        if path[0] == "params" and name in flat
    }


def network_and_images(network, backbone, source, size, seed):
    """A random network, its kinks moved away from where these images put it."""
    network, x = tb.randomise(network, seed), images(2, *size, seed)
    tb.calibrate(network, torch_input(x, source, backbone))
    return network, x


def check(network, backbone, source, path, x, stage=""):
    module, variables = load_variables(config(backbone, stage=stage), path)
    expected = network(torch_input(x, source, backbone))
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    expected.backward(cotangent)
    expected = expected.detach().numpy().transpose(0, 2, 3, 1)
    f, gradients = features_and_gradients(
        module, variables, x, cotangent.numpy().transpose(0, 2, 3, 1)
    )
    assert f.dtype == jnp.float32
    assert relative(f, expected) <= TOLERANCE
    theirs = torch_gradients(network, backbone, source)
    ours = traverse_util.flatten_dict(gradients)
    assert ours.keys() == theirs.keys()
    bgr = source == "keras" and backbone != "mobilenetv2"
    errors = {}
    for key, gradient in ours.items():
        if bgr and gradient.ndim == 4 and gradient.shape[2] == 3:
            gradient = gradient[:, :, ::-1]
        errors["/".join(key)] = relative(gradient, theirs[key])
    worst = max(errors, key=errors.get)
    assert errors[worst] <= TOLERANCE, worst


def test_vgg16_torchvision_pth(tmp_path):
    network, x = network_and_images(tb.VGG16(), "vgg16", "torch", (35, 19), 0)
    state = {**network.state_dict(), "classifier.0.weight": torch.ones(2, 3)}
    torch.save(state, tmp_path / "vgg16-397923af.pth", _use_new_zipfile_serialization=False)
    check(network, "vgg16", "torch", tmp_path / "vgg16-397923af.pth", x)


def test_vgg16_keras_h5(tmp_path):
    network, x = network_and_images(tb.VGG16(), "vgg16", "keras", (33, 32), 1)
    path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    tb.write_h5(path, tb.vgg16_keras_arrays(network), keras1_names=True)
    check(network, "vgg16", "keras", path, x)


def test_resnet50_timm_safetensors(tmp_path):
    network, x = network_and_images(tb.ResNet(), "resnet50", "torch", (45, 33), 2)
    state = network.state_dict() | {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    check(network, "resnet50", "torch", tmp_path / "model.safetensors", x)


def test_resnet18_torchvision_pth(tmp_path):
    network, x = network_and_images(tb.ResNet((2, 2, 2, 2), basic=True), *RESNET18, (37, 33), 7)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    check(network, *RESNET18, tmp_path / "resnet18.pth", x)


RESNET18 = "resnet18", "torch"


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet34", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))]
)
def test_deeper_resnets(tmp_path, name, blocks):
    """Maps alone: the blocks' gradients are those of ResNet18 and ResNet50."""
    network = tb.randomise(tb.ResNet(blocks, basic=name == "resnet34"), 8)
    x = images(1, 33, 37)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    module, variables = load_variables(config(name), tmp_path / "model.safetensors")
    with torch.no_grad():
        expected = network(torch_input(x, "torch", name)).numpy()
    f = jax.jit(functools.partial(module.apply, method="features"))(variables, x)
    assert relative(f, expected.transpose(0, 2, 3, 1)) <= TOLERANCE


def test_resnet50_keras_h5(tmp_path):
    """The whole map; gradients up to conv3 (v1.5 above shows them through all blocks)."""
    network, x = network_and_images(tb.KerasResNet50(), "resnet50_v1", "keras", (34, 45), 3)
    path = tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    tb.write_h5(path, tb.keras_arrays(network))
    module, variables = load_variables(config("resnet50_v1"), path)
    with torch.no_grad():
        expected = network(torch_input(x, "keras", "resnet50_v1")).numpy()
    f = jax.jit(functools.partial(module.apply, method="features"))(variables, x)
    assert relative(f, expected.transpose(0, 2, 3, 1)) <= TOLERANCE
    for stage in ("conv4", "conv5"):
        for name, _ in list(network.named_modules()):
            if name.startswith(stage):
                delattr(network, name)
    network.forward = functools.partial(network.forward, last=3)
    check(network, "resnet50_v1", "keras", path, x, stage="conv3")


def test_mobilenetv2_keras_npz(tmp_path):
    # 37, 19, 10, 5 and 64, 32, 16, 8: both paddings of a stride-2 convolution.
    network, x = network_and_images(tb.KerasMobileNetV2(), "mobilenetv2", "keras", (37, 64), 4)
    np.savez(tmp_path / "mobilenetv2.npz", **tb.keras_arrays(network))
    check(network, "mobilenetv2", "keras", tmp_path / "mobilenetv2.npz", x)


@pytest.mark.parametrize("stage", ["block_2_expand", "block_3"])
def test_mobilenetv2_cut_at_a_stage(tmp_path, stage):
    network, x = tb.randomise(tb.KerasMobileNetV2(), 5), images(2, 21, 30)
    tb.write_h5(tmp_path / "mobilenetv2.h5", tb.keras_arrays(network))
    module, variables = load_variables(
        config("mobilenetv2", stage=stage), tmp_path / "mobilenetv2.h5"
    )
    with torch.no_grad():
        expected = network(torch_input(x, "keras", "mobilenetv2"), stage)
    f = jax.jit(functools.partial(module.apply, method="features"))(variables, x)
    assert relative(f, expected.numpy().transpose(0, 2, 3, 1)) <= TOLERANCE


def test_batch_statistics_in_training():
    """ResNet50 cut at conv2 with BatchNorm in training: its map and its running means."""
    network, x = tb.randomise(tb.ResNet(layers=2), 6), images(3, 21, 30)
    x = torch_input(x, "torch", "resnet50")
    state = {name: tensor.clone().numpy() for name, tensor in network.state_dict().items()}
    module = models.backbone("resnet50", "conv2", layers=Layers(batch_norm="train"))
    ours = x.permute(0, 2, 3, 1).numpy()
    paths = traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), ours))
    table = {p: name for p, (name, _) in names.names_and_shapes("resnet50", "torch").items()}
    variables = traverse_util.unflatten_dict(
        {p: names.convert(p, state[table[p]], "torch") for p in paths}
    )
    with torch.no_grad():
        expected = network.train()(x).numpy()
    apply = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))
    f, updated = apply(variables, ours)
    assert relative(f, expected.transpose(0, 2, 3, 1)) <= TOLERANCE
    new = network.state_dict()
    for path, value in traverse_util.flatten_dict(updated).items():
        if path[-1] == "mean":  # PyTorch's running variance is the unbiased one, Flax's is not
            assert relative(value, new[table[path]].numpy()) <= TOLERANCE
            assert relative(value, state[table[path]]) > 0.01
