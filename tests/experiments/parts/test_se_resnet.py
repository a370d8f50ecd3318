"""What the training of SE-ResNet is made of: batches with votes, the measures by hand, the clock by a clock of ours."""

import io
import json
import math

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from PIL import Image

from experiments.parts.se_resnet import measures
from experiments.parts.se_resnet.clock import Clock
from experiments.parts.se_resnet.voted import Voted
from fer_tf import pipeline, training
from fer_tf.compat import keras
from fer_tf.datasets import fer2013
from fer_tf.models import se_resnet
from fer_tf.records import CLASSES, Record

EIGHT, SEVEN = CLASSES["eight"], CLASSES["six_neutral"]


def records(count, seed=0):
    """Noise with votes: the record's number is in its first pixel and in its votes for fear."""
    rng, made = np.random.default_rng(seed), []
    for i in range(count):
        image, votes = rng.integers(0, 256, (48, 48), np.uint8), rng.integers(0, 4, 10)
        votes[fer2013.VOTES.index("fear")] = 100 + i
        info = {"framed": True, "votes": votes.tolist()}
        made.append(Record(image, SEVEN[i % 7], sequence="train", frame=i, domain="web", info=info))
    return made


def batches(listed, batch_size, **options):
    given = {"classes": SEVEN, "template": se_resnet.TEMPLATE, "views": se_resnet.views, "seed": 1, **options}
    return pipeline.batches(listed, batch_size=batch_size, **given)


@pytest.mark.parametrize("device", ["host", "resident"])
def test_batches_are_full_and_have_the_votes_of_their_own_pictures(device):
    listed = records(11)
    data = Voted(batches(listed, 4, device=device), EIGHT)
    assert len(data) == 2 and data.batch_size == 4 and data.even and data.records == listed
    assert data.resident is (device == "resident") and not data.short(0) and not data.short(1)
    for epoch in range(2):
        if data.resident:
            shown = [data.assemble(plan) for plan in data.plans(epoch)]
        else:
            shown = list(data.epoch(epoch))
        assert [len(batch["image"]) for batch in shown] == [4, 4]
        places = np.concatenate([batch["index"] for batch in shown])
        assert len({*places.tolist()}) == 8
        for batch in shown:
            own = [listed[i] for i in batch["index"].numpy()]
            votes = [[r.info["votes"][fer2013.VOTES.index(name)] for name in EIGHT] for r in own]
            np.testing.assert_array_equal(batch["votes"], votes)
            np.testing.assert_array_equal(batch["votes"][:, EIGHT.index("fear")], 100 + batch["index"].numpy())
            np.testing.assert_array_equal(batch["label"], [SEVEN.index(r.expression) for r in own])
            framed = np.rint(np.asarray(batch["image"]) * (255 if batch["image"].dtype == tf.float32 else 1))
            np.testing.assert_array_equal(framed, measures.framed(own))


def test_fewer_pictures_than_a_batch_are_one_batch():
    data = Voted(batches(records(3), 4, device="host"), EIGHT)
    (batch,) = data.epoch(0)
    assert len(data) == 1 and data.short(0) and sorted(batch["index"].numpy()) == [0, 1, 2]
    assert data.streams == {"": data.batches}


def test_what_people_said_of_the_pictures():
    def voted(expression, **votes):
        return Record(
            np.full((48, 48), 7, np.uint8), expression,
            info={"framed": True, "votes": [votes.get(name, 0) for name in fer2013.VOTES]},
        )  # fmt: skip

    listed = [voted("anger", contempt=6, anger=4), voted("neutral", unknown=9), voted("fear", fear=5, neutral=5)]
    listed += [Record(np.zeros((48, 48), np.uint8), "surprise", info={"framed": True})]
    named = measures.Named(listed, EIGHT, SEVEN)
    assert named.votes.tolist() == [EIGHT.index("contempt"), -1, EIGHT.index("neutral"), -1]
    assert named.strict.tolist() == [EIGHT.index("contempt"), -1, -1, -1]
    assert named.labels.tolist() == [SEVEN.index(n) for n in ("anger", "neutral", "fear", "surprise")]
    assert named.faces.shape == (4, 70, 70, 1) and named.faces.dtype == np.uint8 and (named.faces[0] == 7).all()
    assert measures.Named(listed, EIGHT, ("fear", "surprise")).labels.tolist() == [-1, -1, 0, 1]


