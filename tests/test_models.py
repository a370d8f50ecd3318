"""The contract that every model file keeps; `pkgutil` finds them, so a new paper is tested without an edit here."""

import importlib
import inspect
import json
import pkgutil
import shutil

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import export, faces, models, spec, training, weights
from fer_tf.compat import PlayersModel, keras, optimizer_variables, set_policy

MODULES = [importlib.import_module(f"fer_tf.models.{m.name}") for m in pkgutil.iter_modules(models.__path__)]
LARGE = ("cycle_at", "de_gan", "gcnet")


def short_name(module):
    return module.__name__.rsplit(".", 1)[-1]


def every_but(*names):
    """Every module as the parameter, of a test that takes long on those named: there it is a slow one."""
    made = [pytest.param(m, marks=pytest.mark.slow) if short_name(m) in names else m for m in MODULES]
    return pytest.mark.parametrize("module", made, ids=short_name)


every = every_but()


def recogniser(module):
    """The tiny model that classifies, where the file has one apart from the model that is trained, and its batch."""
    return getattr(module, "tiny_recogniser", module.tiny)()


def answer(model, images):
    """What inference gives first: probabilities, or faces where the model classifies nothing."""
    if hasattr(model, "classify"):
        return model.classify(images).numpy()
    return model(images).numpy()


def compiled(module, rate=0.05):
    """The tiny model with plain SGD for each player, and its batch."""
    model, batch = module.tiny()
    optimizers = {f"{n}_optimizer": keras.optimizers.SGD(rate, momentum=0.9) for n, _ in model.player_variables()}
    model.compile(**optimizers)
    return model, batch


def players_of(module):
    """(tiny model, batch) of each model of the file that is trained."""
    made = [module.tiny(), *([module.tiny_recogniser()] if hasattr(module, "tiny_recogniser") else [])]
    return [(model, batch) for model, batch in made if model.player_variables()]


def with_sgd(model, rate):
    """The model, compiled with plain SGD for each player."""
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rate) for name, _ in model.player_variables()})
    return model


def values(variables):
    """NumPy copies."""
    return [np.array(v) for v in variables]


@every
def test_module_has_what_the_rooms_promise(module):
    for word in ("Readings", "Deviations"):
        assert f"**{word}**" in module.__doc__, f"the docstring lacks {word}"
    assert module.TEMPLATE in faces.TEMPLATES
    height, width = faces.TEMPLATES[module.TEMPLATE].size
    assert module.views.test_view(tf.zeros((2, height, width, 1))).shape[0] == 2


@every
def test_probabilities(module):
    model, batch = recogniser(module)
    p = model.classify(batch["image"]).numpy()
    assert p.dtype == np.float32 and p.shape == (len(batch["label"]), len(model.classes))
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    called = model(batch["image"])
    called = called["probabilities"] if isinstance(called, dict) else called
    np.testing.assert_allclose(called.numpy(), p, atol=1e-6)
    colour = tf.repeat(batch["image"], 3, axis=-1)
    np.testing.assert_allclose(model.classify(colour).numpy(), p, atol=1e-3)


@every
def test_inference_does_not_depend_on_the_batch_or_change_anything(module):
    for model, batch in (module.tiny(), recogniser(module)):
        before = values(model.weights)
        together, alone = answer(model, batch["image"]), answer(model, batch["image"][:1])
        np.testing.assert_allclose(together[:1], alone, atol=1e-5)
        for a, b in zip(before, values(model.weights), strict=True):
            np.testing.assert_array_equal(a, b)


@every
def test_every_variable_has_a_gradient_from_its_own_loss(module):
    model, batch = module.tiny()
    for name, variables in model.player_variables():
        with tf.GradientTape() as tape:
            terms = model.losses_of(name, batch)
            assert all(t.shape == () and t.dtype == tf.float32 and np.isfinite(t) for t in terms.values())
            loss = tf.add_n(list(terms.values()))
        gradients = tape.gradient(loss, list(variables))
        dead = [v.name for v, g in zip(variables, gradients, strict=True) if g is None or not np.any(np.abs(g) > 1e-12)]
        assert not dead, f"{name} never moves {dead}"


