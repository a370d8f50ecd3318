"""`experiments.ia_gen --beside_neutral`: eq. (8) on what is redrawn from a known neutral face, and its controls."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import ia_gen as script
from experiments.parts.ia_gen import neutral, pictures
from fer_tf.records import Record

CLASSES = ("anger", "happiness")
MODEL = SimpleNamespace(classes=CLASSES)


def column(*values):
    return np.array(values, np.float32)[:, None]


def seen(people, labels, own):
    kept = [Record(np.zeros((2, 2), np.uint8), CLASSES[k], subject=p) for p, k in zip(people, labels, strict=True)]
    return neutral.Seen(kept, np.array(labels), column(*own), np.full((len(own), 2), 0.5, np.float32))


def known(**people):
    """Person -> the grey value of the neutral face, and of what is redrawn from it, in order."""
    kept = [Record(np.zeros((2, 2), np.uint8), "neutral", subject=who) for who in people]
    own, made = zip(*people.values(), strict=True)
    return neutral.Known(kept, column(*own), np.stack([column(*values) for values in made]))


THEIRS = known(a=(10, (13, 22)), b=(20, (26, 31)))
FACES = seen("aab", [0, 1, 1], [14, 24, 32])
USUAL = known(c=(5, (7, 10)), d=(6, (9, 12)))
LEARNT = seen("cdcd", [0, 0, 1, 1], [8, 11, 15, 14])


def test_what_a_picture_is_compared_with():
    """By hand: the labelled people's faces are 4 and 9 above their neutral ones, 1.5 and 3.5 above the redrawn ones.

    Their neutral faces are 5.5 on average. One more there is a third of one more of the first class, and less of the
    second, by the regression: slopes of 2 and -2, shrunk to a sixth by a penalty of ten times the mean square in all.
    """
    found = neutral.candidates(MODEL, FACES, THEIRS, LEARNT, USUAL)
    expected = {
        "regenerated": [[13, 22], [13, 22], [26, 31]],
        "corrected": [[14.5, 25.5], [14.5, 25.5], [27.5, 34.5]],
        "both": [[13.5, 20.5], [13.5, 20.5], [25, 30]],
        "means": [[14, 19], [14, 19], [24, 29]],
        "shrunk": [[12.875, 17.875], [12.875, 17.875], [20.375, 25.375]],
        "linear": [[15.5, 17.5], [15.5, 17.5], [24 + 14.5 / 3, 29 - 14.5 / 3]],
        "both_stranger": [[20, 25], [20, 25], [18.5, 25.5]],
        "stranger": [[26, 31], [26, 31], [13, 22]],
    }
    assert {*found} == {*neutral.NAMES} == {*expected}
    for way, wanted in expected.items():
        np.testing.assert_allclose(found[way][..., 0], wanted, rtol=1e-6, err_msg=way)
    assert [*neutral.candidates(MODEL, FACES, THEIRS, LEARNT, USUAL, {"means"})] == ["means"]


def test_shrunk_means_where_people_show_different_classes():
    """By hand: the first class is of c alone, who lies half below the middle of 5.5, the second of d, half above."""
    learnt = seen("cd", [0, 1], [8, 15])
    found = neutral.candidates(MODEL, FACES, THEIRS, learnt, USUAL, {"shrunk"})["shrunk"]
    np.testing.assert_allclose(found[..., 0], [[11.75, 18], [11.75, 18], [19.25, 25.5]], rtol=1e-6)


def test_the_regression_of_people_who_show_a_class():
    """Beside the normal equations in the dimensions of Feat, of random faces; one person shows a class twice."""
    rng = np.random.default_rng(0)
    usual = {who: rng.normal(size=3).astype(np.float32) for who in "abcd"}
    people, labels = [*"aabcdabc"], np.array([0, 0, 0, 0, 0, 1, 1, 1])
    kept = [SimpleNamespace(subject=who) for who in people]
    learnt = neutral.Seen(kept, labels, rng.normal(size=(8, 3)).astype(np.float32), np.zeros((8, 2), np.float32))
    own = rng.normal(size=(5, 3)).astype(np.float32)
    found = neutral.linear(own, learnt, np.stack([usual[who] for who in people]), (0, 1))
    for k, shown in enumerate(("abcd", "abc")):
        pictures = {who: [i for i in range(8) if people[i] == who and labels[i] == k] for who in shown}
        x = np.stack([usual[who] for who in shown]).astype(np.float64)
        y = np.stack([learnt.own[pictures[who]].mean(0) for who in shown]) - x
        middle, move = x.mean(0), y.mean(0)
        penalty = neutral.PENALTY * np.square(x - middle).sum() / len(x)
        slopes = np.linalg.solve((x - middle).T @ (x - middle) + penalty * np.eye(3), (x - middle).T @ (y - move))
        np.testing.assert_allclose(found[:, k], own + move + (own - middle) @ slopes, rtol=1e-4, atol=1e-6)


def test_neutral_is_no_candidate():
    """Where neutral is a class, what is redrawn as neutral is left out, and the others keep their order."""
    theirs, usual = (one._replace(made=np.insert(one.made, 1, 999.0, axis=1)) for one in (THEIRS, USUAL))
    learnt = LEARNT._replace(labels=np.array([0, 0, 2, 2]))
    model = SimpleNamespace(classes=("anger", "neutral", "happiness"))
    found = neutral.candidates(model, FACES, theirs, learnt, usual)
    for way, one in neutral.candidates(MODEL, FACES, THEIRS, LEARNT, USUAL).items():
        np.testing.assert_array_equal(found[way], one)


def test_the_neutral_pictures_that_were_taken_most_alike():
    """Of the person, or of who is given in his place: in the same light, turned alike, and the mean of several."""

    def turned(who, pan, domain="lab", shown="neutral"):
        return Record(np.zeros((2, 2), np.uint8), shown, subject=who, domain=domain, info={"pan": pan})

    kept = [turned("a", 0.0), turned("a", 4.0), turned("a", 45.0), turned("a", 30.0, "wild"), turned("b", 45.0)]
    theirs = neutral.Known(kept, column(1, 2, 4, 8, 16), np.arange(10.0).reshape(5, 2, 1))
    shown = [turned("a", *how, shown="fear") for how in ((-5.0,), (40.0,), (0.0, "wild"), (0.0, "film"))]
    own, made = theirs.beside(shown, ["a"] * 4)
    assert own[:, 0].tolist() == [1.5, 4, 8, 1.5] and made[..., 0].tolist() == [[1, 2], [4, 5], [6, 7], [1, 2]]
    assert theirs.beside(shown[:2], ["b", "a"])[0][:, 0].tolist() == [16, 4]


def test_each_of_the_labelled_stands_beside_his_own_light():
    """Lab and wild neutral faces are 10 apart, for the labelled person as for the tested one: nothing else is seen."""

    def pictures_of(who, grey, shown="neutral"):
        return [(Record(np.zeros((2, 2), np.uint8), shown, subject=who, domain=d), g) for d, g in grey.items()]

    def faces(*pairs):
        kept, grey = zip(*pairs, strict=True)
        labels = np.array([0 if r.expression == "anger" else 1 for r in kept])
        return neutral.Seen(kept, labels, column(*grey), np.zeros((len(kept), 2), np.float32))

    def neutrals(*pairs):
        kept, grey = zip(*pairs, strict=True)
        return neutral.Known(kept, column(*grey), column(*grey)[:, None] + np.array([[20.0], [40.0]]))

    learnt = faces(
        *pictures_of("c", {"lab": 30.0, "wild": 41.0}, "anger"), *pictures_of("c", {"lab": 52.0}, "happiness")
    )
    usual, theirs = neutrals(*pictures_of("c", {"lab": 10.0, "wild": 20.0})), neutrals(
        *pictures_of("a", {"lab": 12.0, "wild": 22.0}), *pictures_of("b", {"lab": 13.0, "wild": 26.0})
    )  # fmt: skip
    tested = faces(*pictures_of("a", {"lab": 0.0, "wild": 0.0}, "anger"))
    found = neutral.candidates(MODEL, tested, theirs, learnt, usual)
    assert found["regenerated"][..., 0].tolist() == [[32, 52], [42, 62]]
    assert found["means"][..., 0].tolist() == [[32.5, 54], [42.5, 64]], "20 and 21 above, 42 above"
    assert found["corrected"][..., 0].tolist() == [[32.5, 54], [42.5, 64]], "0.5 and 2 more than redrawn"
    assert found["linear"][..., 0].tolist() == [[32.5, 54], [42.5, 64]], "one person has no slope"
    assert found["stranger"][..., 0].tolist() == [[33, 53], [46, 66]]
    assert found["shrunk"][..., 0].tolist() == [[33.25, 53.5], [40.75, 61]], "three quarters of the way from 15"


def flat(person, shown, grey):
    return Record(np.full((70, 70), grey, np.uint8), shown, subject=person, info={"framed": True})


def test_held_out_people_are_named_beside_their_neutral_face(greys, monkeypatch, tmp_path):
    """Two people at 50 and 150: faces are named by what is redrawn from the own neutral face, not from the other's."""
    settings = script.Settings(preset="smoke", precision="float32", inputs=("neutral",), beside_neutral=True)
    learn = [flat("c", "neutral", 10), flat("c", "anger", 29), flat("c", "happiness", 51)]
    held_out = [flat("a", "neutral", 50), flat("a", "anger", 72), flat("a", "happiness", 88)]
    held_out += [flat("b", "neutral", 150), flat("b", "happiness", 191)]
    drawn = []
    monkeypatch.setattr(neutral, "draw", lambda _, model, listed, *more: drawn.append((listed, more)))
    found = neutral.measure(settings, greys(20, 40), learn, held_out, 0, tmp_path)
    assert drawn == [(held_out, (0, tmp_path / "beside_neutral.png"))]
    by_others = {"shrunk": [1, 1, 1], "stranger": [0, 0, 1], "both_stranger": [0, 0, 1]}  # a quarter is 10 or 35
    assert {*found} == {*neutral.NAMES.values()}
    for way, name in neutral.NAMES.items():
        labels, named = found[name]
        assert labels.tolist() == [0, 1, 1] and [r.subject for r in found[name].records] == ["a", "a", "b"]
        assert named.tolist() == by_others.get(way, [0, 1, 1]), way


