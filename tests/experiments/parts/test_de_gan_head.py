"""DE-GAN's control: the softmax on f(x) at the least of its loss, chosen and fitted without the tested people."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments import de_gan as script
from experiments.parts.de_gan import head
from fer_tf import pipeline, protocols
from fer_tf.models import de_gan
from fer_tf.records import Record

THREE = ("anger", "happiness", "sadness")


def slopes(softmax, features, labels, decay):
    """Gradient of the mean cross-entropy + decay / 2 times the squared kernel of standardised features, by hand."""
    mean, scale = features.mean(0), features.std(0)
    x, kernel = (features - mean) / scale, softmax.kernel * scale[:, None]
    logits = x @ kernel + softmax.bias + mean @ softmax.kernel
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    off = (p - np.eye(p.shape[1])[labels]) / len(x)
    return x.T @ off + decay * kernel, off.sum(0)


def test_the_views_are_those_of_the_first_epochs(monkeypatch):
    """As many epochs as make ROUNDS views of each face, in their order."""
    faces = np.random.default_rng(0).integers(0, 256, (5, 96, 96), np.uint8)
    listed = [Record(f, THREE[i % 3], subject=f"s{i}", info={"framed": True}) for i, f in enumerate(faces)]
    options = {"classes": THREE, "views": de_gan.views, "template": de_gan.TEMPLATE, "batch_size": 2}
    learn = pipeline.batches(listed, seed=3, training=True, views_per_image=2, **options)
    monkeypatch.setattr(head, "ROUNDS", 3)
    gan = SimpleNamespace(features=lambda images: tf.reduce_mean(images, (2, 3)))
    features, labels, people = head.seen(gan, learn)
    wanted = [batch for number in (0, 1) for batch in learn.epoch(number)]  # 2 x 2 views of each are 3 and more
    np.testing.assert_array_equal(features, np.concatenate([gan.features(b["image"]) for b in wanted]))
    np.testing.assert_array_equal(labels, np.concatenate([b["label"] for b in wanted]))
    np.testing.assert_array_equal(people, np.concatenate([b["subject"] for b in wanted]))
    assert len(features) == 20 and not np.array_equal(features[:10], features[10:])


@pytest.mark.parametrize("decay", [0.003, 0.5])
def test_the_loss_stands_still(decay):
    """Both slopes vanish, at features of unequal scales and places."""
    numbers = np.random.default_rng(0)
    labels = numbers.integers(0, 3, 200)
    features = numbers.normal(size=(200, 5)) * [1, 30, 0.1, 4, 2] + [0, 50, -3, 1, 0]
    features[:, 2] += 0.2 * labels
    softmax = head.fitted(features, labels, 3, decay)
    of_kernel, of_bias = slopes(softmax, features, labels, decay)
    assert softmax.still and np.abs(of_kernel).max() < 1e-4 and np.abs(of_bias).max() < 1e-4
    assert np.abs(of_kernel - decay * softmax.kernel * features.std(0)[:, None]).max() > 1e-3  # the decay is at work
    shares = [head.fitted(features, labels, 3, d).right(features, labels) for d in (0.003, 0.5)]
    assert shares[0] > 0.6 > 0.3 and softmax.right(features, (labels + 1) % 3) < 0.4


def test_the_decay_is_chosen_by_people_who_are_not_fitted(monkeypatch):
    """The first feature says the row; of the five decays the one counts that names most of the held-out fifth."""
    people, labels, given = np.repeat(np.arange(10), 3), np.tile([0, 1, 2], 10), []
    rights = dict(zip(head.DECAYS, (0.2, 0.4, 0.9, 0.8, 0.1), strict=True))

    def fitted(x, y, count, decay):
        def right(other, wanted):
            given.append((x[:, 0].tolist(), y.tolist(), count, other[:, 0].tolist(), wanted.tolist()))
            return rights[decay]

        return SimpleNamespace(right=right)

    monkeypatch.setattr(head, "fitted", fitted)
    assert head.chosen(np.arange(30.0)[:, None], labels, people, 3, 5) == 0.01
    out = protocols.held_out([str(i) for i in range(10)], 0.2, 5)
    held = [i for i in range(30) if str(i // 3) in out]
    others = [i for i in range(30) if i not in held]
    assert len(held) == 6
    assert given == 5 * [(others, [i % 3 for i in others], 3, held, [i % 3 for i in held])]
    assert head.chosen(np.arange(3.0)[:, None], labels[:3], people[:3], 3, 5) == 0.01 and len(given) == 5


def part(people, frames):
    """Framed faces; the grey value says which record it is."""
    rows = [(p, c) for p in people for c in THREE for _ in range(frames)]
    return [
        Record(np.full((110, 110), 5 + 3 * i, np.uint8), c, subject=p, info={"framed": True})
        for i, (p, c) in enumerate(rows)
    ]


def test_it_is_fitted_to_training_people_and_names_the_tested(monkeypatch, tmp_path, capsys):
    """Twenty views at least of each training face and of no other; the encoder is the GAN's; the head that is found."""
    settings = script.Settings(preset="smoke", precision="float32", width=1 / 32, code=8, batch_size=7)
    listed, shown, given = part("abcd", 2), [], []
    options = {"classes": THREE, "template": "de_gan", "views": de_gan.views, "seed": 0}
    test = pipeline.batches(listed[18:], batch_size=128, training=False, **options)

    def features(images):
        values = np.round(255 * np.asarray(images)[:, 0, 0, 0]).astype(int)
        shown.extend((v - 5) // 3 for v in values)
        return tf.constant(np.eye(8, dtype=np.float32)[(values - 5) // 3 // 2 % 3])  # what is expressed

    def epoch(number):  # three views of each face
        faces = np.float32([np.full((96, 96, 1), r.image[0, 0] / 255) for r in listed[:18]])
        labels, people = (np.int32([i // 2 % 3 for i in range(18)]), np.int32([i // 6 for i in range(18)]))
        faces = {"image": faces, "label": labels, "subject": people}
        return tf.data.Dataset.from_tensors(faces).repeat(3)

    learn = SimpleNamespace(rows=18, views_per_epoch=54, epoch=epoch)
    encoder = de_gan.build_encoder(width=1 / 32, code=8)
    gan, fitted = SimpleNamespace(classes=THREE, encoder=encoder, features=features), head.fitted
    monkeypatch.setattr(head.networks, "optimizer", lambda *_: de_gan.optimizer())

    def spied(x, labels, count, decay):
        given.append((len(x), decay))
        return fitted(x, labels, count, decay)

    monkeypatch.setattr(head, "fitted", spied)
    outcome = head.converged(settings, gan, learn, test, 0, tmp_path)
    assert {*shown} == {*range(18)} and len(shown) == 21 * 18  # seven rounds of three views
    assert [len_ for len_, _ in given] == [14 * 18] * 5 + [21 * 18] and given[-1][1] in head.DECAYS
    model, pair = outcome.model, outcome.tested["last"]
    assert model.uses == "code" and tuple(pair[0]) == (0, 0, 1, 1, 2, 2)
    for mine, trained in zip(model.encoder.weights, gan.encoder.weights, strict=True):
        np.testing.assert_array_equal(np.array(mine), np.array(trained))
    found = model.heads[-1]
    assert np.argmax(np.eye(8)[:3] @ np.array(found.kernel) + np.array(found.bias), -1).tolist() == [0, 1, 2]
    assert "of 378 views" in capsys.readouterr().out


def test_the_control_is_held_against_f_x_as_it_is_trained():
    names = ["CNN (baseline), strong", "DE-GAN", "DE-GAN, f(x) alone", "DE-GAN, f(x) alone, softmax at convergence"]
    assert script.held_against(names) == {names[1]: names[0], names[2]: names[0], names[3]: names[2]}
    assert script.held_against([names[0], names[3]]) == {names[3]: names[0]} and script.held_against(names[:1]) == {}


def test_a_job_of_the_grid_leaves_it_to_the_table():
    """It trains nothing in a folder of its own."""
    settings = script.Settings(preset="smoke", uses=("code", "code:converged"), baselines=("printed",))
    assert [stage.name for stage in script.stages(settings)][:3] == ["gan", "baseline_printed", "code"]
    assert len(script.stages(settings)) == 5
    everybody = settings.replace(all_subjects=True, baselines=("strong", "printed"))
    assert [stage.name for stage in script.stages(everybody)] == ["gan", "baseline_strong", "code"]
