"""VGG-16 against keras.applications, whose names, shapes, preprocessing and outputs it has."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from fer_tf import weights
from fer_tf.compat import keras
from fer_tf.models import vgg


@pytest.fixture(scope="module")
def theirs():
    """Keras' VGG-16 without its top, with random kernels and biases."""
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    rng = np.random.default_rng(0)
    model.set_weights([w if w.ndim > 1 else rng.normal(0, 1, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def file(theirs, tmp_path_factory):
    """The same in the layout of the file that Keras publishes: a group a layer, in the order of the layers."""
    path = tmp_path_factory.mktemp("vgg") / "vgg16_notop.h5"
    write(path, [(layer.name, layer.get_weights()) for layer in theirs.layers])
    return path


def write(path, layers):
    """An HDF5 file of (layer name, kernel and bias, or nothing) pairs as old Keras wrote them."""
    with h5py.File(path, "w") as target:
        target.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group, names = target.create_group(name), [f"{name}_W_1:0", f"{name}_b_1:0"][: len(arrays)]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for n, array in zip(names, arrays, strict=True):
                group[n] = array


def convolutions(model):
    """{name: [shape of the kernel, of the bias]} in the order of the layers."""
    return {y.name: [w.shape for w in y.get_weights()] for y in model.layers if isinstance(y, keras.layers.Conv2D)}


def test_parameters_names_and_shapes(theirs):
    """14,714,688 in the convolutions: the 138 million of the VGG paper's Table 2 without 124 million dense ones."""
    trunk = vgg.build_trunk(hidden=2)
    found = convolutions(trunk)
    assert found == convolutions(theirs) and list(found) == list(convolutions(theirs)) and len(found) == 13
    assert sum(int(np.prod(shape)) for shapes in found.values() for shape in shapes) == 14_714_688
    dense = [w.shape for name in ("fc1", "fc2") for w in trunk.get_layer(name).get_weights()]
    assert dense == [(2 * 2 * 512, 2), (2,), (2, 2), (2,)]


def test_hidden_layers_are_the_papers():
    """Two of 4096 units with dropout 0.5 behind each, whose masks differ."""
    model = vgg.VGGNet(width=1 / 16)
    between = model.trunk.get_layer("fc1_dropout")
    assert [model.trunk.get_layer(name).units for name in ("fc1", "fc2")] == [4096, 4096]
    assert (between.rate, model.hidden_dropout.rate) == (0.5, 0.5)
    assert between.seed != model.hidden_dropout.seed


def test_weights_of_keras_give_their_outputs(theirs, file):
    """From the file: relu2_2 is phi, and pool5 is what the first hidden layer sees."""
    model = vgg.VGGNet(hidden=4, weights=file)
    images = tf.random.stateless_uniform((2, 64, 64, 1), (1, 2))
    given = keras.applications.vgg16.preprocess_input(np.repeat(images, 3, -1) * 255.0)
    both = keras.Model(theirs.inputs, [theirs.get_layer("block2_conv2").output, theirs.outputs[0]])
    maps, pooled = (np.array(x) for x in both(given))
    assert maps.shape == (2, 32, 32, 128) and maps.std() > 0.1 and pooled.std() > 0.1
    np.testing.assert_allclose(model.maps(images), maps / 12.75, rtol=1e-4, atol=1e-4)
    (w1, b1), (w2, b2) = (model.trunk.get_layer(name).get_weights() for name in ("fc1", "fc2"))
    hidden = np.maximum(pooled.reshape(2, -1) @ w1 + b1, 0)
    np.testing.assert_allclose(model.features(images), np.maximum(hidden @ w2 + b2, 0), rtol=1e-3, atol=1e-3)


def test_config_needs_no_file(file):
    model = vgg.VGGNet(hidden=4, weights=file, classes=("anger", "fear"), dropout=0.25, seed=3)
    config = model.get_config()
    assert config["weights"] is None and (config["hidden"], config["width"], config["seed"]) == (4, 1.0, 3)
    twin = vgg.VGGNet.from_config(config)
    assert twin.get_config() == config
    assert np.any(twin.get_weights()[0] != model.get_weights()[0])
    assert twin.trunk.get_layer("fc1_dropout").rate == 0.25


def test_what_is_no_file_of_keras_is_refused(theirs, file, tmp_path):
    with pytest.raises(ValueError, match="width=1"):
        vgg.VGGNet(hidden=4, width=0.5, weights=file)
    with pytest.raises(FileNotFoundError, match="imagenet"):
        vgg.VGGNet(hidden=4, weights=tmp_path / "none.h5")
    write(tmp_path / "short.h5", [(layer.name, layer.get_weights()) for layer in theirs.layers[:9]])
    (tmp_path / "text.h5").write_text("no HDF5")
    small = vgg.VGGNet(hidden=4, width=1 / 16)
    weights.save(small, tmp_path / "own.h5", provenance={})
    for name in ("short", "text", "own"):
        with pytest.raises(ValueError, match="without its top") as error:
            vgg.VGGNet(hidden=4, weights=tmp_path / f"{name}.h5")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_preprocess_is_keras(channels):
    """On the grey faces: ITU-R BT.601's grey where they are in colour."""
    images = np.random.default_rng(0).uniform(0, 1, (3, 16, 16, channels)).astype(np.float32)
    grey = images if channels == 1 else images @ np.array([[0.2989], [0.587], [0.114]], np.float32)
    expected = keras.applications.vgg16.preprocess_input(np.repeat(grey, 3, -1) * 255.0)
    np.testing.assert_allclose(vgg.preprocess(images), expected, atol=1e-3)


def test_features_feed_the_logits():
    """Feat is the last hidden layer, after its ReLU: logits = Feat @ kernel + bias."""
    model, batch = vgg.tiny()
    features = model.features(batch["image"]).numpy()
    kernel, bias = (np.array(v) for v in model.head.weights)
    assert features.shape == (6, 16) and features.dtype == np.float32 and features.min() >= 0 and features.max() > 0
    np.testing.assert_allclose(model.logits(batch["image"]), features @ kernel + bias, atol=1e-4)


def test_fresh_logits_are_small():
    """No norm holds the scale of the pixels; the initialisation does (He's gives logits of 50 to 350 here)."""
    keras.utils.set_random_seed(0)
    model = vgg.VGGNet(width=1 / 16, hidden=16)
    assert np.abs(model.logits(tf.random.stateless_uniform((6, 64, 64, 1), (1, 2)))).max() < 10
