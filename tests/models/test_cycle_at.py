"""fer_tf.models.cycle_at: sizes and fields of the nets, eq. (1) to (10) by hand, who is moved by what."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import training
from fer_tf.compat import keras
from fer_tf.models import cycle_at
from fer_tf.nets import cycle_gan
from fer_tf.records import CLASSES

SIX = CLASSES["six"]
MID_EPOCH = textwrap.dedent(
    """
    import sys
    import numpy as np
    import tensorflow as tf
    from fer_tf import faces, pipeline, training
    from fer_tf.compat import optimizer_variables
    from fer_tf.models import cycle_at
    from fer_tf.records import Record

    strategy = training.setup(seed=5, precision="float32", deterministic=True)
    numbers, classes = np.random.default_rng(0), ("anger", "fear")
    template = faces.Template.fer2013("small", (24, 24))
    options = {"template": template, "views": cycle_at.views, "batch_size": 3, "channels": 3, "seed": 5}

    def some(count, classes):
        pixels = numbers.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
        found = [Record(f, ("anger", "fear")[i % 2], info={"framed": True}) for i, f in enumerate(pixels)]
        return pipeline.batches(found, classes=classes, **options)

    data = pipeline.Unpaired(some(12, classes), some(5, ()), steps=5)
    f_s = cycle_at.tiny_classifier(classes=classes, size=24)

    class Ends:
        # the same batches, but the second epoch breaks off before its fourth
        records, streams = data.records, data.streams

        def __len__(self):
            return len(data)

        def epoch(self, number):
            def look(index, batch):
                with tf.control_dependencies([tf.debugging.assert_less(index + 5 * number, tf.constant(8, tf.int64))]):
                    return {k: tf.identity(v) for k, v in batch.items()}

            return data.epoch(number).enumerate().map(look)

    def fit(source, folder):
        model = cycle_at.CycleAT(source_net=f_s, filters=4, blocks=1, size=24, pool=8, seed=5)
        model.compile(**{f"{name}_optimizer": cycle_at.optimizer(1e-3) for name, _ in model.player_variables()})
        for net in (model.g_sw, model.g_ws, model.d_w, model.d_s):  # the same start for every model
            net.set_weights([np.random.default_rng(i).normal(0, 0.1, w.shape) for i, w in enumerate(net.get_weights())])
        training.fit(model, source, workdir=f"{sys.argv[1]}/{folder}", epochs=2, checkpoint_steps=2, strategy=strategy)
        return model

    def everything(model):
        parts = {"weights": model.weights, **optimizer_variables(model)}
        parts |= {p.name: [p.seed_step, p.seed_count, p.seed_pool] for p in model.pools}
        return {f"{name}/{i}": np.array(v) for name, part in parts.items() for i, v in enumerate(part)}

    whole = everything(fit(data, "whole"))
    try:
        fit(Ends(), "parts")
    except tf.errors.InvalidArgumentError:
        print("broken off")
    kept = tf.train.load_checkpoint(tf.train.latest_checkpoint(f"{sys.argv[1]}/parts/checkpoint"))
    print("kept", *(int(kept.get_tensor(f"{n}/.ATTRIBUTES/VARIABLE_VALUE")) for n in ("epoch", "step", "total")))
    parts = everything(fit(data, "parts"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)
    print("steps and faces in the pools", *(int(whole[f"pool_{i}/{j}"]) for i in (0, 1) for j in (0, 1)))
    print("alike", len(whole), sorted({name.split("/")[0] for name in whole}))
    """
)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norms(seen):
    """Each row at length one."""
    return seen / np.linalg.norm(seen, axis=-1, keepdims=True)


def test_attention_by_hand():
    """Eq. (1) and the last sum of eq. (7): per stage, over the pixels, the mean over the batch."""
    numbers = np.random.default_rng(0)
    one, two = (
        [numbers.normal(size=(3, s, s, c)).astype(np.float32) for s, c in sizes]
        for sizes in (((4, 5), (2, 7)), ((4, 6), (2, 3)))
    )
    q = [[norms(np.abs(m).sum(-1).reshape(3, -1)) for m in maps] for maps in (one, two)]
    np.testing.assert_allclose(cycle_at.attention(one[0]), np.abs(one[0]).sum(-1).reshape(3, 16), rtol=1e-5)
    wanted = sum(np.linalg.norm(a - b, axis=-1).mean() for a, b in zip(*q, strict=True))
    assert float(cycle_at.attention_loss(one, two)) == pytest.approx(wanted, rel=1e-5)
    wanted = sum(((a - b) ** 2).mean() for a, b in zip(*q, strict=True))
    assert float(cycle_at.attention_loss(one, two, "mean_square")) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match=r"stage by stage: the teacher's maps are \[\(4, 4\), \(2, 2\)\]"):
        cycle_at.attention_loss(one, two[:1])


@pytest.mark.parametrize("reduction", cycle_at.BETAS)
def test_equal_maps_have_no_loss_and_a_finite_gradient(reduction):
    maps = tf.Variable(tf.random.stateless_uniform((2, 3, 3, 4), (0, 1)))
    with tf.GradientTape() as tape:
        loss = cycle_at.attention_loss([tf.stop_gradient(tf.convert_to_tensor(maps))], [maps], reduction)
    assert float(loss) < 1e-5 and np.all(np.isfinite(tape.gradient(loss, maps)))


def enlarge(net, seed):
    """Weights of a net from a normal distribution so wide that what it makes differs by its input; norms about one."""
    numbers = np.random.default_rng(seed)
    for v in net.trainable_variables:
        inputs = max(1, int(np.prod(v.shape[:-1])))
        scale = "gamma" in v.name
        v.assign(scale + numbers.normal(0, 0.2 if scale or len(v.shape) == 1 else 2 / inputs**0.5, v.shape))


def large(**options):
    """A model of stage II, 32 pixels a side, none of whose nets is another's, and six faces of either domain."""
    training.setup(seed=0, precision="float32")
    f_s = cycle_at.tiny_classifier(classes=SIX, name="f_s")
    model = cycle_at.CycleAT(**{"source_net": f_s, "filters": 4, "blocks": 1, "size": 32, **options})
    f_w = [model.f_w] if model.stage == 2 else []
    for seed, net in enumerate((f_s, model.g_sw, model.g_ws, model.d_w, model.d_s, *f_w)):
        enlarge(net, seed)
    for seed, net in enumerate((f_s, *f_w)):
        for v in (v for v in net.weights if "moving" in v.name):
            v.assign(v + np.random.default_rng(seed).uniform(0, 0.5, v.shape))
    images = [tf.random.stateless_uniform((6, 32, 32, 1), (1, s)) for s in (2, 3)]
    batch = {"image": images[0], "auxiliary": images[1], "label": tf.constant([3, 1, 4, 1, 5, 0])}
    return model, batch


def distance(teacher, student, reduction):
    """The last sum of eq. (7) and (10) in NumPy, of the stages' maps."""
    total = 0.0
    for pair in zip(teacher, student, strict=True):
        a, b = (norms(np.abs(m.numpy()).sum(-1).reshape(len(m), -1)) for m in pair)
        total += np.linalg.norm(a - b, axis=-1).mean() if reduction == "norm" else ((a - b) ** 2).mean()
    return total


def check_terms(terms, expected):
    """Each term, and that it is told apart from nothing."""
    assert {*terms} == {*expected}
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-3) and value > 1e-3, name


