"""Planted people: faces whose grey value is the person, to see who reaches training and who is tested.

    def test_nobody_held_out_is_trained_on(planted, tmp_path):
        planted.plant()                                     # --dataset=rendered gives these people from now on
        script.run(script.Settings(preset="smoke", workdir=str(tmp_path), precision="float32"))
        planted.check(tmp_path)                             # folds.json against what was trained on and tested

In this process, in seconds: each `training.fit` does all but its steps (`planted.steps = True` has them, too), and
neither pictures nor exports are written.
"""

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from experiments.parts.render_faces import rendering
from fer_tf import catalogue, evaluation, export, figures, pipeline, records, training

LOWEST, APART, MOST = 20, 12, 18
"""Grey value of the first person, distance to the next one's, and how many people there is room for."""


def grey(person: int) -> int:
    """The value of a person's pixels, up to a texture of +-2."""
    return LOWEST + APART * person


def marks(images: np.ndarray) -> list[str]:
    """The person in each picture, by its pixels alone: (N, H, W, C) in [0, 1] -> names.

    It stands crops, mirroring, turning and scaling, but nothing that changes brightness.
    """
    levels = (np.median(images.reshape(len(images), -1), 1) * 255 - LOWEST) / APART
    assert np.all(np.abs(levels - levels.round()) < 0.3), f"not a planted person's face: {levels}"
    return [f"P{int(level)}" for level in levels.round()]


def planted_records(people=6, expressions=("anger", "happiness"), frames=lambda person, n: 1 + (person + 2 * n) % 3):
    """Records of P0, P1 ...: flat faces with a faint texture of their own.

    Args:
      people: how many.
      expressions: that each of them shows.
      frames: (person, number of the expression) -> pictures of it. Unequal ones make every fold's counts its own.
    """
    assert people <= MOST
    rng, listed = np.random.default_rng(0), []
    for person in range(people):
        for number, expression in enumerate(expressions):
            for frame in range(frames(person, number)):
                image = (grey(person) + rng.integers(-2, 3, (48, 48, 3))).astype(np.uint8)
                where = {"subject": f"P{person}", "sequence": f"{person}-{expression}", "frame": frame}
                listed.append(records.Record(image, expression, **where, domain="lab", info={"framed": True}))
    return listed


class Seen(NamedTuple):
    """What one call saw.

    Attributes:
      place: folder of the training, or for a test of the last training before it.
      people: subjects of the rows' records, as the batches' `index` says; None where they have no records.
      marks: {column: people by their pixels}, for each column of pictures.
      keys: `Record.key` of each row's record, in order.
    """

    place: Path
    people: set[str] | None
    marks: dict[str, set[str]]
    keys: list[str]

    @property
    def fold(self) -> int:
        """Number of the fold that the place belongs to."""
        return int(re.findall(r"fold(\d+)", str(self.place))[-1])


class Untrained:
    """Batches of which no step is taken."""

    def __init__(self, data):
        self.data, self.records = data, getattr(data, "records", None)

    def __len__(self):
        return len(self.data)

    def epoch(self, number):
        return self.data.epoch(number).take(0)


