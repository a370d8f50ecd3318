"""fer_tf.nets.backbones: sizes, depths and maps of the trunks, and what their weights expect."""

import numpy as np
import pytest
import tensorflow as tf

from fer_tf.compat import keras
from fer_tf.nets import backbones


def count(net):
    return sum(int(np.prod(v.shape)) for v in net.trainable_variables)


@pytest.mark.parametrize(
    "network, millions",
    [("resnet18", 11.18), ("resnet38", 19.88), ("resnet50", 23.53), ("resnet101", 42.6)],
)
def test_residual_trunks(network, millions):
    """Parameters in millions, as the networks are known for, and maps at 1/4 to 1/32 of 64 pixels."""
    net = backbones.build_trunk(network)
    total = count(net) / 1e6
    assert total == pytest.approx(millions, rel=0.01)
    shapes = [tuple(m.shape[1:3]) for m in net(tf.zeros((1, 64, 64, 3)))[:-1]]
    assert shapes == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize("network", ["resnet10", "resnet38"])
def test_a_residual_trunk_by_hand(network):
    """Table 1: 7x7 of stride 2, pooling, four stages of which the last three halve the sides; ReLU after the sum."""
    net = backbones.build_trunk(network, width=1 / 16)
    numbers = np.random.default_rng(0)
    for v in net.weights:  # norms about one, and moving statistics of their own
        inputs = np.prod(v.shape[:-1]) if len(v.shape) > 1 else 1
        v.assign(
            numbers.normal(0, 1 / inputs**0.5, v.shape) if len(v.shape) > 1 else numbers.uniform(0.5, 1.5, v.shape)
        )

    def block(x, name, stride=1, relu=True):
        layer, norm = net.get_layer(f"{name}_conv"), net.get_layer(f"{name}_norm")
        x = norm(tf.nn.conv2d(x, layer.kernel, stride, "SAME"), training=False)
        return tf.nn.relu(x) if relu else x

    face = tf.random.stateless_uniform((2, 64, 64, 3), (0, 1), -1, 1)
    first, *stages, features = net(face, training=False)
    x = block(face, "first", 2)
    np.testing.assert_allclose(first, x, rtol=1e-3, atol=1e-4)
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    kind, counts = backbones.RESIDUAL[network]
    parts = ("a", "b") if kind == "basic" else ("a", "b", "c")
    names = {layer.name for layer in net.layers}
    for stage, (count_of_blocks, maps) in enumerate(zip(counts, stages, strict=True), 1):
        for i in range(count_of_blocks):
            name, stride = f"stage{stage}_{i}", 2 if stage > 1 and i == 0 else 1
            skip = block(x, f"{name}_skip", stride, relu=False) if f"{name}_skip_conv" in names else x
            for part in parts:
                x = block(x, f"{name}_{part}", stride if part == "a" else 1, relu=part != parts[-1])
            x = tf.nn.relu(x + skip)
        np.testing.assert_allclose(maps, x, rtol=2e-3, atol=1e-3 * np.abs(x).max())
    np.testing.assert_allclose(features, tf.reduce_mean(x, (1, 2)), rtol=2e-3, atol=1e-3 * np.abs(x).max())
    assert np.std(features, 0).max() > 1e-3


def test_depths():
    """ResNet-N has N layers with weights, shortcuts not counted, the softmax's among them."""
    for network, (kind, counts) in backbones.RESIDUAL.items():
        assert sum(counts) * (2 if kind == "basic" else 3) + 2 == int(network[6:])
        net = backbones.build_trunk(network, width=1 / 16)
        found = [x for x in net.layers if isinstance(x, keras.layers.Conv2D) and "skip" not in x.name]
        assert len(found) + 1 == int(network[6:])


@pytest.mark.parametrize("network", ["alexnet", "vgg16", "vgg19"])
def test_other_trunks(network):
    net = backbones.build_trunk(network, size=64, width=1 / 32)
    outputs = net(backbones.preprocess(tf.zeros((2, 64, 64, 1)), network, 1 / 32))
    assert all(len(m.shape) == 4 for m in outputs[:-1]) and outputs[-1].shape == (2, 128)
    convolutions = [x for x in net.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == {"alexnet": 5, "vgg16": 13, "vgg19": 16}[network]


def test_applications_see_what_their_weights_expect():
    image = tf.constant([[[[1.0, 0.5, 0.0]]]])
    theirs = keras.applications.resnet50.preprocess_input(255 * image.numpy())
    np.testing.assert_allclose(backbones.preprocess(image, "resnet50"), theirs, atol=1e-4)
    np.testing.assert_allclose(backbones.preprocess(image, "resnet18"), 2 * image - 1)


def test_trunks_that_cannot_be_had(tmp_path):
    with pytest.raises(ValueError, match="Unknown network 'lenet'"):
        backbones.build_trunk("lenet")
    with pytest.raises(ValueError, match="no imagenet weights for resnet18"):
        backbones.build_trunk("resnet18", weights="imagenet")
    with pytest.raises(FileNotFoundError, match="There is no file nothing.h5"):
        backbones.build_trunk("vgg16", weights="nothing.h5")
    (tmp_path / "bad.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="bad.h5 weights of resnet50 cannot be had"):
        backbones.build_trunk("resnet50", weights=tmp_path / "bad.h5")


def test_a_file_of_keras_is_loaded(tmp_path):
    """keras.applications' own file, which a machine without network may have."""
    source = keras.applications.ResNet50(include_top=False, weights=None)
    source.save_weights(tmp_path / "resnet50.weights.h5")
    net = backbones.build_trunk("resnet50", weights=tmp_path / "resnet50.weights.h5")
    name = "conv3_block2_2_conv"
    np.testing.assert_array_equal(net.get_layer(name).kernel, source.get_layer(name).kernel)
