"""vprjax: visual place recognition, fine-tuned and benchmarked in JAX."""

__version__ = "0.1.0"
