"""Specs: a model named in another one's config."""

import json

import pytest

from fer_tf import spec
from fer_tf.models import fer_net


def test_round_trip_through_json():
    model, _ = fer_net.tiny()
    twin = spec.build(json.loads(json.dumps(spec.describe(model))))
    assert type(twin) is fer_net.FERNet and list(twin.classes) == list(model.classes)
    assert [tuple(v.shape) for v in twin.weights] == [tuple(v.shape) for v in model.weights]


def test_what_is_no_spec_comes_back():
    model, _ = fer_net.tiny()
    assert spec.build(model) is model and spec.build(None) is None and spec.describe(None) is None


@pytest.mark.parametrize("name", ["no_net.Net", "fer_net.NoNet", None, "FERNet"])
def test_unknown_models_are_named(name):
    with pytest.raises(ValueError, match="fer_tf.models has no"):
        spec.build({"model": name, "config": {}})
