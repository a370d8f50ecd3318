"""Training on FER-2013: the epoch is chosen on the public test, the private one is read once, and said beside it."""

import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.run import on_fer2013, settings
from fer_tf import evaluation, pipeline, training, weights
from fer_tf.compat import PlayersModel, keras
from fer_tf.models import fer_net
from fer_tf.records import EXPRESSIONS, content_hashes

TEMPLATE, views = "ia_gen", fer_net.views
"""As a model file has them: the model below is of this module."""
COUNTS = {"train": 6, "public_test": 8, "private_test": 10}
GREY = {"train": 10, "public_test": 90, "private_test": 170}


@settings.command({"paper": {}})
class Toy(on_fer2013.PreTraining):
    """None of its own."""


class Scripted(PlayersModel):
    """Names a face as 0 or 1 by one weight, which each epoch's step sets to the next of `answers`.

    The public test is half and more of class 1, the private of class 0.
    """

    def __init__(self, answers):
        super().__init__()
        self.answers = tf.constant(answers)
        self.answer = keras.layers.Dense(1, use_bias=False, name="answer")
        self.answer.build((None, 1))
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)
        self.built, self.classes = True, on_fer2013.SHOWN
        self.track("loss")

    def classify(self, images):
        answer = tf.cast(tf.round(tf.convert_to_tensor(self.answer.kernel)[0, 0]), tf.int32)
        return tf.one_hot(tf.fill((tf.shape(images)[0],), answer), 7)

    def train_step(self, batch):
        step = tf.cast(tf.convert_to_tensor(self.count), tf.int32)
        self.answer.kernel.assign([[tf.cast(self.answers[step], tf.float32)]])
        self.count.assign_add(1.0)
        return self.log(loss=tf.reduce_mean(batch["image"]))

    def player_variables(self):
        return [("classifier", self.trainable_variables)]

    def get_config(self):
        return {"name": self.name, "answers": self.answers.numpy().tolist()}


def pictures(folder, labels, copies=0):
    """The three files; the first `copies` private pictures are training pictures, one grey level brighter."""
    rng = np.random.default_rng(0)
    images = {
        split: (GREY[split] + rng.integers(0, 60, (count, 48, 48))).astype(np.uint8) for split, count in COUNTS.items()
    }
    images["private_test"][:copies] = images["train"][:copies] + 1
    for split, image in images.items():
        np.savez(folder / f"fer2013_{split}.npz", image=image, label=np.array(labels[split], np.uint8))
    return images


ANGER, DISGUST = EXPRESSIONS.index("anger"), EXPRESSIONS.index("disgust")  # classes 0 and 1 of those that are shown
LABELS = {
    "train": [ANGER, DISGUST] * 3,
    "public_test": [ANGER] * 3 + [DISGUST] * 5,
    "private_test": [ANGER] * 8 + [DISGUST] * 2,
}