class Planted:
    """See the module.

    Attributes:
      trained: a `Seen` for each call of `training.fit`, of its first epoch.
      tested: one for each of `evaluation.predict`.
      read: one for each pass through test views, whoever makes it.
      steps: whether trainings take their steps.
    """

    def __init__(self, monkeypatch):
        self.patch, self.trained, self.tested, self.read, self.steps = monkeypatch, [], [], [], False
        self.place, self.inside = Path(), False
        self.fit, self.predict, self.epoch = training.fit, evaluation.predict, pipeline.Batches.epoch
        monkeypatch.setattr(training, "fit", self._fit)
        monkeypatch.setattr(evaluation, "predict", self._predict)
        monkeypatch.setattr(pipeline.Batches, "epoch", lambda data, number: self._epoch(data, number))
        monkeypatch.setattr(figures, "save", lambda *args, **options: None)
        monkeypatch.setattr(export, "save", lambda *args, **options: None)

    @staticmethod
    def people(*args, **options):
        """`planted_records`."""
        return planted_records(*args, **options)

    @staticmethod
    def marks(images):
        """`marks`."""
        return marks(np.asarray(images))

    def plant(self, listed=None, **more):
        """Makes `listed` (`planted_records()` when left out) what "rendered" holds, and further data sets by name."""
        sets = {"rendered": planted_records() if listed is None else listed, **more}
        self.patch.setattr(catalogue, "load", lambda name, root=None, options=None, labels=(): list(sets[name]))
        return sets["rendered"]

    def check(self, folder, trained_on_all=True):
        """Every training under fold<n> saw none of fold n's people, and every test exactly fold n's pictures, once.

        Args:
          folder: of the run, with its folds.json and metrics.json.
          trained_on_all: whether each training sees all the others.
        """
        folds = json.loads((Path(folder) / "folds.json").read_text())["folds"]
        held_out = [{*fold["subjects"]} for fold in folds]
        everybody = set().union(*held_out)
        assert sum(map(len, held_out)) == len(everybody), "a person is in two folds"
        assert self.trained and self.tested
        for seen in self.trained:
            out = held_out[seen.fold]
            for name, people in {"index": seen.people, **seen.marks}.items():
                assert people is None or (people and not people & out), f"{seen.place}: {name} has {people} of {out}"
                if trained_on_all and name in ("index", "image"):
                    assert people == everybody - out, f"{seen.place}: {name} lacks {everybody - out - people}"
        for seen in self.tested:
            assert seen.people == seen.marks["image"] == held_out[seen.fold], (seen.place, seen.people)
            assert Counter(seen.keys) == Counter(folds[seen.fold]["images"]), seen.place
        assert {s.fold for s in self.trained} == {s.fold for s in self.tested}
        self.check_counts(folder, folds)

    def check_counts(self, folder, folds):
        """metrics.json counts as many faces of each expression as its folds have, for every method."""
        written = json.loads((Path(folder) / "metrics.json").read_text())
        expected = Counter()
        for entry in written["folds"]:
            assert entry["test"] == len(folds[entry["fold"]]["images"])
            expected.update(key.split("/")[3] for key in folds[entry["fold"]]["images"])
        for name, method in written["methods"].items():
            rows = np.sum(method["last"]["confusion"], 1)
            assert dict(zip(written["classes"], rows.tolist(), strict=True)) == dict(expected), name

    def see(self, data):
        """Everything that an epoch of these batches shows."""
        self.inside = True
        people, keys, shown = set(), [], {}
        listed = getattr(data, "records", None)
        for batch in data.epoch(0):
            for name, value in batch.items():
                if len(value.shape) == 4 and len(value):
                    there = batch[f"has_{name}"].numpy() if f"has_{name}" in batch else np.ones(len(value), bool)
                    shown.setdefault(name, set()).update(marks(value.numpy()[there]) if there.any() else ())
            if listed is not None and "index" in batch:
                rows = [listed[i] for i in batch["index"].numpy()]
                people |= {r.subject for r in rows}
                keys += [r.key() for r in rows]
        self.inside = False
        return Seen(self.place, people or None, shown, keys)

    def _fit(self, model, data, *, workdir, epochs, **options):
        self.place = Path(workdir)
        self.trained.append(self.see(data))
        if self.steps:
            return self.fit(model, data, workdir=workdir, epochs=epochs, **options)
        return self.fit(model, Untrained(data), workdir=workdir, epochs=1, **{**options, "max_steps": None})

    def _predict(self, model, data):
        self.tested.append(self.see(data))
        return self.predict(model, data)

    def _epoch(self, data, number):
        if not self.inside and not data.training:
            self.read.append(self.see(data))
        return self.epoch(data, number)


@pytest.fixture(scope="session")
def bound():
    """`bound(folder)`: {stage: (whom it learns, who is tested, what it follows)} of every checkpoint, which all say."""

    def read(folder):
        found = {}
        for file in Path(folder).rglob("checkpoint/checkpoint"):
            stage = file.parents[1]
            said = json.loads((stage / "trained_on.json").read_text())
            learns, tested = ({who for s in said[k].values() for who in s["people"]} for k in ("learns", "tested"))
            found[stage.relative_to(folder).as_posix()] = learns, tested, {*said["follows"]}
        return found

    return read


