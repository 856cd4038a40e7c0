"""Computes an exported file's descriptors as somebody does who has no vprjax.

    python -I read_export.py FILE IMAGES.npz OUT.npz [HEAD ...]

`IMAGES.npz` holds arrays `(n, h, w, 3)` by size; `OUT.npz` gets descriptors under the same names. With
files of heads, `FILE` is a backbone's, and `OUT.npz` gets `HEAD/SIZE` for each; `HEAD.one` takes the first
size alone. The last line printed lists the packages of vprjax and its framework that were loaded.
"""

import pathlib
import sys
import zipfile

import numpy as np

AT_ONCE = 8


def onnx(path: str):
    """The program of an ONNX file, by onnxruntime alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=False)))


def stablehlo(path: str):
    """The program of a StableHLO file, by jax alone."""
    import jax
    from jax import export

    code = pathlib.Path(path).read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            code = archive.read("model.stablehlo")
    exported = export.deserialize(bytearray(code))
    run, count = jax.jit(exported.call), len(exported.in_avals)

    def results(*arrays):
        found = run(*arrays[:count])
        return found if isinstance(found, (list, tuple)) else [found]

    return results


def described(run, arrays: list) -> list:
    """The results of a program on all rows of the arrays, some at a time."""
    starts = range(0, len(arrays[0]), AT_ONCE)
    parts = [run(*(array[i : i + AT_ONCE] for array in arrays)) for i in starts]
    return [
        np.concatenate([np.asarray(one) for one in found]) for found in zip(*parts, strict=True)
    ]


def of_head(run, stem: str, maps: dict) -> dict:
    """The results of a head's program on the maps of each size that it takes."""
    sizes = [*maps][: 1 if stem.endswith(".one") else None]
    return {f"{stem}/{size}": described(run, maps[size]) for size in sizes}


def main() -> None:
    """Runs the file on all images."""
    file, asked, out, *heads = sys.argv[1:]
    load = onnx if file.endswith(".onnx") else stablehlo
    run = load(file)
    with np.load(asked) as sizes:
        found = {name: described(run, [sizes[name]]) for name in sizes.files}
    if heads:
        maps, found = found, {}
        for path in heads:
            try:
                found |= of_head(load(path), pathlib.Path(path).stem, maps)
            except Exception as error:  # of any library: the others have their turn
                print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
    np.savez(out, **{name: rows[0] for name, rows in found.items()})
    foreign = {"vprjax", "flax"} | ({"jax"} if file.endswith(".onnx") else set())
    print(*sorted(foreign & set(sys.modules)))


if __name__ == "__main__":
    main()