@every
def test_one_players_step_leaves_the_others_alone(module):
    model, batch = compiled(module)
    groups = dict(model.player_variables())
    seen = {}
    for name, variables in groups.items():
        for v in variables:
            assert id(v) not in seen, f"{v.name} belongs to {seen.get(id(v))} and {name}"
            seen[id(v)] = name
    assert set(seen) == {id(v) for v in model.trainable_variables}, "a variable that nobody trains"
    before = {name: values(variables) for name, variables in groups.items()}
    model.train_step(batch)
    for name, variables in groups.items():
        assert any(np.any(a != b) for a, b in zip(before[name], values(variables), strict=True)), f"{name} stood still"


@every
def test_a_step_moves_each_player_down_the_sum_of_its_terms(module):
    """By the rate times the gradient at the weights that all players started from."""
    rate = 0.5
    for model, batch in players_of(module):
        start, expected = model.get_weights(), {}
        for name, _ in model.player_variables():
            held = {n: v for n, v in vars(model).items() if n in model.get_config() and isinstance(v, keras.Model)}
            twin = type(model)(**{**model.get_config(), **held})  # draws the same masks and noise
            twin.set_weights(start)
            variables = list(dict(twin.player_variables())[name])
            with tf.GradientTape() as tape:
                loss = tf.add_n(list(twin.losses_of(name, batch).values()))
            gradients = tape.gradient(loss, variables)
            expected[name] = [np.array(v) - rate * g for v, g in zip(variables, gradients, strict=True)]
        with_sgd(model, rate).train_step(batch)
        for name, variables in model.player_variables():
            for variable, value in zip(variables, expected[name], strict=True):
                scale = max(1.0, float(np.abs(value).max()))
                np.testing.assert_allclose(np.array(variable) / scale, value / scale, atol=2e-5, err_msg=variable.name)


@every
def test_what_is_logged(module):
    """A training step logs every column that the model names, in their order; <player>_loss is the sum of its terms.

    A term is logged as it enters that sum, or as a measure of its name: without its weight.
    """
    for model, batch in players_of(module):
        columns = [metric.name for metric in model.metrics]
        logs = with_sgd(model, 0.0).train_step(batch)
        assert list(logs) == columns and len(set(columns)) == len(columns)
        for metric in model.metrics:
            metric.reset_state()
        logs = model.test_step(batch)
        assert list(logs) == [name for name in columns if name in logs]
        terms, measures = model.losses(batch, training=False)
        for name, own in terms.items():
            total = sum(float(value) for value in own.values())
            if f"{name}_loss" in columns:
                assert float(logs[f"{name}_loss"]) == pytest.approx(total, rel=1e-5), name
            shown = {term: value for term, value in own.items() if term in columns and term not in measures}
            assert {term: float(logs[term]) for term in shown} == pytest.approx({t: float(v) for t, v in shown.items()})
        assert {name: float(logs[name]) for name in measures} == pytest.approx(
            {n: float(v) for n, v in measures.items()}
        )


@every
def test_a_test_step_draws_nothing_and_moves_nothing(module):
    for model, batch in players_of(module):
        before = values(model.weights)
        first, second = (
            {p: {t: float(v) for t, v in own.items()} for p, own in model.losses(batch, training=False)[0].items()}
            for _ in range(2)
        )
        with_sgd(model, 0.5).test_step(batch)
        assert first == second and all(np.isfinite(v) for own in first.values() for v in own.values())
        metrics = {id(v) for metric in model.metrics for v in metric.variables}
        for a, b in zip(before, model.weights, strict=True):
            assert id(b) in metrics or np.array_equal(a, np.array(b)), b.name


@every
def test_arguments_attributes_and_config_bear_one_name(module):
    for model, _ in (module.tiny(), recogniser(module)):
        parameters = set(inspect.signature(type(model).__init__).parameters) - {"self", "options"}
        config = model.get_config()
        assert parameters - {"weights"} == set(config) - {"weights"}, type(model).__name__
        for name, value in config.items():
            own = getattr(model, name, None) if name != "weights" else None
            own = spec.describe(own) if isinstance(own, keras.Model) else own
            assert own == value, f"{type(model).__name__}.{name}"


