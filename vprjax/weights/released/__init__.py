"""Released models of other projects: their files in, the same descriptors out.

A family is one file, listed here. A new one is its file and one line of `FAMILIES`.
"""

from vprjax.weights.released import (
    alexnet,
    boq,
    cirtorch,
    convap,
    cosplace,
    delf,
    dir,
    dvgl,
    eigenplaces,
    hloc_netvlad,
    hybridnet,
    image,
    megaloc,
    mixvpr,
    openibl,
    overfeat,
    patch_netvlad,
    pytorch_netvlad,
    salad,
    supervlad,
)
from vprjax.weights.released.variant import Family

FAMILIES: dict[str, Family] = {
    "cosplace": cosplace.FAMILY,
    "salad": salad.FAMILY,
    "megaloc": megaloc.FAMILY,
    "eigenplaces": eigenplaces.FAMILY,
    "mixvpr": mixvpr.FAMILY,
    "convap": convap.FAMILY,
    "boq": boq.RESNET,
    "boq_dinov2": boq.DINOV2,
    "image": image.FAMILY,
    "supervlad": supervlad.FAMILY,
    "dvgl": dvgl.FAMILY,
    "hloc_netvlad": hloc_netvlad.FAMILY,
    "openibl": openibl.FAMILY,
    "patch_netvlad": patch_netvlad.FAMILY,
    "pytorch_netvlad": pytorch_netvlad.FAMILY,
    "cirtorch": cirtorch.FAMILY,
    "dir": dir.FAMILY,
    "alexnet": alexnet.TORCHVISION,
    "alexnet_caffe": alexnet.CAFFE,
    "hybridnet": hybridnet.FAMILY,
    "delf": delf.FAMILY,
    "overfeat_fast": overfeat.FAST,
    "overfeat_accurate": overfeat.ACCURATE,
}