def net(**options):
    """A small net whose answers differ from face to face."""
    keras.utils.set_random_seed(5)
    made = se_resnet.SEResNet(width=4, blocks=1, size=16, **options)
    rng = np.random.default_rng(0)
    for head in (made.head, made.label_head):
        head.kernel.assign(rng.normal(0, 3, head.kernel.shape).astype(np.float32))
    return made


def test_a_reader_gives_the_models_logits_whatever_the_count(monkeypatch):
    """In calls of one size, the last one filled up."""
    monkeypatch.setattr(measures, "AT_ONCE", 5)
    model = net()
    faces = np.random.default_rng(1).integers(0, 256, (12, 70, 70, 1), np.uint8)
    reader = measures.Reader(model)
    for count in (12, 5, 2):
        wanted = model.both_logits(model.preprocess(tf.constant(faces[:count], tf.float32) / 255))
        for found, logits in zip(reader(faces[:count]), wanted, strict=True):
            assert found.shape == logits.shape and found.dtype == np.float32
            np.testing.assert_allclose(found, logits, atol=2e-5)
    model.head.bias.assign_add(tf.ones(8))  # as they are now, not as they were
    np.testing.assert_allclose(reader(faces[:2])[0], wanted[0] + 1, atol=2e-5)


def test_accuracy_leaves_out_what_has_no_label():
    scores = np.eye(3)[[0, 1, 2, 0, 1]]
    assert measures.accuracy(scores, np.array([0, 1, 0, -1, 2])) == 2 / 4
    assert measures.accuracy(scores, np.array([0, 1, 0, -1, 2]), np.array([1, 0, 1, 1, 1], bool)) == 1 / 3
    assert measures.accuracy(scores, np.full(5, -1)) == 0 == measures.accuracy(scores, np.arange(5), np.zeros(5, bool))


def test_the_calibration_error_by_hand():
    """Two rows of 0.52 in one range, one right; 0.95 right; 0.9 wrong, of the same range; 1.0 in the last one, too."""
    highest, right = np.array([0.52, 0.52, 0.95, 0.94, 1.0, 0.6]), [1, 0, 1, 0, 1, 1]
    probabilities = np.stack([highest, 1 - highest], -1)
    labels = np.array([0 if r else 1 for r in right])
    labels[5] = -1
    last = abs(0.95 + 0.94 + 1.0 - 2)
    assert measures.calibration_error(probabilities, labels) == pytest.approx((abs(1.04 - 1) + last) / 5)
    assert measures.calibration_error(probabilities, np.full(6, -1)) == 0
    both = np.array([[0.61, 0.39], [0.73, 0.27]])  # errors of different ranges do not cancel
    assert measures.calibration_error(both, np.array([0, 1])) == pytest.approx((0.39 + 0.73) / 2)


