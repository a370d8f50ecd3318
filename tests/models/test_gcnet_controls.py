"""GCNet's controls and the margin of its start: real neutral faces in place of generated ones."""

import numpy as np
import pytest
import tensorflow as tf

from experiments.parts.gcnet import controls
from fer_tf import evaluation, training
from fer_tf.models import gcnet
from fer_tf.records import Record

CLASSES = ("anger", "neutral", "fear", "disgust", "sadness", "surprise")


def given(variant="S1R1", **options):
    """A small control, and a batch whose references differ from the images."""
    training.setup(seed=0, precision="float32")
    model = gcnet.GCNet(width=1 / 8, classes=CLASSES, variant=variant, generator=gcnet.GIVEN, **options)
    return model, gcnet.tiny()[1]


def flat(code):
    return np.asarray(code, np.float64).reshape(len(code), -1)


def test_what_is_given_is_compared():
    """delta of the image and the batch's reference, in training and at test; nothing is generated."""
    model, batch = given(dropout=0.0, lambda_s=0.3, margin=4.0)
    assert not hasattr(model, "generator_net") and model.compares and not model.generates
    both = model.encoder2(np.concatenate([batch["image"], batch["reference"]]), training=True)[0]
    e, e_r = flat(both[:6]), flat(both[6:])
    terms, measures = model.losses(batch)
    decoders = {"reconstruction_input_loss", "reconstruction_reference_loss"}
    assert {*terms["classifier"]} == {"classification_loss", "contrastive_loss", "decay_loss", *decoders}
    s, differ = np.linalg.norm(e - e_r, axis=-1), np.arange(6) != 1
    by_hand = np.where(differ, 0.5 * np.maximum(0, 4.0 - s) ** 2, 0.5 * s**2).mean()
    assert float(measures["contrastive_loss"]) == pytest.approx(by_hand, rel=1e-4)
    assert float(terms["classifier"]["contrastive_loss"]) == pytest.approx(0.3 * by_hand, rel=1e-4)
    tested = [flat(model.encoder2(batch[name], training=False)[0]) for name in ("image", "reference")]
    unit, unit_r = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in tested)
    hidden = np.maximum(np.abs(unit - unit_r) @ np.array(model.hidden.kernel) + np.array(model.hidden.bias), 0)
    np.testing.assert_allclose(model.features(model.asked(batch)), hidden, atol=1e-5)
    assert set(model.asked(batch)) == {"image", "reference"} and model.reconstruct(batch)[1].shape == (6, 64, 64, 1)
    with pytest.raises(ValueError, match="generates nothing"):
        model.regenerate(batch["image"])


def test_a_control_is_tested_with_its_references(monkeypatch):
    """`evaluation.predict` gives `classify` what the model asks for, also where a short batch is filled up."""
    model, batch = given("S0R0")
    model.xla = False
    model.hidden.kernel.assign(30 * np.array(model.hidden.kernel))
    asked = evaluation.asked(model, batch)
    filled = evaluation.filled(asked, 8)
    assert len(filled["image"]) == len(filled["reference"]) == 8
    np.testing.assert_array_equal(filled["reference"][6:], batch["reference"][:2])
    assert evaluation.asked(object(), batch) is batch["image"]
    swapped = {**batch, "reference": batch["reference"][::-1]}
    one, other = (model.classify(model.asked(b)).numpy() for b in (batch, swapped))
    assert np.abs(one - other).max() > 1e-3

    class Test:
        batch_size, records = 6, tuple("abcdef")

        def epoch(self, number):
            return [swapped]

    assert evaluation.predict(model, Test())[1].tolist() == other.argmax(-1).tolist()


def people(count=3):
    """Two frames of anger and of neutral of each person, two of fear of the first."""
    shown = [(p, e, f) for p in range(count) for e in ("anger", "neutral") for f in (0, 1)] + [(0, "fear", 0)]
    return [Record(b"", e, subject=f"p{p}", sequence=f"{p}{e}", frame=f) for p, e, f in shown]


