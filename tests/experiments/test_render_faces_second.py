"""The second edition's people: what belongs to a person stays with it; and the first edition is what it was."""

import dataclasses
import os

import h5py
import numpy as np
import pytest

from experiments import render_faces
from experiments.parts.render_faces import looks, renderer, second, shards
from experiments.parts.render_faces import rendering as r
from experiments.parts.render_faces.editions import EDITIONS
from fer_tf.datasets import rendered, rendered2

SEVEN = [e for e in r.EXPRESSIONS if e != "neutral"]


class Weights:
    """Stands in for Mitsuba: keeps the person, the frames and the weights of each, and the generator's next number."""

    def __init__(self, kit, edition):
        self.kit, self.edition, self.seen = kit, edition, []

    def __call__(self, person, frame, setting, rng):
        weight = self.edition.weigh(self.kit, person, frame, rng)
        self.seen.append((person, frame, setting, weight, int(rng.integers(10**6))))
        return np.zeros((8, 8, 3), np.uint8), np.zeros((68, 2), "f4")


def shown(kit, domain, number, edition=2):
    """(shard, what a `Weights` saw of it)."""
    stub = Weights(kit, EDITIONS[edition])
    shard = shards.render_subject(stub, kit, domain, number, seed=7, quality=75, edition=EDITIONS[edition])
    return shard, stub.seen


@pytest.fixture(scope="module")
def lab(kit):
    return shown(kit, "lab", 4)


FIRST = {  # of the commit before there was a second edition: weights' sum, mean texture, intensity, the next number
    ("lab", 0): [(10.8944, 0.104846, 0.76053, 647824), (4.8653, 0.105572, 0.91415, 432849)],
    ("posed", 3): [(14.4907, 0.467879, 0.92648, 401194), (15.8778, 0.467077, 0.96044, 24206)],
    ("wild", 1): [(15.4667, 0.542897, 0.87668, 561221), (5.3078, 0.552054, 0.51729, 395686)],
}


@pytest.mark.parametrize("who", FIRST)
def test_the_first_edition_is_drawn_as_before(kit, who):
    _, seen = shown(kit, *who, edition=1)
    for (person, frame, setting, weight, after), expected in zip((seen[0], seen[14]), FIRST[who], strict=True):
        texture = r.frame_texture(kit, person, weight).mean()
        np.testing.assert_allclose([weight.sum(), texture, frame.intensity], expected[:3], rtol=2e-5)
        assert (after, setting, frame.setting) == (expected[3], who[0], "")


@pytest.mark.parametrize("module,edition", [(rendered, 1), (rendered2, 2)])
def test_the_shipped_frames_are_rendered_to_the_same_bytes(module, edition):
    """With Mitsuba, the face model and the machine of the shipped file only; another may round a pixel otherwise."""
    pytest.importorskip("mitsuba")
    model = os.environ.get("FER_TF_FACEKIT") or pytest.skip("FER_TF_FACEKIT names no face model")
    kit, quality = r.load_facekit(model), render_faces.QUALITY[edition]
    draw, number = renderer.Renderer(kit, 128, 4, EDITIONS[edition]), 3
    shard = shards.render_subject(draw, kit, "lab", number, seed=7, quality=quality, edition=EDITIONS[edition])
    found = [i for row in module.records(classes=("fear",)) for i in [row.image[1]] if int(row.subject[-3:]) == number]
    ours = np.split(shard["bytes"], np.cumsum(shard["length"])[:-1])
    fear = [b.tobytes() for b, e in zip(ours, shard["expression"], strict=True) if r.EXPRESSIONS[e] == "fear"]
    with h5py.File(module.records()[0].image[0]) as file:
        assert fear[-3:] == [file["image"][i].tobytes() for i in found]


def test_a_person_shows_an_expression_in_one_way(kit, lab):
    """On top of the resting face, every frame is the same weights times the frame's intensity, up to a small jitter."""
    gaze = [i for i, name in enumerate(kit.shape_names) if name.startswith("eyeLook")]
    for expression in SEVEN:
        frames = [(f, w) for _, f, _, w, _ in lab[1] if f.expression == expression]
        assert [f.frame for f, _ in frames] == [0, 1, 2, 3, 4]
        person = lab[1][0][0]
        for frame, weight in frames:
            added, said = weight - person.idle, person.style[expression] * frame.intensity
            apart = np.delete(np.abs(added - said), gaze)
            assert (apart <= 0.06 + 0.15 * np.delete(said, gaze)).all(), (expression, frame.frame)
    one, again = second.draw_person(kit, [7, 20, 4]), second.draw_person(kit, [7, 20, 4])
    for name in ("style", "spare"):
        assert all((getattr(one, name)[e] == getattr(again, name)[e]).all() for e in r.EXPRESSIONS)
    other = second.draw_person(kit, [7, 20, 5])
    assert np.abs(one.style["fear"] - other.style["fear"]).max() > 0.1 and np.abs(one.idle - other.idle).max() > 0.05


