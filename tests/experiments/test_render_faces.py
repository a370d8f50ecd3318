"""The renderer: styles, intensities and geometry in NumPy, shards that resume, and a tiny real render."""

import importlib.metadata
import io
import itertools
import json
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from experiments import render_faces
from experiments.parts.render_faces import frames as pictured
from experiments.parts.render_faces import looks as rendering_looks
from experiments.parts.render_faces import renderer, rendering, shards
from experiments.parts.render_faces import scene as rendering_scene


def stub(person, frame, domain, rng):
    """Stands in for Mitsuba: a grey that depends on the frame's generator."""
    return np.full((16, 16, 3), rng.integers(256), np.uint8), rng.uniform(0, 16, (68, 2)).astype("f4")


def test_every_style_uses_known_units_and_shapes(kit):
    assert tuple(rendering.STYLES) == rendering.EXPRESSIONS
    known = {name.removesuffix("_L").removesuffix("_R") for name in kit.shape_names}
    for expression, variants in rendering.STYLES.items():
        for units in variants:
            assert all(0 <= low < high for low, high in units.values()), expression
            assert {shape for unit in units for shape in rendering.AU[unit]} <= known
    assert all(set(cause) <= known for _, cause in rendering.CREASES.values())


def test_styles_follow_facs(kit):
    index = {name: i for i, name in enumerate(kit.shape_names)}
    for seed in range(12):
        style = {e: rendering.draw_style(kit, e, np.random.default_rng(seed)) for e in rendering.EXPRESSIONS}
        assert not style["neutral"].any() and all(0 <= w.min() and w.max() < 1.91 for w in style.values())
        smile = style["happiness"][[index["mouthSmile_L"], index["mouthSmile_R"]]]
        assert smile.min() > 0.4 and style["sadness"][index["mouthFrown_L"]] > 0.5
        lopsided = sorted(style["contempt"][[index["mouthDimple_L"], index["mouthDimple_R"]]])
        assert lopsided[0] < 0.3 * lopsided[1]
        assert style["fear"][index["eyeWide_L"]] > 0.6 and style["surprise"][index["browOuterUp_L"]] > 0.4
        assert style["anger"][index["browDown_L"]] > 2 * style["fear"][index["browDown_L"]]


