"""fer_tf.weights: round trips through a model with everything in it, and every refusal."""

import hashlib
import importlib.metadata
import json

import h5py
import numpy as np
import pytest

from fer_tf import weights
from fer_tf.compat import keras, own_variables, sublayers

layers = keras.layers
PROVENANCE = {
    "command": "python -m experiments.fer_net",
    "commit": "abc",
    "data": "sha256:12",
    "metric": {"micro": 0.7},
}


def net(name: str, classes: int = 3, before: int = 0) -> keras.Model:
    """A functional net with a convolution, moving statistics, dropout and a dense layer."""
    for _ in range(before):
        layers.Dense(1)
    image = layers.Input((6, 6, 1))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(2, 3, use_bias=False, name="conv1")(image))
    x = layers.Dropout(0.5, seed=1)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name=name)


class Block(layers.Layer):
    """A layer with a variable of its own and sublayers in a list."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = [layers.Dense(3, name="first"), layers.Dense(2, name="second")]

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="uniform")
        self.step = self.add_weight(name="seed_step", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.built = True

    def call(self, x):
        return self.inner[1](self.inner[0](x * self.scale))


class Pair(keras.Model):
    """A subclassed model: two functional nets, a functional in a functional, a Sequential, a dict, a metric."""

    def __init__(self, classes: int = 3, **options):
        super().__init__(**options)
        self.encoder = net("encoder")
        image = layers.Input((6, 6, 1))
        self.outer = keras.Model(image, layers.Dense(4, name="top")(net("nested", classes)(image)), name="outer")
        self.tail = keras.Sequential([layers.Dense(5, name="fc"), layers.PReLU(name="slope")], name="tail")
        self.middle = Block(name="middle")
        self.heads = {"left": layers.Dense(2, name="left")}
        self.tracker = keras.metrics.Mean(name="loss")
        self.again = self.encoder  # the same net twice: stored once

    def call(self, x):
        return self.heads["left"](self.middle(self.tail(self.outer(x)))) + self.encoder(x)[:, :2]


def pair(classes: int = 3, seed: int = 0) -> Pair:
    """A built Pair whose every variable, moving statistics included, is drawn from the seed."""
    model = Pair(classes)
    model(np.zeros((1, 6, 6, 1), np.float32))
    rng = np.random.default_rng(seed)
    model.middle.step.assign(seed)
    for variable in stored_variables(model):
        variable.assign(rng.uniform(0.1, 1, tuple(variable.shape)).astype(np.float32))
    return model


def stored_variables(model) -> list:
    own = [variable for variable in own_variables(model) if "seed_step" not in variable.name]
    return own + [variable for child in sublayers(model) for variable in stored_variables(child)]


def outputs(model) -> np.ndarray:
    return np.asarray(model(np.random.default_rng(9).random((2, 6, 6, 1), np.float32), training=False))


def keys(path) -> set[str]:
    found = set()
    with h5py.File(path) as file:
        file.visititems(lambda key, item: found.add(key) if isinstance(item, h5py.Dataset) else None)
    return found


def test_round_trip_and_keys(tmp_path):
    path = tmp_path / "new" / "pair.h5"
    model, other = pair(seed=1), pair(seed=2)
    written = weights.save(model, path, provenance=PROVENANCE)
    assert not np.allclose(outputs(model), outputs(other))
    weights.load(other, path)
    np.testing.assert_array_equal(outputs(model), outputs(other))
    for mine, theirs in zip(stored_variables(model), stored_variables(other), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert (int(model.middle.step.numpy()), int(other.middle.step.numpy())) == (1, 2)  # seed state stays where it was
    body = {"conv1/kernel", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"}
    body |= {"logits/kernel", "logits/bias"}
    assert keys(path) == {
        *(f"encoder/{key}" for key in body),
        *(f"outer/nested/{key}" for key in body),
        *(f"{layer}/{v}" for layer in ("outer/top", "tail/fc", "left") for v in ("kernel", "bias")),
        *(f"middle/{key}" for key in ("scale", "first/kernel", "first/bias", "second/kernel", "second/bias")),
        "tail/slope/alpha",
    }
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["outer/top/kernel"][()], model.outer.get_layer("top").kernel.numpy())
    assert [p.name for p in path.parent.iterdir()] == ["pair.h5"]
    recorded = weights.provenance(path)
    assert recorded == written
    assert {**recorded, **PROVENANCE} == recorded
    assert set(recorded) == set(weights.PROVENANCE)
    assert recorded["versions"]["keras"] == importlib.metadata.version("keras")
    assert recorded["precision"] == "float32"


def test_keys_do_not_depend_on_the_process(tmp_path):
    weights.save(net("first"), tmp_path / "a.h5", provenance={})
    weights.save(net("second", before=5), tmp_path / "b.h5", provenance={})
    assert keys(tmp_path / "a.h5") == keys(tmp_path / "b.h5")
    assert "conv1/kernel" in keys(tmp_path / "a.h5")  # the outermost name is left out


def test_automatic_names_are_refused(tmp_path):
    image = layers.Input((4,))
    inner = keras.Model(image, layers.Dense(2)(layers.Dense(3, name="fc1")(image)), name="inner")
    with pytest.raises(ValueError, match=r"names of their own.*: inner/dense"):
        weights.save(keras.Model(image, inner(image)), tmp_path / "x.h5", provenance={})
    nameless = keras.Model(image, layers.Dense(2, name="fc")(image))
    with pytest.raises(ValueError, match=r"names of their own.*: (functional|model)"):
        weights.save(keras.Model(image, nameless(image), name="m"), tmp_path / "x.h5", provenance={})
    weights.save(nameless, tmp_path / "ok.h5", provenance={})  # of the outermost the name does not matter
    shared = keras.Sequential([image, layers.Dense(2, name="fc")], name="shared")

    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.view = keras.Model(image, shared(image))  # an unnamed view on a named net
            self.shared = shared

    weights.save(Two(), tmp_path / "two.h5", provenance={})
    assert keys(tmp_path / "two.h5") == {"shared/fc/kernel", "shared/fc/bias"}


def test_unbuilt_and_ambiguous_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no weights"):
        weights.load(keras.Sequential([layers.Flatten()]), tmp_path / "x.h5")
    late = Pair()
    with pytest.raises(ValueError, match="not built"):
        weights.save(late, tmp_path / "x.h5", provenance={})

    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = net("same"), net("same")

    with pytest.raises(ValueError, match=r"two variables have the path same/conv1/kernel"):
        weights.save(Twice(), tmp_path / "x.h5", provenance={})
    assert not list(tmp_path.iterdir())


def test_misfits_are_all_listed_and_nothing_is_loaded(tmp_path):
    path = tmp_path / "pair.h5"
    weights.save(pair(classes=3, seed=1), path, provenance=PROVENANCE)
    other = pair(classes=7, seed=2)
    before = outputs(other)
    with pytest.raises(ValueError) as caught:
        weights.load(other, path)
    message = str(caught.value)
    for part in (
        "outer/nested/logits/kernel is (32, 3) in the file and (32, 7) in the model",
        "outer/top/kernel is (3, 4)",
    ):
        assert part in message
    np.testing.assert_array_equal(outputs(other), before)
    with pytest.raises(ValueError, match=r"lacks conv1/kernel \(3, 3, 1, 2\), .*; the model lacks enc.* and 18 more"):
        weights.load(net("encoder"), path)
    weights.load(other, path, skip=("outer/nested/logits", "outer/top"))
    np.testing.assert_array_equal(
        other.encoder.get_layer("conv1").kernel.numpy(), pair(3, 1).encoder.get_layer("conv1").kernel.numpy()
    )
    np.testing.assert_array_equal(
        other.outer.get_layer("top").kernel.numpy(), pair(7, 2).outer.get_layer("top").kernel.numpy()
    )
    with pytest.raises(ValueError, match=r"skip='outer/nested/logit' names no layer; .*outer/nested/logits"):
        weights.load(other, path, skip="outer/nested/logit")


def arrays(path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {key: file[key][()] for key in keys(path)}


def test_one_layer_alone_is_written_and_read(tmp_path):
    part, whole, before, after = (tmp_path / f"{name}.h5" for name in ("part", "whole", "before", "after"))
    model, below = pair(3, 1), "outer/nested/"
    with pytest.raises(ValueError, match="only='outer/nest' names no layer"):
        weights.save(model, part, provenance=PROVENANCE, only="outer/nest")
    assert not part.exists()
    weights.save(model, part, provenance=PROVENANCE, only="outer/nested")
    weights.save(model, whole, provenance=PROVENANCE)
    assert arrays(part) and all(key.startswith(below) for key in arrays(part))
    for file in (part, whole):
        other = pair(3, 2)
        weights.save(other, before, provenance=PROVENANCE)
        weights.load(other, file, only="outer/nested")
        weights.save(other, after, provenance=PROVENANCE)
        old, new, given = (arrays(path) for path in (before, after, whole))
        for key, value in new.items():
            np.testing.assert_array_equal(value, (given if key.startswith(below) else old)[key], key)
            assert not np.array_equal(given[key], old[key])
    with pytest.raises(ValueError, match="the file lacks outer/top/"):
        weights.load(pair(3, 2), part, only="outer/top")


def test_is_ours(tmp_path):
    weights.save(net("a"), tmp_path / "own.h5", provenance=PROVENANCE)
    (tmp_path / "text.h5").write_text("no HDF5")
    h5py.File(tmp_path / "other.h5", "w").close()
    found = [weights.is_ours(tmp_path / f"{name}.h5") for name in ("own", "text", "other", "none")]
    assert found == [True, False, False, False]


def test_half_precision_storage(tmp_path):
    model, other = net("a"), net("b")
    model.get_layer("norm").moving_variance.assign([1e-9, 0.1])  # 1e-9 is zero in half precision
    model.get_layer("conv1").kernel.assign(np.full((3, 3, 1, 2), 0.1, np.float32))
    weights.save(model, tmp_path / "half.h5", provenance={}, dtype="float16")
    weights.load(other, tmp_path / "half.h5")
    np.testing.assert_array_equal(other.get_layer("norm").moving_variance.numpy(), np.float32([1e-9, 0.1]))
    np.testing.assert_array_equal(other.get_layer("conv1").kernel.numpy(), np.float32(np.float16(0.1)))
    model.get_layer("conv1").kernel.assign(np.full((3, 3, 1, 2), 1e5, np.float32))
    with pytest.raises(ValueError, match="conv1/kernel holds values that are not finite in float16"):
        weights.save(model, tmp_path / "half.h5", provenance={}, dtype="float16")
    model.get_layer("conv1").kernel.assign(np.full((3, 3, 1, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="conv1/kernel"):
        weights.save(model, tmp_path / "half.h5", provenance={})
    weights.verify(tmp_path / "half.h5")  # the earlier file still stands
    with pytest.raises(ValueError, match="float16 or int8, not int4"):
        weights.save(model, tmp_path / "x.h5", provenance={}, dtype="int4")


def test_whole_numbers(tmp_path):
    """Each place of the last axis has a scale of its own, by which its largest weight is 127; vectors stay."""
    model, other = net("a"), net("b")
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[0, 0, 0], kernel[1, 2, 0] = (1.27, 0.00127), (-0.504, -0.000504)
    model.get_layer("conv1").kernel.assign(kernel)
    model.get_layer("norm").moving_variance.assign([1e-9, 0.1])
    weights.save(model, tmp_path / "int8.h5", provenance={}, dtype="int8")
    weights.load(other, tmp_path / "int8.h5")
    wanted = np.zeros_like(kernel)
    wanted[0, 0, 0], wanted[1, 2, 0] = (1.27, 0.00127), (-0.50, -0.0005)
    np.testing.assert_allclose(other.get_layer("conv1").kernel.numpy(), wanted, rtol=1e-6)
    np.testing.assert_array_equal(other.get_layer("norm").moving_variance.numpy(), np.float32([1e-9, 0.1]))
    with h5py.File(tmp_path / "int8.h5") as file:
        assert file["conv1/kernel"].dtype == "int8" and file["norm/moving_variance"].dtype == "float32"
    model.get_layer("conv1").kernel.assign(np.zeros_like(kernel))
    weights.save(model, tmp_path / "zero.h5", provenance={}, dtype="int8")
    weights.load(other, tmp_path / "zero.h5")
    assert not np.any(other.get_layer("conv1").kernel.numpy())
    with h5py.File(tmp_path / "int8.h5", "a") as file:
        file["conv1/kernel"].attrs["scale"] = np.float32([0.02, 1])
    with pytest.raises(ValueError, match="damaged"):
        weights.verify(tmp_path / "int8.h5")


def test_stored_anew(tmp_path):
    """The same weights but for their precision, the provenance kept, with the file that it was."""
    first, second, third = (tmp_path / f"{name}.h5" for name in ("first", "second", "third"))
    model, other = net("a"), net("b")
    told = weights.save(model, first, provenance=PROVENANCE)
    made = weights.store_anew(first, second, command="shrink")
    assert made == {**told, "stored": {"dtype": "float16", "from_sha256": weights.sha256(first), "command": "shrink"}}
    weights.load(other, second)
    kernel = model.get_layer("conv1").kernel.numpy()
    np.testing.assert_array_equal(other.get_layer("conv1").kernel.numpy(), kernel.astype("float16").astype("float32"))
    again = weights.store_anew(second, third, dtype="int8")
    assert again["stored"]["before"] == made["stored"] and weights.provenance(third) == again
    weights.load(other, third)
    assert 0 < np.abs(other.get_layer("conv1").kernel.numpy() - kernel).max() <= np.abs(kernel).max() / 250
    before = first.read_bytes()
    with pytest.raises(ValueError, match="not float64"):
        weights.store_anew(first, first, dtype="float64")
    assert first.read_bytes() == before


def test_integrity(tmp_path):
    path, again = tmp_path / "a.h5", tmp_path / "b.h5"
    model = net("a")
    given = {**PROVENANCE, "created": "2026-01-01"}
    weights.save(model, path, provenance=given)
    weights.save(model, again, provenance=given)
    assert weights.verify(path) == weights.verify(again)
    assert weights.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    weights.verify(path, weights.sha256(path))
    with pytest.raises(ValueError, match="expected 00"):
        weights.verify(path, "00" * 32)
    with h5py.File(path, "a") as file:
        file["conv1/kernel"][0, 0, 0, 0] += 1
    with h5py.File(again, "a") as file:
        file.attrs["provenance"] = json.dumps({**weights.provenance(again), "metric": 0.99})
    for damaged in (path, again):
        with pytest.raises(ValueError, match="damaged"):
            weights.load(model, damaged)
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ValueError, match="no HDF5 file"):
        weights.verify(tmp_path / "text.h5")
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["layers"] = np.zeros(3)
    with pytest.raises(ValueError, match="not written by fer_tf"):
        weights.load(model, tmp_path / "keras.h5")
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        weights.load(model, tmp_path / "none.h5")
    for bad in ({"metric": float("nan")}, {"data": np.zeros(2)}, {"log": "x" * 70_000}):
        with pytest.raises(ValueError, match="provenance"):
            weights.save(model, tmp_path / "c.h5", provenance=bad)


@pytest.mark.parametrize("layout", ["checkout", "wheel"])
def test_released_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch, layout):
    package = tmp_path / "fer_tf"
    folder = tmp_path / "weights" if layout == "checkout" else package / "released"
    (tmp_path / "weights").mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "checkout":
        (tmp_path / "setup.py").touch()
    else:
        (tmp_path / "weights" / "stray.h5").touch()  # another package's folder in site-packages
    (folder / "fer_net_fer2013.h5").touch()
    monkeypatch.setattr(weights, "_PACKAGE", package)
    for name in ("fer_net_fer2013", "fer_net_fer2013.h5"):
        assert weights.released(name) == folder / "fer_net_fer2013.h5"
    with pytest.raises(FileNotFoundError, match=r"'fer_net'; there are: fer_net_fer2013$"):
        weights.released("fer_net")