def test_the_epoch_is_chosen_on_the_public_test_and_the_private_one_is_read_once(tmp_path, monkeypatch, capsys):
    images = pictures(tmp_path, LABELS, copies=3)
    made = Toy(data_dir=tmp_path, epochs=3, batch_size=6, precision="float32", progress=False, seed=4)
    listed, model = on_fer2013.parts(made), Scripted([0, 1, 2])
    data = pipeline.batches(
        listed["train"], classes=on_fer2013.SHOWN, template=TEMPLATE, views=views, batch_size=6, seed=0
    )
    seen, predict = [], evaluation.predict
    monkeypatch.setattr(evaluation, "predict", lambda m, d: seen.append({r.split for r in d.records}) or predict(m, d))
    strategy = training.setup(precision="float32")
    on_fer2013.train(made, model, data, listed, strategy, tmp_path, "toy", tmp_path / "w.h5", "float16")
    # three epochs on the public test; then each test once, with the second epoch's weights
    assert sorted(map(sorted, seen)) == [["private_test"]] + [["public_test"]] * 4
    assert seen[:3] == [{"public_test"}] * 3
    metric = json.loads((tmp_path / "metrics.json").read_text())
    assert metric == {
        "public_test": 5 / 8,
        "private_test": 2 / 10,
        "private_test_without_training_pictures": pytest.approx(2 / 7),
        "private_test_pictures_in_training": 3,
    }
    about, kept = weights.provenance(tmp_path / "w.h5"), Scripted([0])
    weights.load(kept, tmp_path / "w.h5")
    assert float(np.array(kept.answer.kernel)[0, 0]) == 1
    assert about["metric"] == metric and about["datasets"] == ["fer2013"] and about["seed"] == 4
    digest = hashlib.sha256("".join(content_hashes(listed["train"])).encode()).hexdigest()
    assert about["data"] == f"FER-2013 train, sha256 {digest}" and "init" not in about
    assert about["config"] == {"answers": [0, 1, 2]} and tuple(about["classes"]) == on_fer2013.SHOWN
    assert str(tmp_path) not in json.dumps(about) and "private_test 0.2000" in capsys.readouterr().out
    assert images["train"].shape == (6, 48, 48)


def test_the_start_is_in_the_provenance(tmp_path):
    pictures(tmp_path, LABELS)
    weights.save(Scripted([0]), tmp_path / "start.h5", provenance={"data": "before", "datasets": ["mmi"]})
    made = Toy(data_dir=tmp_path, init=tmp_path / "start.h5", precision="float32")
    training.setup(precision="float32")
    on_fer2013.release(made, Scripted([0]), on_fer2013.parts(made), "toy", tmp_path, tmp_path / "w.h5")
    assert weights.provenance(tmp_path / "w.h5")["init"]["data"] == "before"


def folders(root, counts, names="{}.png", size=(48, 48)):
    """{part: pictures a class} of two classes."""
    rng = np.random.default_rng(0)
    for part, count in counts.items():
        for folder in ("angry", "disgust"):
            (root / part / folder).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 256, size, dtype=np.uint8)
                Image.fromarray(image).save(root / part / folder / names.format(i))
    return root


def in_parts(listed):
    """{part: its pictures' names}, and that no picture is in two."""
    digests = [digest for part in listed.values() for digest in content_hashes(part)]
    assert len({*digests}) == len(digests)
    return {name: len(part) for name, part in listed.items()}


def test_one_test_is_not_the_one_that_the_epoch_is_chosen_on(tmp_path, capsys):
    """Kaggle's folders: a tenth of the training pictures is held out to choose by; the test is read once."""
    made = Toy(data_dir=folders(tmp_path, {"train": 10, "test": 3}), precision="float32")
    listed = on_fer2013.parts(made)
    assert in_parts(listed) == {"train": 18, "held_out_of_train_1": 2, "test": 6}
    assert "has train and test alone: of its training pictures 2 are held_out_of_train_1." in capsys.readouterr().err
    assert [r.image for r in on_fer2013.parts(made)["train"]] == [r.image for r in listed["train"]]
    record = listed["train"][0]
    np.testing.assert_array_equal(on_fer2013.grey(record), np.asarray(Image.open(record.image)))
    on_fer2013.release(made, Scripted([0]), listed, "toy", tmp_path, tmp_path / "w.h5")
    metric = json.loads((tmp_path / "metrics.json").read_text())
    assert [*metric] == [
        "held_out_of_train_1", "test", "test_without_training_pictures", "test_pictures_in_training",
    ]  # fmt: skip
    assert metric["test"] == 0.5 == metric["test_without_training_pictures"]