def test_the_large_nets_matter():
    """Else what is exchanged or left out would not be seen below."""
    model, batch = large()
    x_s, x_w = (np.repeat(2 * batch[n].numpy() - 1, 3, -1) for n in ("image", "auxiliary"))
    for one, other in ((model.g_sw, model.g_ws), (model.d_w, model.d_s)):
        made = one(x_s).numpy()
        assert made.std() > 0.2 and np.abs(made - other(x_s)).mean() > 0.2 and np.abs(made - one(x_w)).mean() > 0.2
    f_s, f_w = (np.log(net.classify(batch["image"])) for net in (model.source_net, model.f_w))
    assert np.abs(f_s - f_w).mean() > 0.2 and f_s.std(0).mean() > 0.05
    maps = [model.source_net.maps_and_logits(batch["image"])[0], model.f_w.maps_and_logits(batch["image"])[0]]
    assert distance(*maps, "norm") > 0.3


def test_classify_by_hand():
    """The softmax of a linear layer on the mean of the last maps; faces are doubled and moved to [-1, 1]."""
    model = large()[0].f_w
    images = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    first, *stages, _ = (np.array(m) for m in model.trunk(2 * images - 1, training=False))
    maps, logits = model.maps_and_logits(images)
    assert len(maps) == 4 and all(np.allclose(a, b, atol=1e-5) for a, b in zip(maps, stages, strict=True))
    mean = stages[-1].mean((1, 2))
    np.testing.assert_allclose(model.features(images), mean, rtol=1e-4, atol=1e-5)
    expected = mean @ np.array(model.head.kernel) + np.array(model.head.bias)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(model.classify(images), softmax(expected), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model({"image": images}), softmax(expected), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.first_maps(images), first, rtol=1e-4, atol=1e-5)
    assert softmax(expected).std(0).max() > 0.01


