"""What each paper's generators make of a face: their own model's numbers, under the right titles."""

import numpy as np
import pytest
import tensorflow as tf

from experiments import regenerate
from experiments.parts.cycle_at import gan as translation
from experiments.parts.de_gan import expression_transfer
from experiments.parts.regenerate import kinds, people
from experiments.run import work
from fer_tf import faces, weights
from fer_tf.models import cycle_at, de_gan, gcnet
from fer_tf.records import Record


@pytest.fixture(scope="module")
def learnt():
    """A DE-GAN of eight people whose decoder tells them apart."""
    names = tuple(f"p{i}" for i in range(8))
    model = de_gan.DEGAN(width=1 / 32, code=8, noise=4, classes=("anger", "fear"), subjects=names)
    rng = np.random.default_rng(3)
    for kernel in (v for v in model.decoder.trainable_variables if len(v.shape) > 1):
        kernel.assign(0.5 * rng.normal(size=kernel.shape))
    return model


def file_of(model, path):
    config = {key: value for key, value in model.get_config().items() if key != "name"}
    name = f"{type(model).__module__.rsplit('.', 1)[-1]}.{type(model).__name__}"
    weights.save(model, path, provenance={"model": name, "config": config})
    return path


def face_of(template, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*faces.TEMPLATES[template].size, 3), np.uint8)


def test_an_expression_on_six_people(learnt, tmp_path):
    found = kinds.load(file_of(learnt, tmp_path / "gan.h5"), "gan.h5")
    view = found.view(face_of("de_gan"))
    assert found.kind == "DEGAN" and found.template == "de_gan" and view.shape == (1, 96, 96, 1)
    made = found.make(view)
    assert made.titles == ("on\np0", "on\np1", "on\np3", "on\np4", "on\np6", "on\np7")
    wanted = learnt.transfer(tf.repeat(view, 6, 0), tf.constant([0, 1, 3, 4, 6, 7])).numpy()
    np.testing.assert_allclose(made.generated, wanted, atol=1e-5)
    assert np.abs(made.generated[0] - made.generated[2]).mean() > 1e-3 and not made.distances and not made.label


def test_an_exported_generator_makes_the_same(learnt, tmp_path):
    expression_transfer.save_transfer(learnt, tmp_path / "transfer", {"run": 0})
    stored = kinds.load(file_of(learnt, tmp_path / "gan.h5"), "gan.h5")
    found, view = kinds.load(tmp_path / "transfer", "transfer"), stored.view(face_of("de_gan"))
    assert found.template == "de_gan" and found.make(view).titles == stored.make(view).titles
    np.testing.assert_allclose(found.make(view).generated, stored.make(view).generated, atol=0.02)


def test_a_neutral_reference_and_what_is_given_back(tmp_path):
    given = {"classes": ("anger", "fear", "surprise"), "width": 1 / 16}
    both, one, none = (gcnet.GCNet(variant=variant, **given) for variant in ("S1R1", "S1R0", "cnn"))
    found = kinds.load(file_of(both, tmp_path / "a.h5"), "a.h5")
    view = found.view(face_of("gcnet", 1))
    made = found.make(view)
    back, back_r = both.reconstruct(view)
    assert made.titles == ("generated\nreference", "reconstructed\nreference", "reconstructed\ninput")
    np.testing.assert_allclose(made.generated, np.concatenate([both.regenerate(view), back_r, back]), atol=1e-5)
    assert made.label == both.classes[int(np.argmax(both.classify(view)[0]))]
    assert kinds.load(file_of(one, tmp_path / "b.h5"), "b.h5").make(view).titles == ("generated\nreference",)
    with pytest.raises(ValueError, match="--model=c.h5 has no generators: give weights of IA-gen, GCNet"):
        kinds.load(file_of(none, tmp_path / "c.h5"), "c.h5")


def test_a_face_in_the_wild_of_a_file_and_of_an_export(tmp_path):
    model, _ = cycle_at.tiny()
    model.g_sw.trainable_variables[-1].assign([0.5, -0.5, 0.1])
    found = kinds.load(file_of(model, tmp_path / "a.h5"), "a.h5")
    size = found.view(face_of("cycle_at", 2)).shape[1]
    work.save_module(translation.Translation(model, size, {"generator": "alone"}), tmp_path / "generator")
    view = found.view(face_of("cycle_at", 2))
    assert found.kind == "CycleAT" and view.shape[-1] == 3 and found.make(view).titles == ("in the wild",)
    np.testing.assert_allclose(found.make(view).generated, model.translate(view).numpy(), atol=1e-5)
    again = kinds.load(tmp_path / "generator", "generator").make(view)
    np.testing.assert_allclose(again.generated, model.translate(view).numpy(), atol=0.02)


