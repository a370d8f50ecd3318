"""fer_tf.export: the SavedModel gives what the pipeline and the Keras model give, or nothing is written."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import compat, export, pipeline, weights
from fer_tf.compat import keras
from fer_tf.faces import TEMPLATES
from fer_tf.models import fer_net
from fer_tf.records import CLASSES, Record

BICUBIC = Image.Resampling.BICUBIC


def model(**options) -> fer_net.FERNet:
    """A small FER-Net whose outputs are neither uniform nor certain."""
    keras.utils.set_random_seed(3)
    made = fer_net.FERNet(classes=CLASSES["six"], width=4, blocks=1, hidden=8, **options)
    made.head.kernel.assign(2.0 * np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32))
    return made


def face(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, (H, W, channels) uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, channels), np.uint8)
    layers = [np.asarray(Image.fromarray(small[..., c]).resize((width, height), BICUBIC)) for c in range(channels)]
    return np.stack(layers, axis=-1)


def encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def by_pipeline(net, images) -> np.ndarray:
    """Probabilities of framed records through the pipeline."""
    records = [Record(image, info={"framed": True}) for image in images]
    options = {"classes": net.classes, "template": fer_net.TEMPLATE, "views": fer_net.views, "batch_size": 4}
    return np.concatenate([net(b).numpy() for b in pipeline.batches(records, training=False, **options).dataset()])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model, folder, the difference that `save` measured)."""
    net, path = model(), tmp_path_factory.mktemp("export") / "deeper" / "fer_net"
    return net, path, export.save(net, path, metadata={"data": "rendered", "metric": {"micro": 0.5}})


@pytest.mark.parametrize("shape", [(70, 70), (48, 48), (200, 200), (33, 97), (90, 60), (1, 5), (3, 211)])
@pytest.mark.parametrize("channels", [1, 3])
def test_framed_is_pillows_resizing_and_grey_bit_for_bit(shape, channels):
    image = np.random.default_rng(1).integers(0, 2, (*shape, channels), np.uint8) * 255  # overshoots at every edge
    picture = Image.fromarray(image[..., 0] if channels == 1 else image).convert("RGB")
    picture = picture.resize((70, shape[0]), BICUBIC).resize((70, 70), BICUBIC)
    batch = tf.constant(np.stack([image, 255 - image]))
    assert (export.framed(batch, (70, 70), 3)[0].numpy() == np.asarray(picture)).all()
    assert (export.framed(batch, (70, 70), 1)[0, ..., 0].numpy() == np.asarray(picture.convert("L"))).all()
    turned = Image.fromarray(255 - np.asarray(image[..., 0] if channels == 1 else image))
    turned = turned.resize((70, shape[0]), BICUBIC).resize((70, 70), BICUBIC).convert("L")
    assert (export.framed(batch, (70, 70), 1)[1, ..., 0].numpy() == np.asarray(turned)).all()


def test_a_tall_photograph_differs_from_the_pipeline_by_a_grey_level_at_most():
    data = pytest.importorskip("skimage.data")
    tall = data.astronaut()[60:190, 175:275]
    found = export.framed(tf.constant(tall[None]), (70, 70), 1)[0].numpy().astype(int)
    expected = pipeline.face(Record(tall, info={"framed": True}), "ia_gen")
    assert found.std() > 20 and np.abs(found - expected).max() <= 1


def test_export_agrees_with_the_pipeline(exported):
    net, path, difference = exported
    assert 0 <= difference <= export.TOLERANCE
    images = [face(70, 70, 1), face(48, 48, 1, 1), face(128, 128, 3, 2), face(70, 70, 3, 3), face(60, 90, 3, 4)]
    expected = by_pipeline(net, images)
    assert expected.max() < 0.999 and np.ptp(expected, axis=0).max() > 0.01  # the comparison can fail
    np.testing.assert_allclose(export.load(path)(images), expected, atol=1e-5)
    np.testing.assert_allclose(export.predictor(net)(images), expected, atol=1e-5)
    assert export.check(net, path, images) <= 1e-5


