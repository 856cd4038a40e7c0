"""Exported models: one file per format, listed here; each computes descriptors without vprjax."""

# Name -> module with `check_installed()` and `write(model, size, path)`, which is imported when it is used.
FORMATS = {
    "stablehlo": "vprjax.export.stablehlo",
    "onnx": "vprjax.export.onnx",
}
