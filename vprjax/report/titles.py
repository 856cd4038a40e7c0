"""What a result is of: a network or a baseline, in the words of its files and page."""

from collections.abc import Mapping

from vprjax.evaluation import post
from vprjax.models import multi_scale
from vprjax.retrieval.baselines import BASELINES, Baseline


def baseline(config: Mapping) -> Baseline | None:
    """The baseline that a config evaluates; None for a network, of an earlier version's config too."""
    name = config.get("baseline", {}).get("name", "")
    return BASELINES[name] if name else None


def own_settings(config: Mapping) -> str:
    """A baseline's settings other than the defaults, which its text on the method tells; else ""."""
    method, own = baseline(config), config["baseline"][config["baseline"]["name"]]
    return ", ".join(
        f"{name}={own[name]}"
        for name, key in method.keys.items()
        if name in own and _plain(own[name]) != _plain(key.default)
    )


def _plain(value):
    """A tuple as the list that JSON makes of it."""
    return list(value) if isinstance(value, tuple) else value


def cost_words(cost: Mapping) -> str:
    """Size and time of a descriptor, and of a baseline's fit."""
    words = [f"{cost['dimension']:,} dimensions", f"{cost['bytes_per_image']:,} bytes per image"]
    if cost["ms_per_image"] is not None:
        words.append(f"{cost['ms_per_image']:.3g} ms per image with its decoding")
    if "fit_seconds" in cost:
        words.append(f"{cost['fit_seconds']:.3g} s for the fit")
    return ", ".join(words)


def images_beside(provenance: Mapping) -> list[tuple[str, str]]:
    """Images that training saw besides the home dataset's: those of further datasets, and keep images."""
    counts = {
        "trained on, too": provenance.get("others", {}),
        "keep images": provenance.get("keep_images", {}),
    }
    return [
        (name, ", ".join(f"{source} {count:,}" for source, count in found.items()))
        for name, found in counts.items()
        if found
    ]


def origin(config, provenance: Mapping) -> list[str]:
    """Lines of results.md on what was evaluated: weights or a baseline's method, cost, post-processing."""
    found, out = (
        baseline(config),
        [f"- {name}: {words}" for name, words in images_beside(provenance)],
    )
    if found is None:
        out.append(
            f"- weights: {config.model.weights or 'random'} (sha256 {provenance['weights_sha256']})"
        )
        if start := provenance.get("start"):
            out.append(f"- start: {start}")
        if words := multi_scale.words(config.model):
            out.append(f"- {words}")
    else:
        out.append(f"- method: {found.about} {found.reference}.")
        if words := own_settings(config):
            out.append(f"- here, other than by default: {words}")
    if cost := provenance.get("cost"):
        out.append(f"- cost: {cost_words(cost)}")
    if words := post.words(config.eval):
        out.append(f"- post-processing: {'; '.join(words)}")
    return out