def test_signatures_take_and_give_what_is_documented(exported):
    net, path, _ = exported
    loaded = tf.saved_model.load(str(path))
    default, from_bytes = loaded.signatures["serving_default"], loaded.signatures["serving_bytes"]
    assert set(loaded.signatures) == {"serving_default", "serving_bytes"}
    (spec,) = default.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("faces", tf.uint8, [None] * 4)
    (spec,) = from_bytes.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == ("images", tf.string, [None])
    faces = np.stack([face(80, 80, 3, seed) for seed in range(4)])
    answer = {key: value.numpy() for key, value in default(faces=tf.constant(faces)).items()}
    assert set(answer) == {"probabilities", "classes", "label", "confidence"}
    assert answer["probabilities"].dtype == np.float32
    names = np.array(net.classes)[answer["probabilities"].argmax(-1)]
    assert [label.decode() for label in answer["label"]] == list(names)
    assert [[name.decode() for name in row] for row in answer["classes"]] == [list(net.classes)] * 4
    np.testing.assert_array_equal(answer["confidence"], answer["probabilities"].max(-1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 or 3 channels"):
        default(faces=tf.zeros((1, 70, 70, 4), tf.uint8))


def test_bytes_are_decoded_as_pillow_does(exported):
    net, path, _ = exported
    rgb, grey = Image.fromarray(face(90, 90, 3, 5)), Image.fromarray(face(64, 64, 1, 6)[..., 0])
    alpha = Image.fromarray(np.concatenate([face(77, 77, 3, 7), face(77, 77, 1, 8)], axis=-1))
    files = [encoded(rgb, "jpeg"), encoded(grey, "jpeg"), encoded(rgb, "png"), encoded(alpha, "png")]
    found = tf.saved_model.load(str(path)).signatures["serving_bytes"](images=tf.constant(files))
    np.testing.assert_allclose(found["probabilities"].numpy(), by_pipeline(net, files), atol=1e-5)


def test_a_batch_of_none_gives_none(exported):
    loaded = tf.saved_model.load(str(exported[1]))
    default, from_bytes = loaded.signatures["serving_default"], loaded.signatures["serving_bytes"]
    none = [default(faces=tf.zeros((0, 48, 40, channels), tf.uint8)) for channels in (1, 3)]
    for answer in (*none, from_bytes(images=tf.constant([], tf.string))):
        shapes = {name: tuple(value.shape) for name, value in answer.items()}
        assert shapes == {"probabilities": (0, 6), "classes": (0, 6), "label": (0,), "confidence": (0,)}
    predictor = export.load(exported[1])
    assert all(predictor(none).shape == (0, 6) for none in ([], np.zeros((0, 48, 48, 3), np.uint8)))


def test_one_face_is_one_whatever_holds_it(exported):
    """An array and a tensor of (70, 70, 3) are one face, of (2, 70, 70, 3) two; a Pillow image is one."""
    predictor = export.load(exported[1])
    rgb, other, grey = face(70, 70, 3, 2), face(70, 70, 3, 5), face(70, 70, 1, 3)
    expected = predictor([rgb, other, grey])
    assert np.abs(np.diff(expected, axis=0)).max(axis=1).min() > 1e-3
    picture = Image.fromarray(rgb)
    for one in (rgb, tf.constant(rgb), tf.Variable(rgb), picture, picture.convert("RGBA"), [tf.constant(rgb)]):
        np.testing.assert_allclose(predictor(one), expected[:1], atol=1e-6)
    for one in (grey, grey[..., 0], tf.constant(grey), tf.constant(grey[..., 0]), Image.fromarray(grey[..., 0])):
        np.testing.assert_allclose(predictor(one), expected[2:], atol=1e-6)
    two = np.stack([rgb, other])
    for several in (two, tf.constant(two), (picture, tf.constant(other))):
        np.testing.assert_allclose(predictor(several), expected[:2], atol=1e-6)
    with pytest.raises(ValueError, match=r"this one is float32 \(70, 70, 3\)"):
        predictor(tf.zeros((70, 70, 3)))


def test_a_fork_is_refused_instead_of_waiting_for_ever(exported, monkeypatch):
    """Another process's number stands for a fork, which would not come back; also of a model that is loaded there."""
    predictor = export.load(exported[1])
    monkeypatch.setattr(export.os, "getpid", lambda: 1)
    for work in (
        lambda: predictor(face(70, 70, 1, 2)),
        lambda: predictor.beside(face(70, 70, 1, 2)),
        lambda: export.load(exported[1]),
        lambda: export.released("fer_net_fer2013"),
    ):
        with pytest.raises(RuntimeError, match=r"start processes by spawn \(recognise.pool, "):
            work()


def test_classes_and_metadata_are_inside(exported):
    net, path, _ = exported
    loaded, predictor = tf.saved_model.load(str(path)), export.load(path)
    assert [name.decode() for name in loaded.labels().numpy()] == list(net.classes) == list(predictor.classes)
    told = json.loads((path / "assets" / "metadata.json").read_text())
    assert told == json.loads(loaded.metadata().numpy()) == predictor.metadata
    assert told["metric"] == {"micro": 0.5} and told["view_size"] == [64, 64] and told["model"] == "FERNet"
    assert predictor.template == TEMPLATES["ia_gen"]
    assert [entry.name for entry in path.parent.iterdir()] == ["fer_net"]  # no temporary folder is left


def test_predictor_keeps_the_order_of_faces_of_different_sizes(exported, monkeypatch):
    predictor = export.load(exported[1])
    images = [face(50, 50, 1, 1), face(70, 70, 3, 2), face(50, 50, 1, 3), face(50, 50, 1, 4), face(70, 70, 3, 5)]
    alone = np.concatenate([predictor(image) for image in images])
    assert alone.shape == (5, 6) and np.ptp(alone, axis=0).max() > 0.01
    np.testing.assert_allclose(predictor(images), alone, atol=1e-6)
    monkeypatch.setattr(export, "PIXELS", 5000)  # two faces of 50 pixels a call, one of 70
    np.testing.assert_allclose(predictor(images), alone, atol=1e-6)
    np.testing.assert_allclose(predictor(np.stack([images[1], images[4]])), alone[[1, 4]], atol=1e-6)
    np.testing.assert_allclose(predictor(images[0][..., 0]), alone[:1], atol=1e-6)
    assert predictor([]).shape == (0, 6)
    for wrong in (np.zeros((70, 70, 3), np.float32), np.zeros((70, 70, 2), np.uint8), np.zeros((0, 70, 1), np.uint8)):
        with pytest.raises(ValueError, match="A face is uint8"):
            predictor(wrong)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_exported_in_float32(policy, tmp_path):
    plain = model()
    compat.set_policy(policy)
    try:
        half = model()
        half.set_weights(plain.get_weights())
        export.save(half, tmp_path / "half")
        assert keras.mixed_precision.global_policy().name == policy
    finally:
        compat.set_policy("float32")
    images = [face(70, 70, 1, seed) for seed in range(4)]
    np.testing.assert_allclose(export.load(tmp_path / "half")(images), by_pipeline(plain, images), atol=1e-5)
    assert half.trunk.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")
    assert export.in_float32(plain) is plain


def test_any_keras_model_can_be_exported_even_one_that_writes_its_policy_into_its_config(tmp_path):
    keras.utils.set_random_seed(0)
    layers, policy = keras.layers, "mixed_bfloat16"
    inputs = keras.Input((64, 64, 3))
    x = layers.AveragePooling2D(16, dtype=policy)(layers.Conv2D(4, 3, 2, "same", dtype=policy)(inputs))
    outputs = layers.Dense(2, "softmax", dtype="float32")(layers.Flatten(dtype=policy)(x))
    net = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="no views or TEMPLATE"):
        export.save(net, tmp_path / "net", classes=("a", "b"))
    options = {"views": fer_net.views, "template": "ia_gen", "channels": 3}
    assert export.save(net, tmp_path / "net", classes=("a", "b"), **options) <= 1e-5
    twin = export.in_float32(net)
    image = face(70, 70, 3)
    expected = twin(image[None, 3:67, 3:67].astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(export.load(tmp_path / "net")(image), expected, atol=1e-5)


class TwoFaced(fer_net.FERNet):
    """Answers otherwise in a graph than eagerly."""

    def classify(self, images):
        probabilities = super().classify(images)
        return probabilities if tf.executing_eagerly() else tf.reverse(probabilities, [-1])


def test_an_export_that_disagrees_leaves_nothing(tmp_path):
    options = {"views": fer_net.views, "template": fer_net.TEMPLATE}
    wrong = TwoFaced(classes=CLASSES["six"], width=4, blocks=1, hidden=8)
    with pytest.raises(ValueError, match=r"serving_default differs from the Keras model by 0\.\d+"):
        export.save(wrong, tmp_path / "wrong", **options)
    assert list(tmp_path.iterdir()) == []
    export.save(model(), tmp_path / "good", metadata={"which": "first"})
    before = (tmp_path / "good" / "saved_model.pb").read_bytes()
    with pytest.raises(ValueError, match="differs"):
        export.save(wrong, tmp_path / "good", **options)
    assert (tmp_path / "good" / "saved_model.pb").read_bytes() == before
    other = model(name="other")
    other.head.bias.assign(np.arange(6, dtype=np.float32))
    with pytest.raises(ValueError, match="differs"):  # an export of other weights
        export.check(other, tmp_path / "good", [face(70, 70, 1)])
    export.save(other, tmp_path / "good", metadata={"which": "second"})
    assert export.load(tmp_path / "good").metadata["which"] == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["good"]


def test_bad_input_is_refused_before_anything_is_written(tmp_path):
    net, path = model(), tmp_path / "export"
    for options, message in (
        ({"classes": ("a", "b")}, "gives 6 probabilities, and 2 class names"),
        ({"metadata": {"x": float("nan")}}, "JSON"),
        ({"metadata": {"x": {1, 2}}}, "JSON"),
        ({"metadata": {"classes": 3}}, "classes are filled in"),
        ({"template": "unknown"}, "Unknown template 'unknown'"),
    ):
        with pytest.raises(ValueError, match=message):
            export.save(net, path, **options)
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    (path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="is no SavedModel"):
        export.save(net, path)
    assert (path / "mine.txt").read_text() == "keep"
    with pytest.raises(ValueError, match="is no model that fer_tf exported"):
        export.load(path)
    with pytest.raises(FileNotFoundError, match="no exported model"):
        export.load(tmp_path / "nothing")


def test_a_weights_file_says_how_its_model_is_built(tmp_path, monkeypatch):
    net, image = model(), face(64, 64, 3)
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, tmp_path / "tiny.h5", provenance={"config": config})
    predictor = export.from_weights(tmp_path / "tiny.h5")
    assert predictor.classes == net.classes
    np.testing.assert_allclose(predictor(image), by_pipeline(net, [image]), atol=1e-5)
    monkeypatch.setattr(weights, "_folders", lambda: [tmp_path])
    np.testing.assert_array_equal(export.released("tiny")(image), predictor(image))
    weights.save(net, tmp_path / "silent.h5", provenance={})
    with pytest.raises(ValueError, match=r"silent\.h5 does not say how its model was built"):
        export.released("silent")
    with pytest.raises(FileNotFoundError, match="no released weights 'other'"):
        export.released("other")
