"""Names of variants: chosen or refused, never another variant's."""

import pytest

from configs import base
from vprjax import losses, models
from vprjax.retrieval import baselines
from vprjax.variants import pick


def test_an_unknown_name_is_refused_with_the_known_ones():
    assert pick("loss.name", "triplet", losses.LOSSES) is losses.LOSSES["triplet"]
    with pytest.raises(
        ValueError, match=r"loss\.name='tripet' is not known; known: 'triplet', .*mean"
    ):
        pick("loss.name", "tripet", losses.LOSSES)


def test_an_unknown_loss_is_no_other_loss():
    config = base.get_config()
    config.loss.name = "softmax"
    for call in (losses.kind, losses.class_rate):
        with pytest.raises(ValueError, match=r"loss\.name='softmax' is not known"):
            call(config.loss)
    with pytest.raises(ValueError, match=r"loss\.name='softmax' is not known"):
        losses.make(config.loss, config.tuples, "batch")
    config.loss.name, config.loss.arcface.classes = "arcface", "pairs"
    with pytest.raises(ValueError, match=r"loss\.arcface\.classes='pairs' is not known"):
        losses.make(config.loss, config.tuples, "batch")


def test_every_own_key_has_a_default_in_its_range_and_a_meaning():
    config = base.get_config()
    variants = [("model", name, v) for name, v in models.HEADS.items()]
    variants += [("loss", name, v) for name, v in losses.LOSSES.items()]
    variants += [("baseline", name, v) for name, v in baselines.BASELINES.items()]
    for section, name, variant in variants:
        for key, own in variant.keys.items():
            assert config[section][name][key] == own.default
            assert own.allowed.allows(own.default) and own.meaning