@every
def test_a_batch_is_called_as_its_image_is(module):
    for model, batch in (module.tiny(), recogniser(module)):
        whole, image = model(batch), model(batch["image"])
        for a, b in zip(tf.nest.flatten(whole), tf.nest.flatten(image), strict=True):
            np.testing.assert_array_equal(a, b)


@every
def test_compile_builds_every_optimizer_and_no_other(module):
    model, _ = compiled(module)
    assert getattr(model, "optimizer", None) is None
    for name, player in model.players().items():
        slots = [v for v in optimizer_variables(model)[name] if len(v.shape)]
        assert len(slots) >= len(player.variables), f"{name}'s optimizer is not built"
    with pytest.raises(ValueError, match="missing"):
        module.tiny()[0].compile()
    with pytest.raises(ValueError, match="nobody_optimizer"):
        module.tiny()[0].compile(nobody_optimizer="sgd")


@every
def test_config_round_trip(module):
    for model, batch in (module.tiny(), recogniser(module)):
        twin = type(model).from_config(json.loads(json.dumps(model.get_config())))
        assert [tuple(v.shape) for v in twin.weights] == [tuple(v.shape) for v in model.weights]
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(answer(twin, batch["image"]), answer(model, batch["image"]), atol=1e-6)


@every
def test_weights_round_trip(module, tmp_path):
    model, batch = compiled(module)
    model.train_step(batch)
    weights.save(model, tmp_path / "w.h5", provenance={"command": "test"})
    twin, _ = module.tiny()
    weights.load(twin, tmp_path / "w.h5")
    np.testing.assert_allclose(answer(twin, batch["image"]), answer(model, batch["image"]), atol=1e-6)


@every
def test_no_two_kernels_start_alike(module):
    """One initializer's instance gives every layer the same numbers: residual blocks would start as copies."""
    for model, _ in (module.tiny(), recogniser(module)):
        seen = {}
        for variable in model.trainable_variables:
            start = np.array(variable).ravel()[:12]
            if len(variable.shape) > 1 and len(start) == 12 and np.std(start) > 0:
                key = tuple(np.round(start / np.abs(start).max(), 4))  # whatever the scale
                assert key not in seen, f"{variable.name} {tuple(variable.shape)} starts as {seen[key]}"
                seen[key] = f"{variable.name} {tuple(variable.shape)}"
        assert len(seen) > 1


@every
def test_a_checkpoint_holds_every_variable(module, tmp_path):
    """Of layers in lists too, and moving statistics, which no optimizer holds."""
    for model, _ in (module.tiny(), recogniser(module)):
        before = values(model.variables)
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / model.name))
        for variable in model.variables:
            variable.assign(variable + 1)
        tf.train.Checkpoint(model=model).read(path)
        lost = [v.name for v, b in zip(model.variables, before, strict=True) if not np.array_equal(np.array(v), b)]
        assert not lost, f"{len(lost)} of {len(before)}: {lost[:3]}"


@every
def test_recogniser_from_its_weights_file_alone(module, tmp_path):
    """The provenance holds what it takes to build the model, parts included."""
    model, _ = recogniser(module)
    about = {**spec.describe(model), "classes": model.classes}
    weights.save(model, tmp_path / "w.h5", provenance=about)
    height, width = faces.TEMPLATES[module.TEMPLATE].size
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 1), dtype=np.uint8)
    expected = model.classify(tf.cast(module.views.test_view(tf.constant(pictures)), tf.float32) / 255.0)
    np.testing.assert_allclose(export.from_weights(tmp_path / "w.h5")(pictures), expected, atol=1e-5)


def distributed(variable):
    """TensorFlow's mirrored variable behind a Keras 3 variable, or the variable itself."""
    return variable if isinstance(variable, tf.distribute.DistributedValues) else variable.value


@every
def test_saved_model_round_trip(module, tmp_path):
    """The SavedModel, loaded again, gives the probabilities that the Keras model gives the same test views."""
    model, _ = recogniser(module)
    height, width = faces.TEMPLATES[module.TEMPLATE].size
    pictures = np.random.default_rng(0).integers(0, 256, (3, height, width, 1), dtype=np.uint8)
    export.save(model, tmp_path / "export", metadata={"made": "in a test"}, faces=pictures)
    expected = model.classify(tf.cast(module.views.test_view(tf.constant(pictures)), tf.float32) / 255.0)
    np.testing.assert_allclose(export.load(tmp_path / "export")(pictures), expected, atol=1e-5)


