"""SE-ResNet: its layers by hand, targets and losses of both heads, the running average, and where it is kept."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from PIL import Image

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import se_resnet
from fer_tf.records import CLASSES


def small(**options):
    """A small net without views that are drawn, unless given."""
    still = {"mixup": 0, "cutmix": 0, "erase": 0, "coarse": 0, "noise": 0, "light": 0, "degrees": 0, "zoom": 0}
    plain = {**still, "shift": 0, "width": 4, "blocks": 1, "size": 16, "dropout": 0.0}
    return se_resnet.SEResNet(**{**plain, **options})


def sgd(model, rate=0.1):
    """The model, compiled."""
    model.compile(classifier_optimizer=keras.optimizers.SGD(rate))
    return model


def values(variables):
    return [np.array(v) for v in variables]


def test_the_size_of_the_released_net():
    """By hand: convolutions, norms (two vectors each), squeeze-excitation, heads; at most 25 MB in half precision."""
    model, widths = se_resnet.SEResNet(), [64, 128, 256, 512]
    convolutions = 9 * 64 + sum(9 * a * b + 3 * 9 * b * b for a, b in zip([64, *widths], widths, strict=False))
    skips = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    norms = 2 * (64 + sum(4 * c for c in widths) + sum(widths[1:]))
    squeezes = sum(2 * (c * (c // 16) + c // 16 + (c // 16) * c + c) for c in widths)
    heads = 513 * 8 + 513 * 7
    assert (
        sum(int(np.prod(v.shape)) for v in model.trainable_variables) == convolutions + skips + norms + squeezes + heads
    )
    assert 2 * sum(int(np.prod(v.shape)) for v in model.averaged_variables()) < 25e6
    maps, features = model.trunk(tf.zeros((1, 48, 48, 1)))
    assert maps.shape == (1, 48, 48, 64) and features.shape == (1, 512)
    assert model.trunk.get_layer("stage4_1_relu").output.shape[-1] == 512


def test_stages_halve_the_picture():
    trunk = se_resnet.build_trunk(width=4, blocks=2)
    names = ["stem_relu", "stage1_1_relu", "stage2_0_relu", "stage3_1_relu", "stage4_1_relu"]
    inner = keras.Model(trunk.inputs, [trunk.get_layer(name).output for name in names])
    assert [m.shape[1:] for m in inner(tf.zeros((1, 48, 40, 1)))] == [
        (48, 40, 4), (48, 40, 4), (24, 20, 8), (12, 10, 16), (6, 5, 32)
    ]  # fmt: skip


def test_squeeze_excitation_by_hand():
    inputs = keras.Input((None, None, 20))
    net = keras.Model(inputs, se_resnet.excited(inputs, "se", reduction=5))
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 20)).astype(np.float32)
    first, bias, second, other = (v + 0.1 for v in net.get_weights())
    assert first.shape == (1, 1, 20, 4)
    net.set_weights([first, bias, second, other])
    squeezed = np.maximum(x.mean((1, 2)) @ first[0, 0] + bias, 0)
    gates = scipy.special.expit(squeezed @ second[0, 0] + other)
    np.testing.assert_allclose(net(x), x * gates[:, None, None], atol=1e-5)


def test_a_face_is_reduced_as_pillow_does_and_standardised():
    face = np.random.default_rng(0).integers(80, 176, (70, 70), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(face).resize((48, 48), Image.Resampling.BICUBIC), np.float32)
    model = se_resnet.SEResNet(width=4, blocks=1)
    given = tf.constant(face[None, :, :, None], tf.float32) / 255
    np.testing.assert_allclose(255 * model.framed(given)[0, ..., 0], wanted, atol=1.1)
    reduced = model.framed(given).numpy()
    for light in (1, 0.5):
        wanted = light * (reduced - reduced.mean()) / np.sqrt(light**2 * reduced.var() + 1e-4)
        np.testing.assert_allclose(model.preprocess(light * given), wanted, atol=1e-4)
    assert np.all(model.preprocess(tf.ones((1, 48, 48, 1))).numpy() == 0)
    np.testing.assert_array_equal(model.framed(given[:, :48, :48]), given[:, :48, :48])


def test_targets_by_hand():
    model = small(label_smoothing=0.14)
    votes = np.zeros((3, 8), np.float32)
    votes[0, 2], votes[0, 7], votes[1, 4] = 3, 6, 10
    by_votes, by_labels = model.targets({"label": tf.constant([1, -1, 6]), "votes": tf.constant(votes)})
    np.testing.assert_allclose(by_votes, votes / 10, atol=1e-7)
    np.testing.assert_allclose(by_labels, [[0.02, 0.88] + [0.02] * 5, [0] * 7, [0.02] * 6 + [0.88]], atol=1e-6)
    heavy = {"label": tf.constant([1, -1, 6]), "votes": tf.constant(votes), "weight": tf.constant([2.0, 3.0, 0.0])}
    for weighted, once in zip(model.targets(heavy), (by_votes, by_labels), strict=True):
        np.testing.assert_allclose(weighted, once * np.array([[2], [3], [0]]), atol=1e-6)
    without, _ = model.targets({"label": tf.constant([1, 6])})
    assert [CLASSES["eight"][i] for i in np.argmax(without, -1)] == [CLASSES["six_neutral"][i] for i in (1, 6)]


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_losses_by_hand(share):
    model, batch = small(label_share=share, label_smoothing=0.1), se_resnet.tiny()[1]
    votes = np.array(batch["votes"], np.float64)
    votes[2] = 0
    batch = {**batch, "votes": tf.constant(votes, tf.float32), "label": tf.constant([0, 1, 2, 3, -1, 5])}
    logits = [scipy.special.log_softmax(x, -1) for x in model.both_logits(model.preprocess(batch["image"]))]
    one = np.where(np.array([0, 1, 2, 3, -1, 5])[:, None] >= 0, np.eye(7)[[0, 1, 2, 3, 0, 5]] * 0.9 + 0.1 / 7, 0)
    terms, measures = model.losses(batch, training=False)
    terms = terms["classifier"]
    wanted = -(votes * logits[0]).sum() / votes.sum()
    assert float(terms["votes_loss"]) == pytest.approx((1 - share) * wanted, rel=1e-4)
    assert float(terms["labels_loss"]) == pytest.approx(-share * (one * logits[1]).sum() / 5, rel=1e-4)
    right = logits[0].argmax(-1) == votes.argmax(-1)
    assert float(measures["accuracy"]) == pytest.approx(right.mean())
    nothing = model.losses({**batch, "votes": tf.zeros((6, 8)), "label": -tf.ones(6, tf.int32)}, False)[0]
    assert [float(v) for v in nothing["classifier"].values()] == [0, 0]


def test_mixed_faces_have_mixed_targets():
    """All of one share: the loss is that of the mixed pictures to the mixed targets, by hand."""
    model, batch = small(mixup=1.0, alpha=1e6), se_resnet.tiny()[1]  # a share of one half
    drawn = np.array(model.step_views._shares)
    assert abs(drawn - 0.5).max() < 0.01
    model.step_views._shares = np.full_like(drawn, 0.7)
    inputs = model.preprocess(batch["image"]).numpy()
    flipped = model.preprocess(batch["image"][:, :, ::-1]).numpy()
    losses = []
    votes, labels = (np.array(t) for t in model.targets(batch))
    for mirror in np.ndindex(*[2] * 6):  # whichever of the views are mirrored
        shown = np.where(np.array(mirror)[:, None, None, None] == 1, flipped, inputs)
        by_votes, by_labels = model.both_logits(tf.constant(0.7 * shown + 0.3 * shown[::-1]), True)
        logs = [scipy.special.log_softmax(x, -1) for x in (by_votes, by_labels)]
        mixed = [0.7 * t + 0.3 * t[::-1] for t in (votes, labels)]
        losses.append([-(t * g).sum() / t.sum() / 2 for t, g in zip(mixed, logs, strict=True)])
    found = [float(v) for v in model.losses(batch, training=True)[0]["classifier"].values()]
    assert np.abs(np.array(losses) - found).max(-1).min() < 2e-4


def test_temperatures_and_blend():
    model, images = small(temperature=2.0, label_temperature=0.5, blend=0.25), se_resnet.tiny()[1]["image"]
    votes, labels = (x.numpy() for x in model.both_logits(model.preprocess(images)))
    votes = scipy.special.softmax(votes / 2, -1)
    np.testing.assert_allclose(model.classify(images), votes, atol=1e-5)
    places = [i for i, name in enumerate(CLASSES["eight"]) if name != "contempt"]
    seven = votes[:, places] / votes[:, places].sum(-1, keepdims=True)
    wanted = 0.75 * scipy.special.softmax(labels / 0.5, -1) + 0.25 * seven
    np.testing.assert_allclose(model.classify_labels(images), wanted, atol=1e-5)


def test_balance_makes_the_classes_alike_before_a_face_is_seen():
    """Bayes' rule: probabilities over frequencies to the power of `balance`, summing to one."""
    frequencies = [0.3, 0.02, 0.05, 0.03, 0.2, 0.1, 0.1, 0.2]
    model, images = small(temperature=2.0), se_resnet.tiny()[1]["image"]
    before = model.classify(images).numpy()
    model.frequencies, model.balance = tuple(frequencies), 0.5
    wanted = before / np.sqrt(frequencies)
    np.testing.assert_allclose(model.classify(images), wanted / wanted.sum(-1, keepdims=True), atol=1e-5)
    again = se_resnet.SEResNet(**{**model.get_config(), "name": "again"})
    assert (again.frequencies, again.balance) == (tuple(frequencies), 0.5)
    for wrong in ({"balance": 0.5}, {"frequencies": [0.5, 0.5]}, {"frequencies": [0.0] * 8, "balance": 1.0}):
        with pytest.raises(ValueError, match="needs frequencies, one above zero for each of 8 classes"):
            small(**wrong)


