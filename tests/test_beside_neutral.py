"""A model that compares a face with a neutral one of the same person: exported, loaded, asked, bound to one person."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import conversion, export, pipeline, recognise, weights
from fer_tf.models import fer_net, gcnet
from fer_tf.records import CLASSES, Record


def face(seed: int, height: int = 66, width: int = 66) -> np.ndarray:
    """Smooth noise, (H, W, 3) uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def net() -> gcnet.GCNet:
    """A small GCNet that compares with the face it is given, and tells faces and references apart."""
    made = gcnet.GCNet(classes=CLASSES["six"], variant="S0R0", generator="given", delta="plain", width=1 / 8)
    made.head.kernel.assign(2.0 * np.random.default_rng(0).standard_normal(made.head.kernel.shape).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    """Its export, and its weights file beside it."""
    place = tmp_path_factory.mktemp("beside")
    assert 0 <= export.save(net, place / "export", metadata={"data": "noise"}) <= export.TOLERANCE
    about = {"model": "gcnet.GCNet", "config": {k: v for k, v in net.get_config().items() if k != "name"}}
    weights.save(net, place / "net.h5", provenance=about)
    return place


def expected(net, images, references) -> np.ndarray:
    """What the Keras model says of framed faces, each beside its reference, through the pipeline."""
    records = [Record(image, info={"framed": True}) for image in (*images, *references)]
    count = len(images)
    pairs = {"image": [*range(count)], "reference": [*range(count, 2 * count)]}
    options = {"classes": net.classes, "template": gcnet.TEMPLATE, "views": gcnet.views, "batch_size": 8}
    made = pipeline.batches(records, training=False, pairs=pairs, **options)
    return np.concatenate([net.classify(net.asked(batch)).numpy() for batch in made.epoch(0)])


@pytest.mark.parametrize("how", ["model", "export", "weights"])
def test_faces_of_one_person_beside_their_neutral_face(net, folder, how):
    predictor = {
        "model": lambda: export.predictor(net),
        "export": lambda: export.load(folder / "export"),
        "weights": lambda: recognise.predictor(folder / "net.h5"),
    }[how]()
    faces, neutral = [face(1), face(2, 90, 60), face(3)[..., :1]], face(4, 120, 120)
    found = predictor.beside(neutral)(faces)
    whole = [np.broadcast_to(one, (*one.shape[:2], 3)) for one in faces]
    np.testing.assert_allclose(found, expected(net, whole, [neutral] * 3), atol=1e-5)
    assert np.abs(predictor.beside(face(5))(faces) - found).max() > 0.01  # the reference counts
    np.testing.assert_allclose(predictor.beside(Image.fromarray(neutral))(faces[0]), found[:1], atol=1e-5)
    assert predictor.refers and predictor.metadata["reference"].startswith("a neutral face of the same person")
    bound = predictor.beside(neutral)
    assert not bound.refers and "reference" not in bound.metadata and bound.metadata["beside"] == "one neutral face"


def test_signatures_take_one_neutral_face_for_all_or_one_for_each(net, folder):
    loaded = tf.saved_model.load(str(folder / "export"))
    default, from_bytes = loaded.signatures["serving_default"], loaded.signatures["serving_bytes"]
    assert sorted(default.structured_input_signature[1]) == ["faces", "references"]
    assert sorted(from_bytes.structured_input_signature[1]) == ["images", "references"]
    faces, neutral = [face(i) for i in range(3)], [face(i, 80, 70) for i in range(7, 10)]
    stacks = tf.constant(np.stack(faces)), tf.constant(np.stack(neutral))
    each, of_all = expected(net, faces, neutral), expected(net, faces, [neutral[0]] * 3)
    assert np.abs(each - of_all)[1:].max() > 0.01
    for references, right in ((stacks[1], each), (stacks[1][:1], of_all)):
        answer = default(faces=stacks[0], references=references)
        np.testing.assert_allclose(answer["probabilities"], right, atol=1e-5)
        assert [name.decode() for name in answer["label"].numpy()] == [net.classes[k] for k in right.argmax(-1)]
    files = {"images": tf.constant([*map(png, faces)]), "references": tf.constant([*map(png, neutral)])}
    np.testing.assert_allclose(from_bytes(**files)["probabilities"], each, atol=1e-5)
    files["references"] = files["references"][:1]
    np.testing.assert_allclose(from_bytes(**files)["probabilities"], of_all, atol=1e-5)
    assert default(faces=stacks[0][:0], references=stacks[1][:1])["probabilities"].shape == (0, 6)
    assert default(faces=stacks[0][:0], references=stacks[1][:0])["probabilities"].shape == (0, 6)
    for several in (0, 2, 4):  # none is not a black face
        with pytest.raises(tf.errors.InvalidArgumentError, match="one for all faces is wanted, or one for each"):
            default(faces=stacks[0], references=tf.repeat(stacks[1][:1], several, axis=0))
    told = json.loads(loaded.metadata().numpy())
    assert told["reference"] and told["data"] == "noise" and "tolerance" not in told


def test_a_wrong_reference_is_noticed_by_the_check(net, folder, monkeypatch):
    """The export is compared beside references that differ from face to face."""
    wrong = lambda serve, about, images, references: export.Predictor(  # noqa: E731
        lambda faces: serve(faces=faces, references=tf.constant(references[0][None])), export._of_one(about)
    )(images)
    shown = [face(i) for i in range(4)]
    assert export.check(net, folder / "export", shown) <= export.TOLERANCE
    monkeypatch.setattr(export, "_answers", wrong)
    with pytest.raises(ValueError, match="serving_default differs from the Keras model"):
        export.check(net, folder / "export", shown)


def test_what_compares_is_not_asked_alone_and_what_does_not_has_no_use_for_a_neutral_face(net, tmp_path):
    predictor = export.predictor(net)
    for asked in (lambda: predictor(face(1)), lambda: recognise.faces(face(1), model=predictor)):
        with pytest.raises(ValueError, match="compares each face with a neutral one .* recognise.beside or predict"):
            asked()
    with pytest.raises(ValueError, match="compares each face with a neutral one"):
        conversion.save(predictor, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
    other = export.predictor(fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=8))
    with pytest.raises(ValueError, match="looks at a face alone .* leave that out, or take a model that compares"):
        other.beside(face(1))
    with pytest.raises(ValueError, match=r"A face is uint8 \(H, W\) or \(H, W, 1\|3\): this one is float64"):
        predictor.beside(face(1) / 255)


def test_metadata_of_others_do_not_make_a_model_compare(tmp_path):
    """An export of before may have a word of its own there; what is written now may not."""
    alone = export.predictor(fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=8))
    before = export.Predictor(alone._serve, {**alone.metadata, "reference": "Kim et al. (2017)"})
    assert not before.refers and before(face(1)).shape == (1, 6)
    shift = np.array([5e-3, -5e-3, 0, 0, 0, 0], np.float32)
    other = export.Predictor(
        lambda faces: {"probabilities": alone._serve(faces)["probabilities"] + shift}, alone.metadata
    )
    for word in ("strict", 1.0, True):
        told = export.Predictor(alone._serve, {**alone.metadata, "tolerance": word})
        with pytest.raises(ValueError, match="where at most 1e-05 is allowed"):
            conversion.check(told, other, [face(1)], "onnx", "none")
    for name in ("reference", "tolerance", "beside"):
        with pytest.raises(ValueError, match=f"The metadata {name} are filled in by the export"):
            export.save(fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=8), tmp_path / "x",
                        metadata={name: "mine"})  # fmt: skip


