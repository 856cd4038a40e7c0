"""Finds a weights file: a path, or a Hugging Face hub id, which it fetches and checks."""

import pathlib
import re

from vprjax.errors import WeightsError
from vprjax.weights import files

HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>.*))?")
COMMIT = re.compile("[0-9a-f]{7,40}")
HUB_FILE = "model.safetensors"


def resolve(path: str) -> pathlib.Path:
    """Returns the local file of a path, or of a hub id `owner/name@commit`, which it fetches if missing.

    Raises:
      WeightsError: the file is missing, the hub id lacks a commit hash, or the download fails.
    """
    file = pathlib.Path(path).expanduser()
    if file.is_file():
        return file
    if "://" in str(path):
        raise WeightsError(f"weights {path} are an address: download the file and name it here")
    if file.is_dir():
        raise WeightsError(
            f"weights {path or repr(path)} are a folder: name the file of weights in it; a trained run's "
            "workdir is what --mode=evaluate --checkpoint takes"
        )
    match = HUB_ID.fullmatch(str(path))
    if not match or files.known(file):
        raise WeightsError(f"weights file {path} does not exist; check the path")
    if not COMMIT.fullmatch(match["revision"] or ""):
        raise WeightsError(
            f"weights {path} are no file, and a hub id needs a commit's hash, not a branch's or tag's "
            f"name: pass {match['repo']}@<commit hash>"
        )
    return _download(match["repo"], match["revision"])


def _download(repo: str, revision: str) -> pathlib.Path:
    by_hand = f"download {HUB_FILE} of {repo} by hand and pass the file"
    try:
        import huggingface_hub
    except ImportError as e:
        raise WeightsError(
            f"a hub id needs huggingface_hub: pip install 'vprjax[hub]', or {by_hand}"
        ) from e
    try:
        file = pathlib.Path(huggingface_hub.hf_hub_download(repo, HUB_FILE, revision=revision))
    except Exception as e:  # offline, unknown repository, unknown revision
        cause = str(e).partition("\n")[0]
        raise WeightsError(f"cannot fetch {repo}@{revision} ({cause}); {by_hand}") from e
    # The hub's cache keeps a large file under the SHA-256 that the hub reported for it.
    blob = file.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        raise WeightsError(
            f"{file} cannot be checked: the cache lacks the SHA-256 that the hub reported; {by_hand}"
        )
    if files.sha256(blob) != blob.name:
        raise WeightsError(
            f"{file} is damaged: its SHA-256 is not the {blob.name} that the hub reported; delete {blob}"
        )
    return file
