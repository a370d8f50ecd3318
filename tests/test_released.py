"""The files of weights/: those that weights/README.md lists, whole, and ready to name a face."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from experiments.run import provenance
from fer_tf import export, pipeline, records, weights
from fer_tf.datasets import rendered2
from fer_tf.models import gcnet
from fer_tf.records import CLASSES

FOLDER = Path(__file__).resolve().parents[1] / "weights"
FILES = sorted(FOLDER.glob("*.h5"))
LAST = 4
"""Number of an expression's last frame in rendered2's lab: its apex."""
NO_RECOGNISER = (None, "de_gan.DEGAN")
RECOGNISERS = [path.stem for path in FILES if weights.provenance(path).get("model") not in NO_RECOGNISER]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_is_the_one_of_the_table(path):
    digest = weights.sha256(path)
    row = f"| `{path.name}` | {path.stat().st_size / 1e6:.1f} MB, `{digest}` |"
    assert row in (FOLDER / "README.md").read_text(), row
    assert path.stat().st_size < 25e6
    weights.verify(path, digest)
    about = weights.provenance(path)
    assert about["data"] and about["commit"] and about["command"]


@pytest.mark.parametrize("name", RECOGNISERS)
def test_recogniser_names_a_face(name):
    face = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    model = export.released(name)
    model = model.beside(255 - face) if model.refers else model
    p = model(face)
    assert p.shape == (1, len(model.classes)) and np.isclose(p.sum(), 1, atol=1e-5)


def test_encoders_fit_gcnet():
    model = gcnet.GCNet()
    before = [np.array(v) for v in (*model.generator_net.encoder.weights, *model.encoder2.weights)]
    weights.load(model, weights.released("gcnet_encoder1_rendered"), only="generator/encoder1")
    weights.load(model, weights.released("gcnet_encoder2_rendered"), only="encoder2")
    after = [np.array(v) for v in (*model.generator_net.encoder.weights, *model.encoder2.weights)]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))


def test_de_gan_carries_expressions_to_its_people():
    """Another person or another source, another face; the same command's classes."""
    model = export.rebuild(weights.released("de_gan_rendered"))
    faces = tf.random.stateless_uniform((2, 96, 96, 1), (0, 1))
    made = [model.transfer(faces, tf.fill((2,), i)).numpy() for i in (0, 41)]
    assert made[0].shape == (2, 96, 96, 1) and np.abs(made[0] - made[1]).mean() > 0.01
    assert model.classes == CLASSES["seven"] and len(model.subjects) == 80 and 0 < made[0].min() < made[0].max() < 1


@pytest.mark.parametrize("name", [name for name in RECOGNISERS if name.endswith("_rendered2")])
def test_rendered2_recogniser_knows_whom_it_has_seen(name):
    """It names most faces of training people, which noise would not; nobody of its parts may be tested with it."""
    model = export.released(name)
    everybody = rendered2.records(part="lab", classes=(*model.classes, "neutral"))
    listed = [r for r in everybody if r.expression in model.classes and r.frame == LAST][::5]
    if model.refers:
        net, rest = export.rebuild(weights.released(name)), [r for r in everybody if r.expression == "neutral"]
        pairs = records.neutral_pairs([*listed, *rest], model.classes)[0]
        made = pipeline.batches(
            [*listed, *rest], classes=model.classes, template=gcnet.TEMPLATE, views=gcnet.views, batch_size=64,
            training=False, pairs=pairs,
        )  # fmt: skip
        found = np.concatenate([net.classify(net.asked(batch)) for batch in made.epoch(0)])
    else:
        found = model([pipeline.face(r, model.template, 3) for r in listed])
    named = np.array(model.classes)[found.argmax(-1)]
    assert np.mean(named == [r.expression for r in listed]) > (0.95 if model.refers else 0.4), name
    seen = weights.provenance(weights.released(name))["datasets"]
    assert all(any(provenance.share_people(f"rendered2/{part}", s) for s in seen) for part in ("lab", "wild"))
    assert not any(provenance.share_people("rendered2/judge", s) for s in seen)
