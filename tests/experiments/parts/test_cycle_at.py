"""The parts of experiments.cycle_at: domains and folds, selection, the support vector machine, pictures, judges."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments import cycle_at as script
from experiments.parts.cycle_at import classifiers, domains, features, gan, judges, pictures, tables
from fer_tf import metrics, protocols
from fer_tf.models import cycle_at
from fer_tf.records import Fold, Record


def given(**values):
    """The smoke preset's settings, all people, with these values."""
    return script.Settings(preset="smoke", **{"max_subjects": 0, **values})


def some(people, each=2, **options):
    return [Record(f"{p}_{i}.png", "anger", subject=p, **options) for p in people for i in range(each)]


def flat(level, size=32, expression="anger", **options):
    return Record(np.full((size, size, 3), level, np.uint8), expression, info={"framed": True}, **options)


class Redraws:
    """A generator that makes every face of one level, 0 to 1, and leaves its first pixel as it is."""

    def __init__(self, level):
        self.level = level

    def translate(self, x):
        made = np.full(x.shape, self.level, np.float32)
        made[:, 0, 0] = x[:, 0, 0]
        return tf.constant(made)


@pytest.mark.parametrize("count", [0, 4])
def test_nobody_is_in_two_domains(tmp_path, count):
    """The rendered faces as the defaults deal them: three sets of people, and the target's two folds."""
    settings = script.Settings(preset="paper", max_subjects=count)
    listed = domains.load(settings, settings.labels, tmp_path)
    people = [{r.subject for r in part} for part in (listed.source, listed.auxiliary, listed.target)]
    assert None not in set.union(*people) and sum(map(len, people)) == len(set.union(*people))
    assert [len(p) for p in people] == ([4] * 3 if count else [120, 40, 40])
    assert {r.domain for r in listed.source} <= {"lab", "posed"}
    assert {r.domain for r in (*listed.auxiliary, *listed.target)} == {"wild"}
    assert len(listed.folds) == 2
    for fold in listed.folds:
        train, test = ({listed.target[i].subject for i in part} for part in (fold.train, fold.test))
        assert not train & test and train | test == people[2]


def test_who_is_in_two_domains_is_refused(tmp_path):
    """Lab and posed are the source's, posed people the target's too: in no fold may they be trained on and tested."""
    settings = given(auxiliary=("rendered/wild",), target="rendered/posed", folds=4)
    listed = [
        flat(i, subject=s, expression=e) for i, (s, e) in enumerate((s, e) for s in "abcd" for e in settings.labels)
    ]
    for source, auxiliary in ((listed[:2], listed[100:]), ([], listed[-2:])):
        with pytest.raises(ValueError, match="is in both the training and the test part"):
            domains.target_folds(settings, source, auxiliary, listed, settings.labels, tmp_path)
    strangers = [flat(200 + i, subject="z") for i in range(2)]
    assert len(domains.target_folds(settings, strangers, strangers, listed, settings.labels, tmp_path)) == 4


def test_a_picture_in_two_domains_is_refused(tmp_path):
    """The same bytes under another name."""
    settings = given(folds=2)
    listed = [
        flat(i, subject=s, expression=e) for i, (s, e) in enumerate((s, e) for s in "ab" for e in settings.labels)
    ]
    with pytest.raises(ValueError, match="is the same image as"):
        domains.target_folds(settings, [], [flat(2, subject="z")], listed, settings.labels, tmp_path)


def test_a_target_of_nobody_is_dealt_at_random_where_that_is_asked_for(tmp_path):
    """And the folds and the table's rule say so; its own parts are said to name nobody, too."""
    target = [flat(i, expression=given().labels[i % 2]) for i in range(12)]
    settings = given(split="random", folds=3, target="folder=x")
    folds = domains.target_folds(settings, [], [], target, settings.labels, tmp_path)
    assert sorted(i for f in folds for i in f.test) == [*range(12)] and len(folds) == 3
    assert json.loads((tmp_path / "folds.json").read_text())["people"] == protocols.RANDOM
    about = script.about(settings, domains.Domains([], [], target, folds))
    assert about["target"]["folds"] == f"3 folds, {protocols.RANDOM}"
    with pytest.raises(ValueError, match="--target=folder=x names neither .* --split=random deals its pictures"):
        domains.target_folds(given(target="folder=x"), [], [], target, settings.labels, tmp_path)
    parts = [replace(r, split=("train", "test")[i % 2]) for i, r in enumerate(target)]
    assert len(domains.target_folds(given(target="folder=x"), [], [], parts, settings.labels, tmp_path)) == 1
    assert json.loads((tmp_path / "folds.json").read_text())["people"] == protocols.OWN


