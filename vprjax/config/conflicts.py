"""Values of a config that do not go together, whatever the data are."""

from collections.abc import Iterator

from vprjax import models, sampling
from vprjax.data import source
from vprjax.retrieval.baselines import BASELINES
from vprjax.retrieval.hamming import WORD


def objections(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs: whether the config has values that do not go together, and the sentence."""
    tuples, e, d = config.tuples, config.eval, config.dataset
    yield (
        d.reference_split in d.query_splits,
        f"dataset.query_splits holds dataset.reference_split={d.reference_split!r}: every image would "
        "find itself; leave it out",
    )
    yield (
        tuples.positive_radius >= tuples.negative_radius,
        f"tuples.positive_radius={tuples.positive_radius:g} must be below "
        f"tuples.negative_radius={tuples.negative_radius:g}",
    )
    yield (
        not tuples.negatives and tuples.in_batch == "off",
        "tuples.negatives=0 leaves the loss's margin without negatives; set tuples.in_batch to hardest or "
        "semi_hard",
    )
    yield (
        tuples.remembered > tuples.negatives,
        f"tuples.remembered={tuples.remembered} must be at most tuples.negatives={tuples.negatives}",
    )
    yield (
        0 < tuples.mining_pool < tuples.negatives,
        f"tuples.mining_pool={tuples.mining_pool} must be 0 (all) or at least "
        f"tuples.negatives={tuples.negatives}",
    )
    yield e.pca_whiten and not e.pca, "eval.pca_whiten=True needs eval.pca above 0"
    yield from _elsewhere(config)
    yield from _blends(config)
    yield (
        e.rerank_bits % WORD != 0,
        f"eval.rerank_bits={e.rerank_bits} must be a multiple of {WORD}",
    )
    yield from _kept(config)
    yield from _others(config)
    yield from sampling.kind(config).objections(config)


def _kept(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on what training keeps of the untrained model, and on stages released later."""
    o, k = config.optim, config.keep
    try:
        models.released(config.model, o.release)
    except ValueError as error:
        yield True, str(error)
    trains = (
        config.model.batch_norm == "train" and models.BACKBONES[config.model.backbone].batch_norm
    )
    yield (
        bool(o.release) and trains,
        "optim.release freezes no BatchNorm statistics: set model.batch_norm='frozen' or release nothing",
    )
    pull = o.learning_rate * max(1.0, o.head_rate) * o.keep_start
    yield (
        pull > 1,
        f"optim.keep_start={o.keep_start:g} times optim.learning_rate and optim.head_rate is {pull:g}: "
        "above 1 a step overshoots the start; lower it",
    )
    held = config.tuples.push == "to_untrained"
    yield (
        held and config.loss.name not in ("triplet", "contrastive"),
        f"tuples.push='to_untrained' needs loss.name triplet or contrastive, not {config.loss.name}",
    )
    yield (
        bool(k.images) != bool(k.weight),
        f"keep.images={tuple(k.images)!r} and keep.weight={k.weight:g} go together: set both or neither",
    )


def _others(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on the further datasets of a run."""
    o, count = config.others, len(config.others.names)
    for key in o:
        given = len(o[key])
        needed = key in ("names", "weights") or given > 0
        yield (
            needed and given != count,
            f"others.{key} holds {given} values for the {count} datasets of others.names: give one each",
        )
    total = sum(o.weights)
    yield (
        total >= 1,
        f"others.weights sum to {total:g}, but dataset.name has the rest of 1: lower them",
    )
    radii = zip(
        o.positive_radius or (config.tuples.positive_radius,) * count,
        o.negative_radius or (config.tuples.negative_radius,) * count,
        strict=False,
    )
    for number, (positive, negative) in enumerate(radii):
        yield (
            positive >= negative,
            f"others.positive_radius={positive:g} of {o.names[number]} must be below its "
            f"negative_radius={negative:g}",
        )


def _elsewhere(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on datasets that are measured besides the config's own."""
    e, home = config.eval, source.split_name(config.dataset.name)[:2]
    names = [source.split_name(name)[:2] for name in e.other_datasets]
    twice = [name for name, n in zip(e.other_datasets, names, strict=True) if names.count(n) > 1]
    yield bool(twice), f"eval.other_datasets names {twice[:1]} twice; name it once"
    yield (
        home in names,
        f"eval.other_datasets holds dataset.name={config.dataset.name!r} itself; leave it out",
    )
    yield (
        bool(e.other_tolerances) and len(e.other_tolerances) != len(names),
        f"eval.other_tolerances has {len(e.other_tolerances)} entries, eval.other_datasets {len(names)}: "
        "give one tuple per name, () for a dataset's own",
    )
    yield (
        bool(e.keep_dataset) and source.split_name(e.keep_dataset)[:2] in (home, *names),
        f"eval.keep_dataset={e.keep_dataset!r} is evaluated too: a blend that is chosen on its test makes "
        "the figures worthless; name another",
    )


def _blends(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on a blend that cannot be made or chosen."""
    e, runs = config.eval, len(config.eval.blend_runs)
    yield (
        bool(e.blend_weights) and len(e.blend_weights) != 1 + runs,
        f"eval.blend_weights={tuple(e.blend_weights)} must hold {1 + runs} numbers: this run's and one per "
        "run of eval.blend_runs",
    )
    yield (
        bool(e.blend_weights) and not any(e.blend_weights),
        "eval.blend_weights are all 0; give one above 0",
    )
    yield (
        e.blend == "auto" and not config.validation.every,
        "eval.blend='auto' chooses on validation, which the run holds no images out for: train with "
        "validation.every above 0, or give eval.blend as a number",
    )
    yield (
        bool(e.blend_runs) and e.blend == "off",
        "eval.blend_runs needs eval.blend, the share of the fine-tuned parameters, such as '1' or 'auto'",
    )
    yield (
        bool(e.keep_dataset) and e.blend != "auto",
        f"eval.keep_dataset={e.keep_dataset!r} needs eval.blend='auto', which alone reads it",
    )


def baseline(config, training: bool) -> Iterator[tuple[bool, str]]:
    """Yields pairs on a baseline in a job that cannot have it, or with options of descriptors."""
    name, e = config.baseline.name, config.eval
    yield (
        bool(name) and training,
        f"baseline.name={name!r} is not trained: evaluate it with --mode=evaluate, or set it to ''",
    )
    yield (
        bool(name and e.other_datasets),
        f"eval.other_datasets={tuple(e.other_datasets)!r} is for models, and baseline {name!r} is none: "
        "evaluate it there by another dataset.name",
    )
    own = name and BASELINES[name].matching is not None
    asked = {"sequence_length": e.sequence_length > 1}
    for key in ("pca", "standardise", "query_expansion", "database_augmentation", "rerank"):
        asked[key] = bool(e[key])
    for key, on in asked.items():
        yield (
            bool(own and on),
            f"eval.{key}={e[key]!r} is for descriptors that L2 compares, and baseline {name!r} has its own "
            "costs: set it back",
        )
