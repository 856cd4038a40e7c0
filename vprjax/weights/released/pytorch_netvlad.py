"""pytorch-NetVlad (Nanne): VGG16 before its last ReLU and NetVLAD without biases."""

import re

from vprjax.weights.released import vgg16_netvlad
from vprjax.weights.released.variant import Arrays, Family, Release

NAMES = vgg16_netvlad.Names("encoder", "pool", "WPCA.0")


def _prepare(arrays: Arrays) -> Arrays:
    """Takes off what several GPUs put inside the names."""
    plain = {re.sub(r"^(encoder|pool)\.module\.", r"\1.", n): a for n, a in arrays.items()}
    return NAMES.prepare(plain)


def _recognise(names: frozenset[str]) -> bool:
    plain = {name.replace(".module.", ".") for name in names}
    return {"encoder.0.weight", "pool.centroids"} <= plain and not any(
        name.startswith("WPCA.") for name in names
    )


FAMILY = Family(
    title="pytorch-NetVlad",
    reference="Arandjelovic et al.: NetVLAD, CNN Architecture for Weakly Supervised Place Recognition, "
    "CVPR 2016; Nanne van Noord's port",
    licence="MIT",
    releases={
        "pytorch_netvlad_pitts30k": Release(
            "checkpoint.pth.tar", 32768, vgg16_netvlad.PARAMETERS, vgg16_netvlad.model()
        )
    },
    recognise=_recognise,
    config=NAMES.config,
    name=NAMES,
    prepare=_prepare,
    form=vgg16_netvlad.FORM,
    input_rule="native size; no resize",
)