def test_lines_and_titles():
    made = kinds.carried(tf.zeros((1, 96, 96, 1)), ("a", "b"), lambda x, who: np.zeros((len(who), 96, 96, 1)))
    face = regenerate.Redrawn((1, 2, 3.04, 4), np.zeros((96, 96, 1)), made)
    assert regenerate.line("x.jpg", face) == {"path": "x.jpg", "box": [1, 2, 3.0, 4], "drawn": ["on a", "on b"]}
    near = kinds.nearest_of(np.zeros((2, 8, 8, 1)), {"anger": 2.0, "fear": 1.5})
    said = regenerate.line("x.jpg", regenerate.Redrawn((1, 2, 3, 4), np.zeros((8, 8, 1)), near))
    assert said["drawn"] == ["anger", "fear"] and said["label"] == "fear" and said["distances"]["fear"] == 1.5
    titles = [text.get_text() for text in regenerate.draw(face).axes[0].get_xticklabels()]
    assert titles == ["input\n", "on\na", "on\nb"]


def person(name, *shown, domain="lab"):
    """A face of each expression in its frame, each of its own grey."""
    return [
        Record(np.full((70, 70), 20 * i + 10, np.uint8), c, name, domain=domain, info={"framed": True})
        for i, c in enumerate(shown)
    ]


def echo(kind, count, distances=False):
    """Generators that give the input back, each a tenth brighter than the one before."""

    def make(view):
        made = np.concatenate([np.asarray(view) + 0.1 * i for i in range(count)])
        if not distances:
            return kinds.Made(made, tuple(f"made\n{i}" for i in range(count)), {}, "")
        return kinds.nearest_of(made, {c: float(i) for i, c in enumerate(("anger", "fear", "sadness", "joy"))})

    return kinds.Generators(
        kind, make, lambda face: tf.constant(face[None, 3:67, 3:67, :1], tf.float32) / 255, "ia_gen"
    )


def labels(figure):
    axes = figure.axes[0]
    return [[t.get_text() for t in get()] for get in (axes.get_xticklabels, axes.get_yticklabels)]


def middle(figure, row, column, rows, columns):
    """Grey in [0, 1] of the middle of a cell."""
    image = np.asarray(figure.axes[0].images[0].get_array(), np.float32)
    height, width = image.shape[0] / rows, image.shape[1] / columns
    return float(image[int((row + 0.5) * height), int((column + 0.5) * width)].mean()) / (255 if image.max() > 1 else 1)


def test_people_side_by_side_with_their_neutral_faces():
    """Each in another expression than neutral; of another domain nobody."""
    listed = [*person("a", "anger", "neutral", "fear"), *person("b", "anger", "neutral", "fear", "sadness")]
    listed += person("c", "anger", domain="wild")
    columns, rows = labels(people.sheet(echo("GCNet", 2), listed))
    assert columns == ["anger", "sadness"] and rows == ["input", "made 0", "made 1", "real neutral"]
    figure = people.sheet(echo("GCNet", 2), listed)
    found = [[middle(figure, row, column, 4, 2) for column in range(2)] for row in range(4)]
    np.testing.assert_allclose(
        found, [[10 / 255, 70 / 255]] * 2 + [[10 / 255 + 0.1, 70 / 255 + 0.1]] + [[30 / 255] * 2], atol=0.01
    )
    assert labels(people.sheet(echo("CycleAT", 1), listed))[1] == ["input", "made 0"]


def test_people_in_rows_above_their_real_faces():
    listed = [r for n in range(9) for r in person(f"p{n}", "anger", "fear", "sadness")]
    columns, rows = labels(people.sheet(echo("IAGen", 4, distances=True), listed))
    assert columns == ["input", "anger", "fear", "sadness", "joy"]
    assert rows == [
        x for n, c in ((0, "anger"), (2, "fear"), (6, "fear"), (8, "sadness")) for x in (f"p{n}, {c}", "real")
    ]
    columns, rows = labels(people.sheet(echo("DEGAN", 4), listed))
    assert columns == ["input", "made\n0", "made\n1", "made\n2", "made\n3"] and len(rows) == 4
    with pytest.raises(ValueError, match="do not say who is seen"):
        people.sheet(echo("DEGAN", 4), person(None, "anger"))