def test_the_resting_face_is_in_neutral_and_in_every_expression(kit, lab):
    person, strongest = lab[1][0][0], np.argsort(lab[1][0][0].idle)[-4:]
    assert person.idle[strongest].min() > 0.1 and person.spare is person.style
    for _, frame, _, weight, _ in lab[1]:
        assert (weight[strongest] >= person.idle[strongest] - 1e-6).all(), frame
    neutral = [w for _, f, _, w, _ in lab[1] if f.expression == "neutral"]
    assert len(neutral) == 5 and max(np.abs(w - person.idle).max() for w in neutral) < 0.5


def test_ranges_and_frames_from_onset_to_apex(kit, lab):
    drawn = [second.draw_manner(kit, np.random.default_rng(i))[0] for i in range(30)]
    ranges = np.array([[one[e] for e in SEVEN] for one in drawn])
    assert 0.35 <= ranges.min() < 0.5 and 0.9 < ranges.max() <= 1.0
    assert np.std(ranges.mean(1)) > 1.3 * np.mean(ranges.std(1))  # a person's ranges are alike, people's are not
    person = lab[1][0][0]
    for expression in SEVEN:
        intensity = [f.intensity for _, f, *_ in lab[1] if f.expression == expression]
        parts = np.divide(intensity, person.ranges[expression])
        np.testing.assert_allclose(parts, [0.25, 0.6, 0.92, 0.97, 1.0])
    assert {f.intensity for _, f, *_ in lab[1] if f.expression == "neutral"} == {0.0}


def test_nothing_is_mixed(kit):
    """A style has the shapes of one variant of its expression and no other, whoever shows it."""
    index = {name: i for i, name in enumerate(kit.shape_names)}

    def shapes(units):
        names = {s for u in units for s in r.AU[u]} | (
            {"browOblique", "browTogether"} if {1, 4} <= set(units) else set()
        )
        return {i for n in names for i in (index.get(n), index.get(f"{n}_L"), index.get(f"{n}_R")) if i is not None}

    for number in range(12):
        _, style = second.draw_manner(kit, np.random.default_rng(number))
        for expression in r.EXPRESSIONS:
            used = set(np.flatnonzero(style[expression]))
            assert any(used <= shapes(units) for units in second.STYLES[expression]), (number, expression)
        assert not style["neutral"].any()


def test_the_bearing_goes_with_shape_and_skin_and_is_painted(kit):
    rng = np.random.default_rng(0)
    modes, ages = rng.normal(0, 1.5, (600, 100)), rng.uniform(0, 1, 600)
    who = [{"age": a, "male": bool(i % 2), "melanin": 0.4, "brow_shift": 0.0} for i, a in enumerate(ages)]
    corners = np.array([second.draw_bearing(m, w, rng)["corners"] for m, w in zip(modes, who, strict=True)])
    way = np.random.default_rng([2026, second.TRAITS.index("corners")]).normal(0, 1, 100)
    assert 0.3 < np.corrcoef(corners, modes @ way)[0, 1] < 0.7
    assert -0.75 < np.corrcoef(corners, ages)[0, 1] < -0.25
    down, up = ({t: 0.0 for t in second.TRAITS} | {"corners": c} for c in (-1.5, 1.5))
    lines = [
        np.mean([second.lines_of(kit, b, 0.3, np.random.default_rng(s)) for s in range(20)], 0) for b in (down, up)
    ]
    assert lines[0][list(r.CREASES).index("corner")] > 2 * lines[1][list(r.CREASES).index("corner")]
    frown = second.rest_of(kit, down, np.random.default_rng(0))
    index = {name: i for i, name in enumerate(kit.shape_names)}
    assert frown[index["mouthFrown_L"]] > 0.2 and frown[index["mouthSmile_L"]] == 0
    assert frown[index["mouthFrown_L"]] != frown[index["mouthFrown_R"]]
    base = looks.draw_traits(np.random.default_rng(2))
    plain = looks.paint_skin(kit, kit.positions, base)
    bent = looks.paint_skin(kit, kit.positions, base | second.painted(down, base, np.random.default_rng(0)))
    assert 0.001 < np.abs(plain - bent).max() < 0.9 and np.mean(plain != bent) < 0.6
    assert set(second.REST) == set(second.GOES_WITH) == set(second.TRAITS) and set(second.LINES) == set(r.CREASES)