def test_source_people_are_split_by_the_seed():
    settings, listed = given(source_test=0.2), some([f"s{i}" for i in range(10)])
    train, test = domains.split_source(settings, listed, 3)
    people = [{r.subject for r in part} for part in (train, test)]
    assert [len(p) for p in people] == [8, 2] and not people[0] & people[1] and len(train) + len(test) == 20
    assert domains.split_source(settings, listed, 3) == (train, test)
    assert any(domains.split_source(settings, listed, seed)[1] != test for seed in range(4, 8))
    with pytest.raises(ValueError, match="names too few to test some: 1 people"):
        domains.split_source(settings, some(["a"]), 0)


def test_parts_without_people():
    """SFEW's two sets take turns; where there is a part to train on, the others are tested; draws of few labels."""
    settings = given(target="sfew=x", target_labels=3)
    two = [Record(f"{i}", "anger", split=s) for i, s in enumerate("abab")]
    assert domains.own_parts(settings, two) == [Fold((1, 3), (0, 2)), Fold((0, 2), (1, 3))]
    parts = [Record(f"{i}", "anger", split=s) for i, s in enumerate(("train", "public_test", "train", "private_test"))]
    assert domains.own_parts(settings, parts) == [Fold((0, 2), (3,))]
    assert domains.own_parts(settings, parts[:3]) == [Fold((0, 2), (1,))]
    with pytest.raises(ValueError, match="--target=sfew=x names neither people nor two parts"):
        domains.own_parts(settings, two[::2])
    drawn = domains.labelled(settings, some("abcd"), 1)
    assert len(drawn) == 3 and drawn == domains.labelled(settings, some("abcd"), 1)
    assert len(domains.labelled(settings, some("a"), 1)) == 2


def test_copies_of_training_pictures_are_not_tested(capsys):
    """By their bytes, and for FER-2013 after a resize, too."""
    numbers = np.random.default_rng(0)
    faces = [numbers.integers(0, 256, (48, 48), dtype=np.uint8) for _ in range(5)]
    faces[3] = faces[0].copy()
    faces[4] = np.clip(faces[1].astype(int) + 1, 0, 255).astype(np.uint8)
    listed = [Record(f, "anger", split="train" if i < 2 else "private_test") for i, f in enumerate(faces)]
    for target, kept in (("rendered", (2, 4)), ("fer2013/private_test", (2,))):
        hashes = ["a", "b", "c", "a", "e"]
        fold = domains.without_copies(given(target=target), listed, Fold((0, 1), (2, 3, 4)), hashes)
        assert fold == Fold((0, 1), kept)
        assert f"left out of the test: {3 - len(kept)} pictures" in capsys.readouterr().err


def test_what_cannot_be_cut_is_left_out_and_named(capsys):
    good, bad = flat(0, 24), Record("nowhere.png", "fear")
    with pytest.raises(ValueError, match="1 of 1 records cannot be used: nowhere.png"):
        domains.usable(given(size=24), [good, bad])  # before anything is trained
    for job in ("list", "run0/gan1", "run0/fold0/CycleAT"):  # the first jobs have looked
        assert domains.usable(given(size=24, job=job), [good, bad]) == [good, bad]
    with pytest.raises(ValueError, match="cannot be used"):
        domains.usable(given(size=24, job="run0/source/resnet10"), [good, bad])
    loose = given(size=24, strict=False)
    assert domains.usable(loose, [good, bad]) == [good] and "left out: nowhere.png" in capsys.readouterr().err
    with pytest.raises(ValueError, match="None of 1 pictures"):
        domains.usable(loose, [bad])


