"""Pooling heads: one file each, listed here by the name that `model.pooling` takes.

Every head computes and returns float32. In half precision GeM's powers overflow, and NetVLAD's soft
assignment loses its small weights.
"""

from vprjax.models.heads import boq, convap, gem, mac, mixvpr, netvlad, salad, spoc
from vprjax.models.heads.variant import Head

HEADS: dict[str, Head] = {
    "mac": mac.HEAD,
    "spoc": spoc.HEAD,
    "gem": gem.HEAD,
    "netvlad": netvlad.HEAD,
    "salad": salad.HEAD,
    "mixvpr": mixvpr.HEAD,
    "convap": convap.HEAD,
    "boq": boq.HEAD,
}