def test_a_judge_is_shown_as_lab_and_as_wild(kit, tmp_path):
    shard, seen = shown(kit, "judge", 0)
    settings = [s for _, _, s, *_ in seen]
    assert settings == ["lab"] * 40 + ["wild"] * 16 and len({id(p) for p, *_ in seen}) == 1
    assert shard["sequence"].tolist()[40:] == list(range(8, 24))
    shards.write_shard(shards.shard_path(tmp_path, "judge", 0), shard)
    shards.assemble(tmp_path / "rendered2_judge.h5", tmp_path, [("judge", 0)], {"seed": 7}, EDITIONS[2])
    found = rendered2.records(tmp_path, part="judge", frames="all")
    assert [row.domain for row in found] == settings and {(row.subject, row.split) for row in found} == {
        ("judge000", "judge")
    }
    with pytest.raises(ValueError, match="has nobody of lab, but judge"):
        rendered2.records(tmp_path / "rendered2_judge.h5")
    with pytest.raises(ValueError, match="has nobody of all, but judge"):
        rendered2.records(tmp_path / "rendered2_judge.h5", part="all")


def test_people_of_the_second_edition():
    people = render_faces.people_of(render_faces.Settings(edition=2))
    assert len(people) == 640 and {d for d, _ in people} == {"lab", "posed", "wild"}
    assert len(render_faces.people_of(render_faces.Settings(edition=2, domains=("judge",)))) == 100
    with pytest.raises(ValueError, match="judge is rendered into a file of its own"):
        render_faces.people_of(render_faces.Settings(edition=2, domains=("lab", "judge")))
    with pytest.raises(ValueError, match="must be among lab, posed, wild;"):
        render_faces.people_of(render_faces.Settings(domains=("judge",)))
    keys = [e.key(7, d, n) for e in EDITIONS.values() for d, c in e.subjects.items() for n in range(c)]
    assert len({tuple(k) for k in keys}) == len(keys)


def test_another_edition_is_refused_by_name(tmp_path):
    shards.check_flags(tmp_path / "a", {"seed": 7})
    with pytest.raises(ValueError, match="--edition=2 differs from 1"):
        shards.check_flags(tmp_path / "a", {"seed": 7, "edition": 2})
    shards.check_flags(tmp_path / "b", {"seed": 7, "edition": 2})
    with pytest.raises(ValueError, match="--edition=1 differs from 2"):
        shards.check_flags(tmp_path / "b", {"seed": 7})


def test_a_file_of_the_second_edition_names_people_alike_whatever_it_holds(kit, tmp_path):
    people = [("lab", 0), ("lab", 4), ("wild", 2)]
    for who in people:
        shards.write_shard(shards.shard_path(tmp_path, *who), shown(kit, *who)[0])
    for name, held in (("some.h5", people[1:]), ("rendered2.h5", people)):
        shards.assemble(tmp_path / name, tmp_path, held, {"seed": 7}, EDITIONS[2])
    whole, some = rendered2.records(tmp_path, part="all"), rendered2.records(tmp_path / "some.h5", part="all")
    assert [row.subject for row in whole] == ["lab000"] * 24 + ["lab004"] * 24 + ["wild002"] * 16
    assert [dataclasses.replace(row, image=b"", info={}) for row in whole[24:]] == [
        dataclasses.replace(row, image=b"", info={}) for row in some
    ]
    lab = rendered2.records(tmp_path, frames="all")
    assert len(lab) == 80 and [row.frame for row in lab[:5]] == [0, 1, 2, 3, 4]
    assert {row.frame for row in whole if row.domain == "lab"} == {2, 3, 4}
    assert {row.expression for row in rendered2.records(tmp_path, classes=("fear",))} == {"fear"}
    assert lab[0].sequence == "lab000/00-anger" and lab[0].info["landmarks"].shape == (68, 2)