def test_what_classify_gives_by_logits():
    model, rng = net(temperature=17.0, label_temperature=6.0, blend=0.3), np.random.default_rng(1)
    grains = [np.kron(rng.integers(0, 256, (70 // n, 70 // n)), np.ones((n, n))) for n in (1, 2, 5, 7, 14, 35)]
    faces = np.stack(grains)[..., None].astype(np.uint8)
    logits, images = measures.Reader(model)(faces), tf.constant(faces, tf.float32) / 255
    np.testing.assert_allclose(measures.softmax(logits[0], 17.0), model.classify(images), atol=1e-4)
    np.testing.assert_allclose(measures.by_labels(model, logits), model.classify_labels(images), atol=1e-4)
    model.frequencies, model.balance = (0.3, 0.02, 0.05, 0.03, 0.2, 0.1, 0.1, 0.2), 0.75
    np.testing.assert_allclose(measures.by_votes(model, logits), model.classify(images), atol=1e-4)
    assert np.abs(measures.by_votes(model, logits) - measures.softmax(logits[0], 17.0)).max() > 0.05
    assert (
        np.ptp(model.classify(images).numpy(), 0).max() > 0.05 < np.ptp(model.classify_labels(images).numpy(), 0).max()
    )


def drawn(temperature, count, classes, seed):
    """Logits, and labels drawn from their softmax at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, classes)).astype(np.float32)
    sums = scipy.special.softmax(logits / temperature, -1).cumsum(-1)
    return logits, (rng.uniform(size=(count, 1)) < sums).argmax(-1)


EVEN = (0.125,) * 8
"""Shares of eight classes that were voted for alike."""


class Said:
    """Labels alone."""

    def __init__(self, votes, labels):
        self.votes = self.strict = votes
        self.labels = labels


def test_temperatures_are_found_and_calibrate():
    votes, said = drawn(2.0, 4000, 8, 0)
    labels, named = drawn(0.5, 4000, 7, 1)
    said[::7], named[::5] = -1, -1  # of these nobody knows
    model = net()
    measures.calibrate(model, (votes, labels), Said(said, named), EVEN)
    assert model.temperature == pytest.approx(2.0, rel=0.06) and model.label_temperature == pytest.approx(0.5, rel=0.06)
    assert model.blend == 0  # the votes know nothing of these labels
    assert model.balance == 0 and model.frequencies == EVEN  # without a difference, none
    before, after = (measures.calibration_error(measures.softmax(votes, t), said) for t in (1.0, model.temperature))
    assert before > 0.12 and after < 0.03


def test_the_blend_is_the_one_that_names_most_labels_and_the_smallest_of_equals():
    """The votes alone know the labels; those of the other head are all of anger, and sure of it by a little."""
    truth = np.arange(700) % 7
    places = [EIGHT.index(name) for name in SEVEN]
    votes = 9.0 * np.eye(8, dtype=np.float32)[[places[t] for t in truth]]
    labels = np.tile(np.eye(7, dtype=np.float32)[0], (700, 1))
    model = net()
    measures.calibrate(model, (votes, labels), Said(np.full(700, -1), truth), EVEN)
    assert model.temperature == 1 and model.blend in measures.BLENDS
    found = {}
    for model.blend in measures.BLENDS:
        found[model.blend] = measures.accuracy(measures.by_labels(model, (votes, labels)), truth)
    assert found[0] == pytest.approx(1 / 7) and max(found.values()) == 1
    measures.calibrate(model, (votes, labels), Said(np.full(700, -1), truth), EVEN)
    assert found[model.blend] == 1 and all(found[b] < 1 for b in measures.BLENDS if b < model.blend)
    measures.calibrate(model, (votes, votes[:, places]), Said(np.full(700, -1), truth), EVEN)
    assert model.blend == 0


def test_the_balance_weighs_accuracy_against_recall():
    """Of 90 pictures of anger and 10 of contempt, all sure of anger, those of contempt less by a known step."""
    frequencies = (0.9, *[0.1 / 7] * 7)
    gap = np.log(frequencies[0] / frequencies[1])
    labels = np.repeat([0, 1], [90, 10])
    votes = np.zeros((100, 8), np.float32)
    votes[:, 0] = 50
    votes[:, 1] = 50 - np.where(labels == 0, 1.1, 0.4) * gap
    model = net()
    for share, wanted in ((0, 0.5), (3, 0.5), (40, 0.0)):  # of anger's that look as contempt's do
        votes[:share, 1] = votes[-1, 1]
        model.temperature = 1.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measures.metrics, "temperature", lambda *_: {"temperature": 1.0})
            measures.calibrate(model, (votes, votes[:, :7]), Said(labels, np.full(100, -1)), frequencies)
        assert model.balance == wanted and model.frequencies == frequencies
    scores = np.eye(3)[[0, 0, 1, 2, 2]]
    assert measures.mean_recall(scores, np.array([0, 1, 1, 0, -1])) == pytest.approx(0.5)
    assert measures.mean_recall(scores, np.array([0, 0, 1, 1, 1])) == pytest.approx((1 + 1 / 3) / 2)
    assert measures.mean_recall(scores, np.full(5, -1)) == 0


def test_frequencies_are_shares_of_the_votes():
    said = [Record(np.zeros((4, 4), np.uint8), "anger", info={"votes": v}) for v in
            ((5, 0, 0, 0, 3, 0, 0, 0, 2, 0), (0, 0, 0, 0, 2, 0, 0, 0, 0, 8))]  # fmt: skip
    found = dict(zip(EIGHT, measures.frequencies(said, EIGHT), strict=True))
    assert found["neutral"] == pytest.approx(0.5) == found["anger"] and 0 < found["contempt"] < 1e-6
    assert sum(found.values()) == pytest.approx(1)


def test_recall_by_class():
    scores, labels = np.eye(3)[[0, 0, 1, 2, 2]], np.array([0, 1, 1, 0, -1])
    assert measures.of_classes(scores, labels, ("a", "b", "c")) == {
        "a": {"recall": 0.5, "count": 2}, "b": {"recall": 0.5, "count": 2},
    }  # fmt: skip


def test_other_conditions():
    y, x = np.mgrid[:48, :48]
    listed = [
        Record(((x * a + y * b) % 200).astype(np.uint8), "fear", info={"framed": True}) for a, b in ((3, 1), (1, 4))
    ]
    listed += [Record(np.where((x // 2 + y // 2) % 2, 200, 40).astype(np.uint8), "fear", info={"framed": True})]
    named = measures.Named(listed, EIGHT, SEVEN)
    made = measures.conditions(named)
    assert sorted(made) == ["24_pixels", "half_light", "jpeg_20", "turned_+20", "turned_-20"]
    assert all(faces.shape == (3, 70, 70, 1) and faces.dtype == np.uint8 for faces in made.values())
    for i, record in enumerate(listed):
        half = Record(((record.image.astype(int) + 1) // 2).astype(np.uint8), info={"framed": True})
        np.testing.assert_array_equal(made["half_light"][i], measures.framed([half])[0])
        stream = io.BytesIO()
        Image.fromarray(record.image).save(stream, "jpeg", quality=20)
        jpeg = Record(np.asarray(Image.open(stream)), info={"framed": True})
        np.testing.assert_array_equal(made["jpeg_20"][i], measures.framed([jpeg])[0])
    contrast = [np.ptp(faces[2][10:60, 10:60].astype(int)) for faces in (named.faces, made["24_pixels"])]
    assert contrast[0] > 150 > 100 > contrast[1]  # two pixels a square are one
    corner = np.zeros((48, 48), np.uint8)
    corner[20:28, 40:44] = 255  # to the right; turned counter-clockwise it is further up
    turned = measures.conditions(measures.Named([Record(corner, "fear", info={"framed": True})], EIGHT, SEVEN))
    heights = {}
    for name in ("turned_+20", "turned_-20"):
        face = turned[name][0, ..., 0].astype(float)
        heights[name] = (face * np.arange(70)[:, None]).sum() / face.sum() - 34.5
    offset = (41.5 - 23.5) * 70 / 48 * math.sin(math.radians(20))
    assert heights["turned_+20"] == pytest.approx(-offset, abs=0.3)
    assert heights["turned_-20"] == pytest.approx(offset, abs=0.3)


class Watched(measures.Reader):
    """Keeps what it was given."""

    def __call__(self, faces):
        self.__dict__.setdefault("given", []).append(faces)
        return super().__call__(faces)


def test_everything_that_is_said_of_the_private_test():
    """Against the parts: rows that occur in training are left out of one entry, mirrored logits averaged in another."""
    listed, model = records(9), net(temperature=1.5)
    answers = measures.Reader(model)(measures.framed(listed))[0].argmax(-1)
    for i, record in enumerate(listed):
        winner, votes = EIGHT[(answers[i] + (i in (1, 2, 6))) % 8], [0] * 10
        votes[fer2013.VOTES.index(winner)], votes[fer2013.VOTES.index("unknown")] = 5, 5 if i % 2 else 0
        record.info["votes"] = votes if i != 4 else [0] * 8 + [0, 9]
    named, reader = measures.Named(listed, EIGHT, SEVEN), Watched(model)
    training_pictures = np.stack([255 - listed[0].image, listed[2].image, listed[7].image])
    found = measures.private(reader, named, training_pictures)
    votes, labels = reader(named.faces)
    assert found["votes"] == 5 / 8 and found["votes_strict"] == 2 / 4  # wrong: 1, 2, 6; no face: 4; ties: the odd ones
    assert found["counts"] == {"votes": 8, "strict": 4, "labels": 9} and found["left_out"]["not_a_face"] == 1
    new = np.array([i not in (2, 7) for i in range(9)])
    without = found["without_training_pictures"]
    assert without["training_pictures"] == 2 and without["votes"] == 4 / 6
    assert without["labels"] == measures.accuracy(labels, named.labels, new)
    shown = [named.faces, named.faces[:, :, ::-1], *measures.conditions(named).values()]
    assert all(map(np.array_equal, reader.given, shown)) and len(reader.given) == len(shown) + 1
    both = tuple((a + b) / 2 for a, b in zip((votes, labels), reader(shown[1]), strict=True))
    assert found["with_mirrored_view"] == measures.on(model, both, named)
    for (name, faces), entry in zip(measures.conditions(named).items(), found["conditions"].items(), strict=True):
        assert entry == (name, measures.on(model, reader(faces), named))
    error = found["calibration_error"]
    assert error["votes"] == measures.calibration_error(measures.softmax(votes, 1.5), named.votes)
    assert error["votes_uncalibrated"] == measures.calibration_error(measures.softmax(votes), named.votes)
    assert error["votes"] != error["votes_uncalibrated"]
    assert error["labels"] == measures.calibration_error(measures.by_labels(model, (votes, labels)), named.labels)
    assert sum(entry["count"] for entry in found["votes_by_class"].values()) == 8
    json.dumps(found)


class Now:
    """A clock that is set by hand."""

    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


class Compiled:
    """A model with an optimizer alone."""

    def __init__(self):
        self.classifier_optimizer = keras.optimizers.SGD(0.5)

    @property
    def rate(self):
        return float(np.array(self.classifier_optimizer.learning_rate))


def cosine(share):
    return 0.5 * (1 + math.cos(math.pi * share))


def test_the_rate_follows_the_clock(tmp_path):
    """A hundred seconds; an epoch of ten in warm-up, then as long as they take."""
    now, model = Now(), Compiled()
    clock = Clock(tmp_path / "clock.json", 100, 1000, 0.8, 2, now)
    assert clock.rate(0) == pytest.approx(0.8 / 3) and not clock.stop(0)
    for epoch, (seconds, rising, share) in enumerate([(10, 2 / 3, 0.1), (10, 1, 0.2), (30, 1, 0.5), (10, 1, 0.6)], 1):
        now.seconds += seconds
        clock.after_epoch(model, epoch)
        assert model.rate == pytest.approx(0.8 * rising * cosine(share), rel=1e-5)
    now.seconds += 40
    clock.after_epoch(model, 5)
    assert model.rate == pytest.approx(0, abs=1e-7)


def test_the_rate_follows_the_epochs_where_these_end_first(tmp_path):
    now, model = Now(), Compiled()
    clock = Clock(tmp_path / "clock.json", 10_000, 4, 0.8, 0, now)
    for epoch in (1, 2, 3):
        now.seconds += 1
        clock.after_epoch(model, epoch)
        assert model.rate == pytest.approx(0.8 * cosine(epoch / 4), rel=1e-5)


def test_no_epoch_begins_that_would_end_too_late(tmp_path):
    """As long as the last one; the first one is always made."""
    now, model = Now(), Compiled()
    clock = Clock(tmp_path / "clock.json", 100, 1000, 0.8, 2, now)
    now.seconds += 500
    assert not clock.stop(0)
    now.seconds = 1000 + 30
    clock.after_epoch(model, 1)
    assert not clock.stop(1)
    now.seconds += 25
    clock.after_epoch(model, 2)
    now.seconds += 20
    assert not clock.stop(2)  # 75 and 25
    now.seconds += 0.5
    assert clock.stop(2)


def test_a_run_that_is_taken_up_again_has_what_is_left(tmp_path):
    """Time between two processes does not count; and a run that had ended does not begin another epoch."""
    now, model = Now(), Compiled()
    clock = Clock(tmp_path / "clock.json", 100, 1000, 0.8, 0, now)
    for epoch in (1, 2):
        now.seconds += 30
        clock.after_epoch(model, epoch)
    later = Clock(tmp_path / "clock.json", 100, 1000, 0.8, 0, Now(90_000.0))
    assert later.used == 60 and later.rate(2) == pytest.approx(0.8 * cosine(0.6)) and not later.stop(2)
    now.seconds += 25
    clock.after_epoch(model, 3)
    assert clock.stop(3) and Clock(tmp_path / "clock.json", 100, 1000, 0.8, 0, Now(7.0)).stop(3)


class Counting(tf.Module):
    """As little of a model as `training.fit` needs."""

    def __init__(self):
        super().__init__(name="counting")
        self.steps, self.classifier_optimizer = tf.Variable(0.0), keras.optimizers.SGD(0.8)
        self.weights, self.metrics = [self.steps], []

    def train_step(self, batch):
        return {"loss": self.steps.assign_add(1.0)}


def test_fit_stops_by_the_clock(tmp_path):
    """Three epochs of 30 seconds in 100; the same command then makes none, and keeps the rate."""
    now = Now()

    class Slow:
        def __len__(self):
            return 1

        def epoch(self, number):
            now.seconds += 30
            return tf.data.Dataset.from_tensors({"image": tf.zeros(1)})

    for _ in range(2):
        model, clock = Counting(), Clock(tmp_path / "clock.json", 100, 50, 0.8, 0, now)
        options = {"after_epoch": clock.after_epoch, "stop": clock.stop, "progress": False}
        history = training.fit(model, Slow(), workdir=tmp_path / "run", epochs=50, **options)
        assert [row["epoch"] for row in history] == [1, 2, 3] and now.seconds == 1090 and float(model.steps) == 3
    done = json.loads((tmp_path / "run/done.json").read_text())
    assert (done["epochs"], done["steps"]) == (3, 3)