def test_translate_by_hand():
    """G_SW there, G_WS back, both from [0, 1] to [0, 1]."""
    model, batch = large()
    x_s = np.repeat(2 * batch["image"].numpy() - 1, 3, -1)
    np.testing.assert_allclose(model.translate(batch["image"]), (model.g_sw(x_s) + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(model(batch), (model.g_sw(x_s) + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(model.back(batch["image"]), (model.g_ws(x_s) + 1) / 2, atol=1e-6)


@pytest.mark.parametrize("reduction", cycle_at.BETAS)
def test_equations_3_and_10_by_hand(reduction):
    """f_T follows its teacher by --beta; without one the cross-entropy is alone."""
    gan, batch = large()
    teacher, beta = gan.source_net, {"norm": 0.7, "mean_square": 300.0}[reduction]
    options = {"teacher": teacher, "beta": beta, "at_reduction": reduction}
    model, alone = (cycle_at.tiny_classifier(classes=SIX, **more) for more in (options, {}))
    for net in (model, alone):
        enlarge(net, 9)
        net.trunk.trainable = False  # so that the norms use their moving statistics here, too
    terms, measures = model.losses(batch)
    probabilities, labels = model.classify(batch["image"]).numpy(), batch["label"].numpy()
    entropy = -np.mean(np.log(probabilities[np.arange(6), labels]))
    apart = distance(*(net.maps_and_logits(batch["image"])[0] for net in (teacher, model)), reduction)
    check_terms(terms["classifier"], {"classification_loss": entropy, "attention_loss": beta / 2 * apart})
    check_terms(alone.losses_of("classifier", batch), {"classification_loss": entropy})
    assert float(measures["accuracy"]) == pytest.approx(np.mean(probabilities.argmax(-1) == labels))


@pytest.mark.parametrize("gan_loss, reduction", zip(cycle_at.GAN_LOSSES, cycle_at.BETAS, strict=True))
def test_equations_4_to_8_by_hand(gan_loss, reduction):
    beta = {"norm": 0.7, "mean_square": 300.0}[reduction]
    model, batch = large(gan_loss=gan_loss, lambda_cycle=3.0, beta=beta, at_reduction=reduction)
    terms, measures = model.losses(batch)
    x_s, x_w = (np.repeat(2 * batch[n].numpy() - 1, 3, -1) for n in ("image", "auxiliary"))
    to_w, to_s = model.g_sw(x_s), model.g_ws(x_w)

    def named(logits, real):
        if gan_loss == "log":
            d = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
            return -np.mean(np.log(d if real else 1 - d))
        return np.mean((logits.numpy() - real) ** 2)

    discriminators = {
        "real_w_loss": named(model.d_w(x_w), True), "fake_w_loss": named(model.d_w(to_w), False),
        "real_s_loss": named(model.d_s(x_s), True), "fake_s_loss": named(model.d_s(to_s), False),
    }  # fmt: skip
    back = np.abs(model.g_ws(to_w) - x_s).mean() + np.abs(model.g_sw(to_s) - x_w).mean()
    seen, labels = (to_w + 1) / 2, batch["label"].numpy()
    p = model.f_w.classify(seen).numpy()
    apart = distance(model.source_net.maps_and_logits(batch["image"])[0], model.f_w.maps_and_logits(seen)[0], reduction)
    classifier = {
        "classification_loss": -np.mean(np.log(p[np.arange(6), labels])), "attention_loss": beta / 2 * apart
    }  # fmt: skip
    generators = {
        "adversarial_sw_loss": named(model.d_w(to_w), True), "adversarial_ws_loss": named(model.d_s(to_s), True),
        "cycle_loss": 3 * back, **classifier,
    }  # fmt: skip
    expected = {"discriminators": discriminators, "generators": generators, "classifier": classifier}
    assert [*terms] == [*expected] == [*model.players()]
    for player, values in expected.items():
        check_terms(terms[player], values)
        check_terms(model.losses_of(player, batch), values)
    assert len({round(float(v), 3) for v in (*discriminators.values(), *generators.values())}) == 9
    assert float(measures["accuracy"]) == pytest.approx(np.mean(p.argmax(-1) == labels))


def test_the_identity_loss_by_hand():
    """Each generator is shown the faces that it makes; the generators alone have it, at its weight, and 0 for none."""
    model, batch = large(lambda_identity=2.5, upsampling="resized", discriminator_layers=2)
    x_s, x_w = (np.repeat(2 * batch[n].numpy() - 1, 3, -1) for n in ("image", "auxiliary"))
    same = np.abs(model.g_sw(x_w) - x_w).mean() + np.abs(model.g_ws(x_s) - x_s).mean()
    terms = model.losses(batch)[0]
    assert float(terms["generators"]["identity_loss"]) == pytest.approx(2.5 * float(same), rel=1e-4)
    assert "identity_loss" not in {**terms["discriminators"], **terms["classifier"]}
    config = model.get_config()
    assert [config[n] for n in ("lambda_identity", "upsampling", "discriminator_layers")] == [2.5, "resized", 2]
    assert "up1_resized" in {layer.name for net in (model.g_sw, model.g_ws) for layer in net.layers}
    assert {net.get_layer("logits").output.shape[-1] for net in (model.d_w, model.d_s)} == {1}
    assert all(len([v for v in net.weights if len(v.shape) == 4]) == 4 for net in (model.d_w, model.d_s))


def test_the_pools_are_what_the_discriminators_see(monkeypatch):
    """Their fakes alone come out of the pools, D_W's from the first; generators are judged by their new ones."""
    plain, batch = large()
    without = {n: v for part in plain.losses(batch)[0].values() for n, v in part.items()}
    level = {"pool_0": 0.5, "pool_1": -0.25}
    monkeypatch.setattr(cycle_gan.ImagePool, "call", lambda self, fakes: 0.1 * fakes + level[self.name])
    model, batch = large(pool=6)
    terms = {n: v for part in model.losses(batch)[0].values() for n, v in part.items()}
    x_s, x_w = (np.repeat(2 * batch[n].numpy() - 1, 3, -1) for n in ("image", "auxiliary"))
    shown = {"w": model.d_w(0.1 * model.g_sw(x_s) + 0.5), "s": model.d_s(0.1 * model.g_ws(x_w) - 0.25)}
    expected = {f"fake_{d}_loss": np.mean(np.log1p(np.exp(logits.numpy()))) for d, logits in shown.items()}
    for name, value in {**without, **expected}.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-3), name
    assert all(abs(float(without[name]) - value) > 0.01 for name, value in expected.items())


@pytest.mark.parametrize("kind", ["stage 1", "stage 2", "f_t"])
def test_a_step_follows_the_gradient_of_the_sum(kind):
    """Each player down its own terms, all gradients taken at the same weights, before anybody moves."""
    model, batch = large(stage=1 if kind == "stage 1" else 2)
    if kind == "f_t":
        model = cycle_at.tiny_classifier(classes=SIX, teacher=model.source_net, beta=0.7)
        enlarge(model, 9)
    rates = {name: 1e-3 * (i + 1) for i, name in enumerate(model.players())}
    model.compile(**{f"{name}_optimizer": keras.optimizers.SGD(rate) for name, rate in rates.items()})
    expected = []
    for name, player in model.players().items():
        with tf.GradientTape() as tape:
            total = tf.add_n(list(model.losses_of(name, batch).values()))
        gradients = tape.gradient(total, list(player.variables))
        before = [np.array(v) for v in player.variables]
        expected += [
            (v, b, rates[name] * g.numpy()) for v, b, g in zip(player.variables, before, gradients, strict=True)
        ]
    model.train_step(batch)
    for v, before, step in expected:
        np.testing.assert_allclose(before - np.array(v), step, rtol=2e-2, atol=1e-6 + 1e-2 * np.abs(step).max())
    assert all(np.abs(step).max() > 1e-6 for _, _, step in expected)


def test_what_moves_the_generator():
    """Both terms of eq. (7) do, as eq. (9) has it; the attention term does not where it is told not to."""
    training.setup(seed=0, precision="float32")
    model, batch = cycle_at.tiny()
    without = cycle_at.CycleAT(**{**model.get_config(), "attention_updates_generator": False})
    assert "attention_loss" in model.losses_of("generators", batch)
    names = set(without.losses_of("generators", batch))
    assert "classification_loss" in names and "attention_loss" not in names
    assert "attention_loss" in without.losses_of("classifier", batch)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.losses_of("classifier", batch)
    for name in terms:
        assert any(np.any(g.numpy()) for g in tape.gradient(terms[name], model.g_sw.trainable_variables)), name
        assert all(g is None for g in tape.gradient(terms[name], model.g_ws.trainable_variables))


def test_the_teachers_never_move():
    """f_S in stage II, the teacher of f_T: weights and moving statistics; f_W starts as f_S and then leaves it."""
    training.setup(seed=0, precision="float32")
    for model, batch, teacher in (
        (*cycle_at.tiny(), "source_net"),
        (*cycle_at.tiny_recogniser(), "teacher"),
    ):
        own = getattr(model, teacher)
        before = [np.array(v) for v in own.weights]
        if teacher == "source_net":
            assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.f_w.weights, strict=True))
        model.compile(**{f"{name}_optimizer": cycle_at.optimizer(1e-2) for name, _ in model.player_variables()})
        model.train_step(batch)
        assert all(np.array_equal(a, np.array(v)) for a, v in zip(before, own.weights, strict=True))
        ids = {id(v) for v in own.weights}
        assert not ids & {id(v) for v in model.weights}
        if teacher == "source_net":
            assert any(np.any(a != np.array(b)) for a, b in zip(before, model.f_w.weights, strict=True))


def test_f_ws_statistics_move_only_where_they_are_told_to():
    training.setup(seed=0, precision="float32")
    for flag in (False, True):
        base, batch = cycle_at.tiny()
        model = cycle_at.CycleAT(**{**base.get_config(), "batch_statistics": flag})
        model.compile(**{f"{name}_optimizer": cycle_at.optimizer(1e-2) for name, _ in model.player_variables()})
        moving = [v for v in model.f_w.weights if "moving" in v.name]
        before = [np.array(v) for v in moving]
        model.train_step(batch)
        assert any(np.any(a != np.array(v)) for a, v in zip(before, moving, strict=True)) == flag


def test_stage_1_has_no_classifier():
    training.setup(seed=0, precision="float32")
    _, batch = cycle_at.tiny()
    model = cycle_at.CycleAT(stage=1, filters=4, blocks=1, size=32)
    assert [name for name, _ in model.player_variables()] == ["discriminators", "generators"]
    assert not hasattr(model, "f_w")
    model.compile(**{f"{name}_optimizer": cycle_at.optimizer() for name, _ in model.player_variables()})
    logs = model.train_step(batch)
    assert "classification_loss" not in logs and np.isfinite(float(logs["cycle_loss"]))


def test_a_model_with_a_pool_trains_and_resumes_its_pool(tmp_path):
    training.setup(seed=0, precision="float32")
    _, batch = cycle_at.tiny()
    model = cycle_at.CycleAT(stage=1, filters=4, blocks=1, size=32, pool=8)
    model.compile(**{f"{name}_optimizer": cycle_at.optimizer() for name, _ in model.player_variables()})
    model.train_step(batch)
    assert int(model.pools[0].seed_count) == 6
    tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    twin = cycle_at.CycleAT(**model.get_config())
    tf.train.Checkpoint(model=twin).restore(str(tmp_path / "m")).expect_partial()
    assert np.any(np.array(twin.pools[1].seed_pool))
    np.testing.assert_array_equal(twin.pools[1].seed_pool, model.pools[1].seed_pool)


@pytest.mark.slow
def test_stage_2_broken_off_in_mid_epoch_ends_in_the_same_bits(tmp_path):
    """Three steps into the second epoch, one after the last checkpoint: weights, optimizers and pools of fakes."""
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    command, environment = [sys.executable, "-c", MID_EPOCH, str(tmp_path)], {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "broken off\nkept 1 2 7\n" in done.stdout and "Going on" in done.stdout
    assert "at epoch 2, step 2." in done.stdout and "steps and faces in the pools 10 8 10 8" in done.stdout
    assert "['classifier', 'discriminators', 'generators', 'pool_0', 'pool_1', 'weights']" in done.stdout


def test_views_move_and_mirror_by_their_seed():
    image = tf.random.stateless_uniform((8, 64, 64, 3), (0, 1))
    seed = tf.stack([tf.fill((8,), tf.constant(5, tf.int64)), tf.range(8, dtype=tf.int64)], -1)
    turn = tf.zeros(8, tf.int32)
    made, numbers = cycle_at.views.random(image, seed, turn, 2)
    again, _ = cycle_at.views.random(image, seed, turn, 2)
    other, _ = cycle_at.views.random(image, seed, turn + 1, 2)
    np.testing.assert_array_equal(made, again)
    assert np.any(made != other) and made.shape == image.shape and not numbers.numpy().any()
    np.testing.assert_array_equal(cycle_at.views.test_view(image), image)
    shifts = []
    for before, after in zip(image.numpy(), made.numpy(), strict=True):  # best whole-pixel move, mirrored or not
        moves = [(flip, y, x) for flip in (0, 1) for y in range(-5, 6) for x in range(-5, 6)]
        moved = [np.roll(before[:, ::-1] if flip else before, (y, x), (0, 1)) for flip, y, x in moves]
        candidates = {m: np.abs(b - after)[8:-8, 8:-8].mean() for m, b in zip(moves, moved, strict=True)}
        shifts.append(min(candidates, key=candidates.get))
    assert {s[0] for s in shifts} == {0, 1} and len(set(shifts)) > 4
    assert max(max(abs(s[1]), abs(s[2])) for s in shifts) <= 4  # 15 of 256 pixels are 3.75 of 64
    flat = made.numpy().reshape(8, -1, 3)
    assert all({*map(tuple, b)} >= {*map(tuple, a)} for a, b in zip(flat, image.numpy().reshape(8, -1, 3), strict=True))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="stage is 1 or 2"):
        cycle_at.CycleAT(stage=3)
    with pytest.raises(ValueError, match="f_W follows f_S"):
        cycle_at.CycleAT(stage=2)
    with pytest.raises(ValueError, match="Unknown at_reduction 'sum'"):
        cycle_at.tiny_classifier(at_reduction="sum")
    assert cycle_at.tiny_classifier(at_reduction="mean_square").beta == 1000
    assert cycle_at.tiny_classifier(at_reduction="mean_square", beta=2.0).beta == 2