def test_the_picture(greys, monkeypatch, tmp_path):
    """Each person's neutral face, what is redrawn from it, and the real faces below, where there are such."""
    drawn, grid = [], pictures.figures.grid
    monkeypatch.setattr(pictures.figures, "grid", lambda rows, **titles: drawn.append((rows, titles)) or grid(rows))
    settings = script.Settings(preset="smoke", precision="float32", inputs=("neutral",), beside_neutral=True)
    listed = [flat("a", "anger", 72), flat("a", "neutral", 50), flat("a", "happiness", 88)]
    listed += [flat("b", "happiness", 191), flat("b", "neutral", 150)]
    neutral.draw(settings, greys(20, 40), listed, 0, tmp_path / "it.png")
    (rows, titles), *more = drawn
    greys = [[face if face is None else round(255 * float(face.mean())) for face in row] for row in rows]
    assert greys == [[50, 70, 90], [None, 72, 88], [150, 170, 190], [None, None, 191]] and not more
    assert titles == {"row_titles": ["a, neutral", "real", "b, neutral", "real"], "col_titles": ("input", *CLASSES)}
    assert (tmp_path / "it.png").is_file()


def test_rows_of_the_table(planted, monkeypatch, tmp_path):
    saved = []
    monkeypatch.setattr(neutral, "figures", SimpleNamespace(save=lambda _, path: saved.append(path)))
    planted.plant(planted.people(people=4, expressions=(*CLASSES, "neutral")))
    given = {"preset": "smoke", "inputs": ("neutral",), "only_folds": "0", "judges": False, "progress": False}
    results = script.run(script.Settings(**given, beside_neutral=True, workdir=str(tmp_path / "run")))
    for name in neutral.NAMES.values():
        assert name in results.methods
    assert saved == [tmp_path / "run" / "run0" / "fold0" / "beside_neutral.png"]
    assert not {*script.baselines(script.Settings(**given))} & {*neutral.NAMES.values()}, "none that is not tested"
    beside = script.baselines(script.Settings(**given, beside_neutral=True))
    strangers = {"stranger": "regenerated", "both_stranger": "both"}
    assert {beside[name] for way, name in neutral.NAMES.items() if way not in strangers} == {"FER-Net"}
    for way, other in strangers.items():
        assert beside[neutral.NAMES[way]] == neutral.NAMES[other]


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({}, "--beside_neutral redraws neutral faces: give --inputs=neutral."),
        ({"inputs": ("neutral",)}, "--beside_neutral compares with neutral faces, and P1 has none: leave such people"),
        ({"classes": "anger,happiness,neutral"}, "--beside_neutral has neutral faces known, so that none is to be"),
    ],
)
def test_what_does_not_fit_is_refused(planted, tmp_path, given, sentence):
    listed = planted.people(people=4, expressions=(*CLASSES, "neutral"))
    planted.plant([r for r in listed if r.expression != "neutral" or r.subject != "P1"])
    with pytest.raises(ValueError, match="^" + sentence):
        script.run(script.Settings(preset="smoke", beside_neutral=True, workdir=str(tmp_path / "run"), **given))
    assert not [*tmp_path.rglob("*.h5")], "nothing is trained"