def test_names_and_folders_that_say_which_test_it_is(tmp_path, capsys):
    root = folders(tmp_path / "names", {"train": 4})
    for number, name in enumerate(("PublicTest", "PrivateTest")):
        folders(tmp_path / str(number), {"test": 2 + number}, f"{name}_{{}}.png")
        for path in (tmp_path / str(number)).rglob("*.png"):
            place = root / path.relative_to(tmp_path / str(number))
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 * number - np.asarray(Image.open(path))).save(place)
    assert in_parts(on_fer2013.parts(Toy(data_dir=root))) == {"train": 8, "public_test": 4, "private_test": 6}
    root = folders(tmp_path / "three" / "images", {"train": 4, "validation": 2, "test": 3}).parent
    assert in_parts(on_fer2013.parts(Toy(data_dir=root))) == {"train": 8, "validation": 4, "test": 6}
    assert capsys.readouterr().err == ""
    root = folders(tmp_path / "two", {"train": 10, "validation": 2})
    assert in_parts(on_fer2013.parts(Toy(data_dir=root))) == {"train": 18, "held_out_of_train_1": 2, "validation": 4}


def test_training_pictures_alone_are_dealt_to_three_parts(tmp_path, capsys):
    """The challenge's train.csv; equal pictures stay together, and too few of them are refused."""
    rng = np.random.default_rng(0)
    rows = [" ".join(map(str, rng.integers(0, 256, 2304))) for _ in range(20)]
    lines = [f"{i % 7},{rows[i % 20]}" for i in range(40)]  # each twice
    (tmp_path / "train.csv").write_text("emotion,pixels\n" + "\n".join(lines))
    (tmp_path / "test.csv").write_text("pixels\n" + rows[0])
    listed = on_fer2013.parts(Toy(data_dir=tmp_path))
    assert {name: len(part) for name, part in listed.items()} == {
        "train": 32, "held_out_of_train_1": 4, "held_out_of_train_2": 4,
    }  # fmt: skip
    parts = [{*content_hashes(part)} for part in listed.values()]
    assert [len(p) for p in parts] == [16, 2, 2] and len(set().union(*parts)) == 20
    assert "has train alone: of its training pictures 4 are held_out_of_train_1, 4 are" in capsys.readouterr().err
    (tmp_path / "train.csv").write_text("emotion,pixels\n" + "\n".join(lines[::20]))
    with pytest.raises(ValueError, match="1 different training pictures are too few to hold 2 parts out"):
        on_fer2013.parts(Toy(data_dir=tmp_path))


@pytest.mark.parametrize("size", [(50, 50), (100, 96)])
def test_pictures_of_another_size_reach_the_end(tmp_path, size):
    made = Toy(data_dir=folders(tmp_path, {"train": 10, "test": 3}, size=size), precision="float32")
    listed = on_fer2013.parts(made)
    assert on_fer2013.grey(listed["test"][0]).shape == (48, 48)
    on_fer2013.release(made, Scripted([0]), listed, "toy", tmp_path, tmp_path / "w.h5")
    assert json.loads((tmp_path / "metrics.json").read_text())["test_pictures_in_training"] == 0


@pytest.mark.parametrize("warmup", [2, 100])
def test_the_rate_rises_for_a_quarter_of_the_steps_at_most(warmup):
    rate = on_fer2013.rising_and_falling(0.1, 8, warmup)
    found = [float(rate(step)) for step in (0, 1, 2, 5, 8, 9)]
    assert found == pytest.approx([0.01, 0.055, 0.1, 0.05, 0, 0], abs=1e-6)


def test_nesterovs_momentum_by_hand():
    """Two steps with the gradient 2 and rate 0.1: v = 0.9 v - 0.2; w += 0.9 v - 0.2; the norm is held to `clip`."""
    for options, gradient in (({}, 2.0), ({"global_clipnorm": 1.0}, 1.0)):
        sgd, weight = on_fer2013.nesterov(0.1, 0.0, **options), tf.Variable(1.0, name="kernel")
        value = speed = 0.0
        for _ in range(2):
            sgd.apply_gradients([(tf.constant(2.0), weight)])
            speed = 0.9 * speed - 0.1 * gradient
            value += 0.9 * speed - 0.1 * gradient
        assert float(weight) == pytest.approx(1 + value, abs=1e-5)