def test_a_small_training_set_is_shown_more_often():
    settings = given(size=16, batch_size=4, epoch_views=40)
    for count, steps in ((10, 10), (38, 10), (90, 23)):
        assert len(domains.target_batches(settings, [flat(0, 16)] * count, ("anger",), 0)) == steps


def test_nearest_by_hand():
    """Two target points, five candidates on a line; a candidate that both choose counts once."""
    points = np.array([[0.0], [3.0], [1.0], [2.0], [9.0], [-0.5], [3.5]])
    np.testing.assert_array_equal(features.nearest(points, 2, 1), [3, 4])
    np.testing.assert_array_equal(features.nearest(points, 2, 2), [0, 1, 3, 4])
    np.testing.assert_array_equal(features.nearest(points, 2, 9), [0, 1, 2, 3, 4])


def test_bright_targets_select_bright_faces(tmp_path):
    """First-convolution features, t-SNE and kNN on planted faces; the answer is kept and read again."""
    model, numbers = cycle_at.tiny_classifier(width=0.25), np.random.default_rng(0)

    def faces(count, level):
        return np.clip(numbers.normal(level, 12, (count, 32, 32, 3)), 0, 255).astype(np.uint8)

    target, made = faces(40, 200), np.concatenate([faces(150, 60), faces(150, 200)])
    file = tmp_path / "a" / "selected.npy"
    chosen = features.select(model, target, lambda: made, 4, 0, file, "these")
    assert len(chosen) >= 4 and np.mean(chosen >= 150) > 0.9
    np.save(file, np.array([7]))
    assert features.select(model, target, None, 4, 0, file, "these").tolist() == [7]
    for _ in range(2):  # of other faces, and without a word of which
        with pytest.raises(ValueError, match="was selected by other target faces, or among other generated ones"):
            features.select(model, target, None, 4, 0, file, "those")
        file.with_suffix(".json").unlink(missing_ok=True)
    assert features.first_features(model, made).shape == (300, 16 * 16)
    with pytest.raises(ValueError, match="The first maps are 3x3"):
        features.first_features(model, made[:, :6, :6])


def test_t_is_how_many_each_target_face_selects(monkeypatch, tmp_path):
    """Features and t-SNE put aside, so that a face is where its grey value is."""
    monkeypatch.setattr(features, "first_features", lambda model, images: images[:, :1, 0, 0].astype(float))
    monkeypatch.setattr(features, "embedded", lambda values, seed: values)
    target, made = (np.array(v, np.uint8)[:, None, None, None] for v in ([10, 50], [1, 12, 13, 47, 51, 90]))
    for t, places in ((1, [1, 4]), (2, [1, 2, 3, 4]), (3, [0, 1, 2, 3, 4])):
        chosen = features.select(None, target, lambda: made, t, 0, tmp_path / f"{t}.npy", "")
        assert chosen.tolist() == places