class Repeat:
    """The same batch, `steps` times an epoch."""

    def __init__(self, batch, steps):
        self.batch, self.steps = batch, steps

    def __len__(self):
        return self.steps

    def epoch(self, number):
        return tf.data.Dataset.from_tensors(self.batch).repeat(self.steps)


@every_but(*LARGE, "ed2l", "se_resnet")
def test_resume_restores_every_optimizer(module, tmp_path):
    """Two epochs in one go equal what was on disk after one, a new model, and the second epoch."""
    final = []

    def keep(model, epoch):
        if epoch == 1 and not final:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")

    for name in ("whole", "parts"):
        training.setup(seed=3, precision="float32")
        model, batch = compiled(module)
        assert (tmp_path / name).exists() == bool(final)
        training.fit(model, Repeat(batch, 2), workdir=tmp_path / name, epochs=2, progress=False, after_epoch=keep)
        final.append(values(model.weights) + [np.array(v) for vs in optimizer_variables(model).values() for v in vs])
    for a, b in zip(*final, strict=True):
        np.testing.assert_array_equal(a, b)


@every
def test_mixed_float16(module):
    """Half-precision training stays finite, moves, and keeps float32 variables and outputs.

    The largest until they move and op by op: their graphs take longer than all the steps.
    """
    half_precision(module, "mixed_float16", 16, op_by_op=short_name(module) in LARGE)


@pytest.mark.slow
@pytest.mark.parametrize("module", [m for m in MODULES if short_name(m) in LARGE], ids=short_name)
def test_mixed_float16_in_a_graph(module):
    """The largest, too."""
    half_precision(module, "mixed_float16", 16)


@every_but(*LARGE)
def test_mixed_bfloat16(module):
    """Likewise; there is no scale of the loss."""
    half_precision(module, "mixed_bfloat16", 2)


def half_precision(module, policy, steps, op_by_op=False):
    """The loss scale of float16 starts at 2**15 and halves on overflow."""
    set_policy(policy)
    model, batch = compiled(module)
    before = values(model.trainable_variables)
    step = model.train_step if op_by_op else tf.function(model.train_step)
    for _ in range(steps):
        logs = step(batch)
        if op_by_op and any(np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True)):
            break
    assert all(np.isfinite(float(v)) for v in logs.values())
    assert all(v.dtype in (tf.float32, "float32") for v in model.trainable_variables)
    assert any(np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True))
    assert answer(model, batch["image"]).dtype == np.float32
    model = recogniser(module)[0]
    named, called = model.classify(batch["image"]), model(batch["image"])
    assert named.dtype == tf.float32 and np.isfinite(named).all()
    called = called["probabilities"] if isinstance(called, dict) else called
    assert called.dtype == tf.float32
    np.testing.assert_allclose(called, named, atol=1e-5)


@every_but(*LARGE, "se_resnet")
def test_two_replicas(module, tmp_path):
    """Two replicas train, and agree afterwards."""
    strategy = training.setup(precision="float32", strategy="mirrored")
    with strategy.scope():
        model, batch = compiled(module)
    before = values(model.trainable_variables)
    training.fit(model, Repeat(batch, 2), workdir=tmp_path, epochs=1, strategy=strategy, progress=False)
    assert any(np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True))
    for variable in model.trainable_variables:
        copies = [np.array(c) for c in strategy.experimental_local_results(distributed(variable))]
        assert len(copies) == 2 and np.array_equal(*copies), variable.name


@every
def test_keras_fit(module):
    """`model.fit` on a tf.data pipeline, as in a notebook."""
    model, batch = compiled(module)
    history = model.fit(Repeat(batch, 2).epoch(0), epochs=2, verbose=0).history
    assert all(len(v) == 2 and np.all(np.isfinite(v)) for v in history.values()) and history


def test_what_a_subclass_has_to_give_is_named():
    with pytest.raises(TypeError, match="player_variables"):
        PlayersModel().players()
    with pytest.raises(TypeError, match="losses"):
        PlayersModel().losses({})