def test_label_classes_are_classes():
    with pytest.raises(ValueError, match="label_classes has neutral, which the classes anger, "):
        small(classes=CLASSES["seven"])


def test_the_average_by_hand():
    """Two steps: kept shares 1/10 and 2/11, then `momentum` at most; statistics of norms are averaged too."""
    model, batch = sgd(small(average=0.15)), se_resnet.tiny()[1]
    followed = model.averaged_variables()
    moving = [v for v in followed if "moving" in v.name]
    assert len(moving) == 2 * (1 + 2 * 4 + 3) and len(followed) == len(model.trainable_variables) + len(moving)
    wanted = values(followed)
    for kept in (0.1, 0.15):
        model.train_step(batch)
        wanted = [kept * a + (1 - kept) * v for a, v in zip(wanted, values(followed), strict=True)]
    for average, value in zip(model.averages.values, wanted, strict=True):
        np.testing.assert_allclose(np.array(average), value, atol=1e-6)
    trained = values(followed)
    with pytest.raises(KeyboardInterrupt), model.averaged():
        raise KeyboardInterrupt
    for variable, value in zip(followed, trained, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    with model.averaged():
        for variable, value in zip(followed, wanted, strict=True):
            np.testing.assert_allclose(np.array(variable), value, atol=1e-6)
    for variable, value in zip(followed, trained, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(trained, wanted, strict=True))


def test_without_an_average_the_weights_are_themselves():
    model = sgd(small(average=0.0))
    before = values(model.averaged_variables())
    with model.averaged():
        assert all(np.array_equal(a, np.array(v)) for a, v in zip(before, model.averaged_variables(), strict=True))
    assert model.averages is None


class Repeat:
    """One batch, twice an epoch."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 2

    def epoch(self, number):
        return tf.data.Dataset.from_tensors(self.batch).repeat(2)


def test_the_best_epochs_average_comes_back(tmp_path):
    """A checkpoint holds it; no weights file does."""
    model, kept = sgd(small()), []

    def validation(model):
        kept.append(values(model.averages.values))
        return {"accuracy": (0.1, 0.9, 0.3)[len(kept) - 1]}

    training.fit(model, Repeat(se_resnet.tiny()[1]), workdir=tmp_path, epochs=3, validation=validation, progress=False)
    restored = training.restore(sgd(small()), tmp_path, "best")
    last = training.restore(sgd(small()), tmp_path, "last")
    for best, end, second, third in zip(restored.averages.values, last.averages.values, kept[1], kept[2], strict=True):
        np.testing.assert_array_equal(np.array(best), second)
        np.testing.assert_array_equal(np.array(end), third)
    assert any(np.any(a != b) for a, b in zip(kept[1], kept[2], strict=True)) and int(restored.averages.steps) == 4