def test_cosine_features_against_scipy():
    from scipy.fft import dctn

    face = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    block = dctn(face[8:16, 16:24].astype(float), norm="ortho")
    order = [(0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (0, 4)]
    expected = np.array([block[u, v] for u, v in order])
    made = features.cosine_features(np.repeat(face[None, :, :, None], 3, -1))
    assert made.shape == (1, 640)
    np.testing.assert_allclose(made[0, 10 * 10 : 11 * 10], expected / np.linalg.norm(expected), atol=1e-4)


def test_the_machine_tells_stripes_apart():
    numbers, rows = np.random.default_rng(0), np.arange(64) // 4 % 2
    stripes = np.stack([np.broadcast_to(200 * rows[:, None], (64, 64)), np.broadcast_to(200 * rows, (64, 64))])
    labels = np.arange(40) % 2
    faces = np.clip(stripes[labels][..., None] + numbers.normal(0, 30, (40, 64, 64, 3)), 0, 255).astype(np.uint8)
    answers = features.machine(faces[:20], labels[:20], faces[20:], 0)
    np.testing.assert_array_equal(answers, labels[20:])


@pytest.mark.parametrize("level, share", [(200, 0.5), (20, 1.0)])
def test_told_apart_with_a_planted_judge(monkeypatch, tmp_path, level, share):
    """A judge that calls bright faces the wild: bright ones are taken for it, dark ones never."""

    class Judge:
        def classify(self, x):
            bright = tf.reduce_mean(x, (1, 2, 3)) > 0.5
            return tf.stack([tf.cast(~bright, tf.float32), tf.cast(bright, tf.float32)], -1)

    seen = {}

    def train(settings, learn, classes, seed, place, follows):
        seen.update(follows=follows, classes=classes, counts=[sum(r.expression == c for r in learn) for c in classes])
        return Judge()

    monkeypatch.setattr(judges, "train_judge", train)
    wild, faces = [flat(200, 16)] * 3, np.full((5, 16, 16, 3), level, np.uint8)
    judge = judges.domain_judge(given(), faces, wild, 0, tmp_path, SimpleNamespace(g_sw="G_SW"))
    assert judges.told_apart(judge, faces, np.stack([r.image for r in wild])) == share
    assert seen == {"classes": ("these faces", "the wild"), "counts": [5, 3], "follows": {"the GAN": "G_SW"}}


def test_an_expression_that_nobody_shows_has_no_share():
    """No neutral face in the target: "-", and the mean is that of the other two; 0.00 is for what nobody gets right."""
    classes = ("anger", "fear", "neutral")
    labels, answers = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 2, 0])
    method = metrics.summarize([{"last": (labels, answers)}], classes)
    line = tables.by_expression({"S2T": method}, classes).splitlines()[1]
    assert line.split() == ["S2T", "75.00", "0.00", "-", "37.50"]


def test_figure_5_by_its_cells(monkeypatch, tmp_path):
    """Source, each generator's, the target's; the same faces after each epoch of stages I and II."""
    drawn = {}
    monkeypatch.setattr(pictures.figures, "grid", lambda images, *a, **k: ([*map(np.array, images)], a, k))
    monkeypatch.setattr(pictures.figures, "save", lambda figure, file: drawn.update({file.name: figure}))
    f_s, settings = SimpleNamespace(classes=("anger",)), given()
    gans = {"alone": Redraws(0.2), "with f_W": Redraws(0.6)}
    source = classifiers.Source(f_s, {}, gans, [flat(40)], [flat(10), flat(20)])
    for stage, epoch, level in (("gan1", 1, 40), ("gan1", 2, 50), ("gan2", 1, 60)):
        (tmp_path / stage / "samples").mkdir(parents=True, exist_ok=True)
        both = np.stack([np.full((1, 32, 32, 3), v, np.uint8) for v in (20, level)])
        np.save(tmp_path / stage / f"samples/epoch{epoch:03d}.npy", both)
    pictures.draw_generated(settings, source, [flat(30)], tmp_path)
    cells, _, titles = drawn["generated.png"]
    assert [int(row[0][9, 9, 0]) for row in cells] == [20, 51, 153, 30] and int(cells[2][0][0, 0, 0]) == 20
    assert titles == {"row_titles": ["source", "without f_W", "with f_W", "the target"], "col_titles": ["anger"]}
    cells, (titles,), _ = drawn["iterations.png"]
    assert [int(row[0][9, 9, 0]) for row in cells] == [20, 40, 50, 60]
    assert titles == ["source", "stage I, epoch 1", "stage I, epoch 2", "stage II, epoch 1"]
    drawn.clear()
    pictures.draw_generated(settings, source._replace(gans={}), [flat(30)], tmp_path)
    assert not drawn


def test_the_exported_generator_gives_the_models_faces():
    model = cycle_at.CycleAT(stage=1, filters=4, blocks=1)
    model.g_sw.get_layer("last_conv").kernel.assign(model.g_sw.get_layer("last_conv").kernel * 30.0)
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    served = gan.Translation(model, 32, {}).serving_default(tf.constant(faces))["faces"].numpy()
    np.testing.assert_allclose(served.astype(int), features.redrawn(model, faces), atol=1)
    back = np.round(255 * model.back(faces / np.float32(255)).numpy())
    assert np.std(served) > 20 and np.abs(served - back).mean() > 20  # G_SW, not G_WS
