"""What a result is of: a network or a baseline, in the words of its files and page."""

from collections.abc import Mapping

from vprjax.baselines import BASELINES, Baseline
from vprjax.evaluation import post


def baseline(config: Mapping) -> Baseline | None:
    """The baseline that a config evaluates; None for a network, of an earlier version's config too."""
    name = config.get("baseline", {}).get("name", "")
    return BASELINES[name] if name else None


def origin(config, provenance: Mapping) -> list[str]:
    """Lines of results.md on what was evaluated: weights and steps, or a baseline's method and cost."""
    found, out = baseline(config), []
    if found is None:
        out.append(
            f"- weights: {config.model.weights or 'random'} (sha256 {provenance['weights_sha256']})"
        )
    else:
        cost = provenance["cost"]
        out += [
            f"- method: {found.about} {found.reference}.",
            f"- cost: {cost['dimension']:,} dimensions, {cost['bytes_per_image']:,} bytes and "
            f"{cost['ms_per_image']:.3g} ms per image; the fit took {cost['fit_seconds']:.3g} s",
        ]
    if words := post.words(config.eval):
        out.append(f"- post-processing: {'; '.join(words)}")
    return out