def test_the_true_neutral_and_a_strangers():
    listed = people()
    own = controls.pairs(listed, ("anger", "fear"), "neutral", 0)
    other = controls.pairs(listed, ("anger", "fear"), "stranger", 0)
    assert own["image"] == other["image"] == [0, 1, 4, 5, 8, 9, 12]
    assert own["reference"] == [2, 2, 6, 6, 10, 10, 2]
    for i, j in zip(other["image"], other["reference"], strict=True):
        assert listed[j].expression == "neutral" and listed[j].subject != listed[i].subject
    drawn = {tuple(controls.pairs(listed, ("anger", "fear"), "stranger", s)["reference"]) for s in range(4)}
    assert len(drawn) > 1 and other == controls.pairs(listed, ("anger", "fear"), "stranger", 0)
    eight = dict(zip(*controls.pairs(listed, ("anger", "neutral"), "neutral", 0).values(), strict=True))
    assert (eight[2], eight[3], eight[6]) == (3, 2, 7), "not itself"


def test_each_reference_is_turned_as_its_picture_is():
    listed = [
        Record(b"", e, subject=p, sequence=p + e, frame=i, info={"pan": pan})
        for p in "abc"
        for e in ("fear", "neutral")
        for i, pan in enumerate((-45.0, 0.0, 45.0))
    ]
    for control, seed in (("neutral", 0), ("stranger", 0), ("stranger", 1)):
        made = controls.pairs(listed, ("fear",), control, seed)
        for i, j in zip(made["image"], made["reference"], strict=True):
            assert listed[i].info == listed[j].info and (listed[i].subject == listed[j].subject) == (
                control != "stranger"
            )
    own = dict(zip(*controls.pairs(listed, ("neutral",), "neutral", 0).values(), strict=True))
    assert (own[3], own[4], own[5]) == (4, 3, 4), "another frame, the least turned away"


def test_a_control_needs_neutral_faces_and_two_people():
    with pytest.raises(ValueError, match="real neutral faces, and p2 has none"):
        controls.pairs(
            [r for r in people() if r.subject != "p2" or r.expression != "neutral"], ("anger",), "neutral", 0
        )
    with pytest.raises(ValueError, match="needs two people"):
        controls.pairs(people(1), ("anger",), "stranger", 0)


class Batches:
    """Three batches; the faces of the last are far from their references."""

    def __init__(self, kept):
        batch = gcnet.tiny()[1] | {"has_reference": tf.constant(kept)}
        self.batches = [batch, {**batch, "image": 0.5 * batch["image"]}, {**batch, "image": 9.0 * batch["image"]}]

    def __len__(self):
        return 3

    def epoch(self, number):
        return iter(self.batches)


@pytest.mark.parametrize(("variant", "generator"), [("metric_cnn", "conv_ae"), ("S1R0", "given"), ("S1R0", "conv_ae")])
def test_the_margin_is_the_median_distance_at_the_start(variant, generator):
    """Over expressive faces with a reference, by the batches' statistics; and the model is as it was."""
    training.setup(seed=0, precision="float32")
    model = gcnet.GCNet(width=1 / 8, classes=CLASSES, variant=variant, generator=generator)
    kept, data, distances = np.array([True, True, False, True, True, True]), None, []
    data = Batches(kept)
    before = [np.array(v) for v in model.variables]
    for batch in data.batches[:2]:
        reference = batch["reference"]
        if generator == "conv_ae" and variant != "metric_cnn":
            net = model.generator_net
            reference, kept = net.decoder(net.encoder(batch["image"], training=True), training=True), np.full(6, True)
        both = flat(model.encoder2(np.concatenate([batch["image"], reference]), training=True)[0])
        distances += np.linalg.norm(both[:6] - both[6:], axis=-1)[kept & (np.arange(6) != 1)].tolist()
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    assert controls.start_margin(model, data, 2) == pytest.approx(np.median(distances), rel=1e-4)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
