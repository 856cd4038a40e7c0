"""vprjax: visual place recognition, fine-tuned and benchmarked in JAX."""

import importlib

__version__ = "0.1.0"

# The public names and their modules; the first use imports them, so that `import vprjax` stays light.
_PUBLIC = {"load": "vprjax.localize.load", "Map": "vprjax.localize.map"}


def __getattr__(name: str):
    """Imports a public name."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vprjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
