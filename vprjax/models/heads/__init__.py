"""Pooling heads: one file each, listed here by the name that `model.pooling` takes.

Every head computes and returns float32. In half precision GeM's powers overflow, and NetVLAD's soft
assignment loses its small weights.
"""

from vprjax.models.heads import (
    boq,
    class_token,
    convap,
    crn,
    crow,
    delf,
    flatten,
    gem,
    gem_linear,
    learned_rmac,
    mac,
    mixvpr,
    netvlad,
    regional_gem,
    rmac,
    salad,
    spatial_pyramid,
    spoc,
    supervlad,
    vlad,
)
from vprjax.models.heads.variant import Head

HEADS: dict[str, Head] = {
    "mac": mac.HEAD,
    "spoc": spoc.HEAD,
    "gem": gem.HEAD,
    "gem_linear": gem_linear.HEAD,
    "regional_gem": regional_gem.HEAD,
    "rmac": rmac.HEAD,
    "learned_rmac": learned_rmac.HEAD,
    "crow": crow.HEAD,
    "delf": delf.HEAD,
    "flatten": flatten.HEAD,
    "spatial_pyramid": spatial_pyramid.HEAD,
    "netvlad": netvlad.HEAD,
    "vlad": vlad.HEAD,
    "supervlad": supervlad.HEAD,
    "crn": crn.HEAD,
    "convap": convap.HEAD,
    "mixvpr": mixvpr.HEAD,
    "salad": salad.HEAD,
    "boq": boq.HEAD,
    "class_token": class_token.HEAD,
}