def test_a_picture_beside_a_picture(net, folder, tmp_path):
    data = pytest.importorskip("skimage.data")
    astronaut = data.astronaut()
    darker = astronaut[:, ::-1] // 2
    anna = recognise.beside(Image.fromarray(darker), model=folder / "net.h5")
    (found,) = recognise.photo(astronaut, model=anna, all_faces=False)
    cut = [pipeline.face(Record(picture), gcnet.TEMPLATE, 3) for picture in (astronaut, darker)]
    right = expected(net, cut[:1], cut[1:])[0]
    np.testing.assert_allclose([*found.probabilities.values()], right, atol=1e-4)
    assert found.expression == net.classes[right.argmax()]
    (alike,) = recognise.faces(cut[0], model=recognise.predictor(folder / "net.h5").beside(cut[1]))
    np.testing.assert_allclose([*alike.probabilities.values()], right, atol=1e-5)
    with pytest.raises(ValueError, match="no face was found in the neutral picture"):
        recognise.beside(np.full((90, 120, 3), 130, np.uint8), model=folder / "net.h5")
    with pytest.raises(ValueError, match="looks at a face alone"):
        recognise.beside(astronaut, model="fer_net")
    with pytest.raises(FileNotFoundError):
        recognise.beside(tmp_path / "nobody.jpg", model=folder / "net.h5")


def test_onnx_of_one_person(net, folder, tmp_path):
    """The neutral face is in the file."""
    for name in conversion.PACKAGES["onnx"]:
        pytest.importorskip(name)
    for predictor in (export.predictor(net), export.load(folder / "export")):
        bound = predictor.beside(face(4))
        assert conversion.save(bound, tmp_path / "anna.onnx", faces=[face(1), face(2)]) <= 1e-5
        found = conversion.load(tmp_path / "anna.onnx")
        np.testing.assert_allclose(found(face(3)), expected(net, [face(3)], [face(4)]), atol=1e-5)
        for one in (bound, found):
            with pytest.raises(ValueError, match="is beside one person's neutral face already"):
                one.beside(face(5))


def test_what_a_format_cannot_hold_gets_one_sentence(net, tmp_path):
    with pytest.raises(ValueError, match="LiteRT has no form of one of this model's operations"):
        conversion.save(export.predictor(net).beside(face(4)), tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


def test_a_network_with_switches_says_how_far_two_computations_are_apart(net, tmp_path, monkeypatch):
    """Unpooling: one that generates is compared to 1e-3, and says so; one that is given a face to 1e-5."""
    generates = gcnet.GCNet(classes=CLASSES["six"], variant="S0R0", width=1 / 8)
    answered = export._answers
    shift = np.array([5e-4, -5e-4, 0, 0, 0, 0], np.float32)
    monkeypatch.setattr(export, "_answers", lambda *given: answered(*given) + shift)
    assert 4e-4 < export.save(generates, tmp_path / "generates") < 1e-3
    about = json.loads((tmp_path / "generates" / "assets" / "metadata.json").read_text())
    assert about["tolerance"] == gcnet.SWITCHES == 1e-3
    with pytest.raises(ValueError, match=r"differs from the Keras model by 0.0005\d* where at most 1e-05"):
        export.save(net, tmp_path / "given")
    told = export.load(tmp_path / "generates")
    serve = lambda faces: {"probabilities": told._serve(faces=faces)["probabilities"] + shift}  # noqa: E731
    assert conversion.check(told, export.Predictor(serve, told.metadata), [face(1)], "onnx", "none") > 4e-4
