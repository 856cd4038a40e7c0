"""Computes an exported file's descriptors as somebody does who has no vprjax.

    python -I read_export.py FILE IMAGES.npz OUT.npz

`IMAGES.npz` holds arrays `(n, h, w, 3)` by size; `OUT.npz` gets descriptors under the same names. The last
line printed lists the packages of vprjax and its framework that were loaded.
"""

import sys

import numpy as np

AT_ONCE = 8


def onnx(path: str):
    """The program of an ONNX file, by onnxruntime alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["descriptors"], {"images": images})[0]


def stablehlo(path: str):
    """The program of a StableHLO file, by jax alone."""
    import zipfile

    import jax
    from jax import export

    with zipfile.ZipFile(path) as archive:
        return jax.jit(export.deserialize(bytearray(archive.read("model.stablehlo"))).call)


def main() -> None:
    """Runs the file on all images."""
    file, asked, out = sys.argv[1:]
    run = (onnx if file.endswith(".onnx") else stablehlo)(file)
    found = {}
    with np.load(asked) as sizes:
        for name in sizes.files:
            images = sizes[name]
            parts = [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]
            found[name] = np.concatenate([np.asarray(run(part)) for part in parts])
    np.savez(out, **found)
    foreign = {"vprjax", "flax"} | ({"jax"} if file.endswith(".onnx") else set())
    print(*sorted(foreign & set(sys.modules)))


if __name__ == "__main__":
    main()