def test_people_differ_and_repeat(kit):
    one, again, other = (rendering_looks.draw_person(kit, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.texture, again.texture)
    np.testing.assert_array_equal(one.style["fear"], again.style["fear"])
    assert np.abs(one.face - other.face).max() > 0.01 and np.abs(one.texture - other.texture).mean() > 0.001
    assert np.abs(one.style["anger"] - other.style["anger"]).max() > 0.05


def test_mixed_styles_stay_nearer_to_their_own_expression(kit):
    person = rendering_looks.draw_person(kit, np.random.default_rng(3))
    assert rendering.mix_styles(person, np.random.default_rng(0), share=0).style["anger"] is person.style["anger"]
    mixed = rendering.mix_styles(person, np.random.default_rng(0), share=1)
    assert set(rendering.TAKEN_FOR) == set(rendering.EXPRESSIONS) - {"neutral"}
    for expression, others in rendering.TAKEN_FOR.items():
        for new, old in ((mixed.style, person.style), (mixed.spare, person.spare)):
            parts = [
                np.abs(new[expression] - old[expression]).sum() / np.abs(old[other] - old[expression]).sum()
                for other in others
            ]
            assert rendering.MIX[0] <= min(parts, key=lambda x: abs(x - 0.41)) <= rendering.MIX[1]
    np.testing.assert_array_equal(mixed.style["neutral"], person.style["neutral"])
    share = np.mean(
        [
            mixed.style[e] is not person.style[e]
            for seed in range(60)
            for mixed in [rendering.mix_styles(person, np.random.default_rng(seed))]
            for e in rendering.TAKEN_FOR
        ]
    )
    assert abs(share - rendering.MIXED) < 0.08


def test_intensity_scales_the_expression(kit):
    person = rendering_looks.draw_person(kit, np.random.default_rng(3))
    rest, half, full = (
        np.mean([rendering.frame_weights(kit, person, "happiness", i, np.random.default_rng(s)) for s in range(20)], 0)
        for i in (0.0, 0.5, 1.0)
    )
    smile = kit.shape_names.index("mouthSmile_L")
    assert rest[smile] < half[smile] < full[smile] and full[smile] > 0.6
    assert rendering.frame_texture(kit, person, full).mean() < rendering.frame_texture(kit, person, rest * 0).mean()


@pytest.mark.parametrize("pan,tilt", [(0, 0), (30, 0), (0, 20), (-45, 25)])
def test_rotation_turns_the_nose_the_named_way(pan, tilt):
    turn = rendering.rotation(pan, tilt)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    nose = turn @ [0, 0, 1]
    expected = [np.sin(np.radians(pan)), np.sin(np.radians(tilt)) * np.cos(np.radians(pan))]
    np.testing.assert_allclose(nose[:2], expected, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1)


def test_projection_by_hand():
    pixel = rendering.project(
        np.array([[0, 0, 0], [5, 0, 0], [0, 10, 0], [5, 0, 30]], "f4"), distance=60, half=10, size=128
    )
    np.testing.assert_allclose(pixel, [[64, 64], [96, 64], [64, 0], [128, 64]], atol=1e-4)


def test_normals_of_a_sphere():
    turn, lift = np.meshgrid(np.linspace(0, 2 * np.pi, 40, endpoint=False), np.linspace(0.2, np.pi - 0.2, 30))
    points = np.stack([np.sin(lift) * np.cos(turn), np.sin(lift) * np.sin(turn), np.cos(lift)], -1).reshape(-1, 3)
    rows, k = np.arange(29)[:, None] * 40, np.arange(40)[None]
    a, b, c, d = rows + k, rows + (k + 1) % 40, rows + 40 + k, rows + 40 + (k + 1) % 40
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    inner = slice(40, -40)
    assert ((rendering.normals(points, triangles) * points).sum(1)[inner] > 0.99).all()


@pytest.mark.parametrize("domain,count", [("lab", 24), ("posed", 120), ("wild", 16)])
def test_plan_covers_every_expression(domain, count):
    frames = pictured.plan(domain, 0.9, np.random.default_rng(0))
    assert len(frames) == count and len({(f.sequence, f.frame) for f in frames}) == count
    per = [sum(f.expression == e for f in frames) for e in rendering.EXPRESSIONS]
    assert per == [count // 8] * 8
    assert all((f.intensity == 0) == (f.expression == "neutral") and f.intensity <= 1 for f in frames)
    if domain == "posed":
        poses = set(itertools.product(pictured.PANS, pictured.TILTS))
        assert {(f.pan, f.tilt) for f in frames if f.expression == "fear"} == poses


def test_shards_resume_and_do_not_depend_on_order(kit, tmp_path):
    people = [("lab", 0), ("lab", 1), ("wild", 0)]

    def run(work, order):
        work.mkdir()
        for who in order:
            arrays = shards.render_subject(stub, kit, *who, seed=5, quality=90)
            shards.write_shard(shards.shard_path(work, *who), arrays)
        return work

    first = run(tmp_path / "a", people)
    second = run(tmp_path / "b", people[::-1][:1])
    (second / ".lab001.999.part.npz").write_bytes(b"killed while writing")
    assert list(shards.missing(second, people)) == people[:2]
    for who in shards.missing(second, people):
        shards.write_shard(shards.shard_path(second, *who), shards.render_subject(stub, kit, *who, seed=5, quality=90))
    for work, name in ((first, "a.h5"), (second, "b.h5")):
        assert shards.assemble(tmp_path / name, work, people, {"seed": 5}) == 24 + 24 + 16
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert set(a) == set(b) >= {"image", "expression", "subject", "landmarks"}
        for name in set(a) - {"image"}:
            np.testing.assert_array_equal(a[name][:], b[name][:])
        assert [x.tobytes() for x in a["image"][:]] == [x.tobytes() for x in b["image"][:]]
        assert a["subject"][:].tolist() == [0] * 24 + [1] * 24 + [2] * 16
        assert Image.open(io.BytesIO(a["image"][0].tobytes())).size == (16, 16)


def test_changed_flags_are_refused_by_name(tmp_path):
    shards.check_flags(tmp_path, {"seed": 1, "samples": 6})
    shards.check_flags(tmp_path, {"seed": 1, "samples": 6})
    with pytest.raises(ValueError, match="--samples=9"):
        shards.check_flags(tmp_path, {"seed": 1, "samples": 9})
    assert json.loads((tmp_path / "flags.json").read_text()) == {"seed": 1, "samples": 6}


def test_camera_and_background_repeat():
    for harsh in (False, True):
        scene = rendering_scene.background(32, np.random.default_rng(4), None if harsh else np.array([0.3, 0.4, 0.5]))
        one, two = (
            rendering_scene.camera(scene, np.ones((32, 32)), np.random.default_rng(1), harsh=harsh) for _ in range(2)
        )
        assert one.dtype == np.uint8 and one.shape == (32, 32, 3)
        np.testing.assert_array_equal(one, two)


def test_subjects_of_the_parts():
    given = render_faces.Settings()
    assert [given.edition, given.seed, given.size, given.samples] == [1, 7, 128, 4]
    people = render_faces.people_of(given)
    assert len(people) == 200 and people[99:101] == [("lab", 99), ("posed", 0)] and people[-1] == ("wild", 79)
    two = render_faces.people_of(render_faces.Settings(domains=("wild", "lab")))
    assert len(two) == 180 and two[79:81] == [("wild", 79), ("lab", 0)]
    some = render_faces.Settings(domains=("wild", "lab"), subjects=("2", "1"))
    assert render_faces.people_of(some) == [("wild", 0), ("wild", 1), ("lab", 0)]
    for wrong in ({"domains": ("lab", "zoo")}, {"subjects": ("1", "2")}, {"domains": ("lab",), "subjects": ("x",)}):
        with pytest.raises(ValueError, match="gives one number for each"):
            render_faces.people_of(render_faces.Settings(**wrong))


def test_missing_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="--facekit"):
        rendering.load_facekit(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="Give --facekit="):
        render_faces.run(render_faces.Settings(out="x.h5"))
    with pytest.raises(FileNotFoundError, match="--facekit: .*none.npz is missing"):
        render_faces.run(render_faces.Settings(facekit=f"{tmp_path}/none.npz", out="x.h5"))
    with pytest.raises(FileNotFoundError, match="generic_neutral_mesh.obj"):
        rendering.load_facekit(tmp_path)


def test_what_starts_the_processes_does_without_mitsuba(monkeypatch, tmp_path):
    """Beside TensorFlow it would abort the command at its end; its version is known without it."""
    (tmp_path / "kit.npz").write_bytes(b"a model")
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    monkeypatch.setattr(render_faces, "version", {"mitsuba": "3.9.9"}.__getitem__)
    assert render_faces.fixed(render_faces.Settings(edition=2), tmp_path / "kit.npz")["mitsuba"] == "3.9.9"

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(render_faces, "version", missing)
    with pytest.raises(
        ModuleNotFoundError, match=r'Mitsuba renders the faces: pip install "fer-tf\[render\]" brings it'
    ):
        render_faces.fixed(render_faces.Settings(), tmp_path / "kit.npz")


def test_obj_folder_gives_the_same_arrays(tmp_path):
    def obj(offset):
        corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
        lines = [f"v {x + offset} {y} {z}" for x, y, z in corners] + [f"vt {x} {y}" for x, y, _ in corners]
        return "\n".join([*lines, "usemtl M_Face", "f 1/1 2/2 3/3 4/4"])

    for name, offset in (("generic_neutral_mesh", 0), ("identity000", 0.5), ("identity001", 1), ("jawOpen", 2)):
        (tmp_path / f"{name}.obj").write_text(obj(offset))
    (tmp_path / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": [0, 3]}))
    pack = rendering.read_obj_folder(tmp_path)
    assert pack["identity"][:, 0, 0].tolist() == [0.5, 1] and pack["expression"][0, :, 0].tolist() == [2] * 4
    assert pack["triangles"].tolist() == [[0, 1, 2], [0, 2, 3]] == pack["uv_triangles"].tolist()
    assert pack["expression_names"].tolist() == ["jawOpen"] and pack["landmarks68"].tolist() == [0, 3]


def test_real_render_repeats(kit):
    pytest.importorskip("mitsuba")
    render = renderer.Renderer(kit, 32, 4)
    person = rendering_looks.draw_person(kit, np.random.default_rng(0))
    frame = pictured.Frame("happiness", 0.9, 3.0, -2.0, 0, 0)
    (one, marks), (two, _) = (render(person, frame, "lab", np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (32, 32, 3) and one.dtype == np.uint8 and marks.shape == (68, 2)
    wall = one[:4, :4].astype(float).mean((0, 1))
    assert np.abs(one[14:20, 14:20].astype(float).mean((0, 1)) - wall).max() > 10  # something stands before the wall