@pytest.fixture
def planted(monkeypatch):
    """People whose faces say who they are, and spies on `training.fit`, `evaluation.predict` and test views."""
    return Planted(monkeypatch)


ONE_SIDED = ["jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker",
             "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"]  # fmt: skip
PAIRED = ["browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink", "eyeLookDown",
          "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown",
          "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"]  # fmt: skip


def face_layout():
    """(68, 3): a rough face in the model's units."""
    jaw = [(7.3 * np.sin(a), -7.5 * np.cos(a) + 1.0, 4 + 6 * np.cos(a)) for a in np.linspace(-1.5, 1.5, 17)]
    brows = [
        (s * x, 6.0, 9.5) for s, xs in ((-1, (5.8, 4.9, 3.8, 2.4, 1.2)), (1, (1.2, 2.4, 3.8, 4.9, 5.8))) for x in xs
    ]
    nose = [(0, y, 11) for y in (3.7, 2.6, 1.6, 0.4)] + [(x, -1.1, 11) for x in (-1.2, -0.6, 0, 0.6, 1.2)]
    eyes = [(s * 3.1 + 1.3 * np.cos(a), 3.4 + 0.4 * np.sin(a), 9) for s in (-1, 1) for a in np.arange(6) * np.pi / 3]
    mouth = [
        (k * np.cos(a), -3.4 + 0.4 * k * np.sin(a), 11)
        for k, n in ((2.5, 12), (1.2, 8))
        for a in np.arange(n) * 2 * np.pi / n
    ]
    return np.array(jaw + brows + nose + eyes + mouth, "f4")


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    """A face model of the right form but of nobody: points on an ellipsoid, a dome of triangles, random modes."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(0, 1, (26719, 3))
    vertices = (vertices / np.linalg.norm(vertices, axis=1, keepdims=True) * [8, 12, 9]).astype("f4")
    vertices[:68] = face_layout()
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20)), -1).reshape(-1, 2)
    dome = np.concatenate([grid * [7, 9], 9 * np.sqrt(np.clip(1.3 - (grid**2).sum(1), 0.01, None))[:, None]], 1)
    vertices[100:500] = dome
    at = (np.arange(19)[:, None] * 20 + np.arange(19)[None]).ravel()
    triangles = np.concatenate([np.stack([at, at + 1, at + 20], 1), np.stack([at + 1, at + 21, at + 20], 1)])
    names = ONE_SIDED + [f"{n}_{s}" for n in PAIRED for s in "LR"]
    materials = ["M_Face", "M_BackHead", "M_Teeth", "M_EyeOcclusion"]
    material = np.zeros(len(triangles) + 3, int)
    material[-3:] = (1, 2, 3)
    path = tmp_path_factory.mktemp("model") / "fake.npz"
    np.savez(
        path, vertices=vertices, identity=rng.normal(0, 0.05, (2, 26719, 3)).astype("f2"), uv=(grid + 1) / 2,
        expression=rng.normal(0, 0.05, (len(names), 26719, 3)).astype("f2"), expression_names=names,
        triangles=np.concatenate([triangles + 100, [[0, 5, 9]] * 3]),
        uv_triangles=np.concatenate([triangles, [[0, 1, 2]] * 3]),
        material=material, material_names=materials, landmarks68=np.arange(68),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def kit(pack):
    """Of `pack`, as the renderer reads it."""
    return rendering.load_facekit(pack)


class Greys:
    """An IA-gen whose Feat is the grey value, and whose generators of anger and happiness add so much to it."""

    classes = ("anger", "happiness")

    def __init__(self, *added: float):
        self.added = tf.constant(added, tf.float32)[:, None]
        self.feature_net = SimpleNamespace(features=self.features, classify=self.classify)

    def features(self, images):
        return 255 * tf.reduce_mean(images, (1, 2))

    def classify(self, images):
        return tf.tile([[0.25, 0.75]], [tf.shape(images)[0], 1])

    def embed(self, images):
        own = self.features(images)
        return own, own[:, None] + self.added

    def __call__(self, images):
        return {"generated": images[:, None] + self.added[:, :, None, None] / 255}


@pytest.fixture
def greys():
    """`Greys`, made by greys(20, 40)."""
    return Greys
