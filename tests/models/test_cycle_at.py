"""fer_tf.models.cycle_at: sizes and fields of the nets, eq. (1) to (10) by hand, who is moved by what."""

import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fer_tf import layers, training
from fer_tf.compat import keras
from fer_tf.models import cycle_at
from fer_tf.nets import backbones, cycle_gan
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
        records = data.records

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


def count(net):
    return sum(int(np.prod(v.shape)) for v in net.trainable_variables)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norms(seen):
    """Each row at length one."""
    return seen / np.linalg.norm(seen, axis=-1, keepdims=True)


def test_generator_has_cycle_gans_layers():
    """c7s1-64, d128, d256, nine blocks, u128, u64, c7s1-3: kernels by hand, the last bias."""
    net = cycle_gan.build_generator()
    kernels = 49 * 3 * 64 + 9 * 64 * 128 + 9 * 128 * 256
    wanted = 2 * kernels + 9 * 2 * 9 * 256 * 256 + 3
    assert count(net) == wanted and f"{wanted:,}" in cycle_gan.build_generator.__doc__
    assert sum(isinstance(layer, layers.InstanceNorm) for layer in net.layers) == 3 + 18 + 2
    assert sum(isinstance(layer, layers.ReflectionPadding) for layer in net.layers) == 2 + 18
    small = cycle_gan.build_generator(filters=4, blocks=1)
    assert small(tf.zeros((2, 32, 48, 3))).shape == (2, 32, 48, 3)
    assert abs(float(np.std(net.get_layer("block5a_conv").kernel)) - 0.02) < 0.001


def test_discriminators_scores_see_70_pixels():
    net = cycle_gan.build_discriminator()
    sizes = [3, 64, 128, 256, 512, 1]
    wanted = sum(16 * a * b for a, b in zip(sizes, sizes[1:], strict=False)) + 64 + 1
    assert count(net) == wanted and f"{wanted:,}" in cycle_gan.build_discriminator.__doc__
    field = 1
    for layer in reversed([layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]):
        field = (field - 1) * layer.strides[0] + layer.kernel_size[0]
    assert field == 70
    for side, scores in ((256, 30), (64, 6)):
        assert cycle_gan.build_discriminator(filters=2)(tf.zeros((1, side, side, 3))).shape == (1, scores, scores, 1)


def test_a_score_depends_on_those_pixels_alone():
    """Without the norms, whose statistics reach everywhere."""
    net = cycle_gan.build_discriminator(filters=2)
    kernels = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]

    def scores(x):
        for layer in kernels:
            x = tf.nn.leaky_relu(layer(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])), 0.2)
        return x

    image = tf.random.stateless_normal((1, 160, 160, 3), (0, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = scores(image)[0, 9, 9, 0]
    reached = np.any(tape.gradient(score, image).numpy()[0] != 0, -1)
    assert reached.any(0).sum() == reached.any(1).sum() == 70


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


def test_equation_10_by_hand():
    training.setup(seed=0, precision="float32")
    model, batch = cycle_at.tiny_recogniser()
    model.trunk.trainable = False  # so that the norms use their moving statistics here, too
    terms, right = model.losses(batch)
    probabilities, labels = model.classify(batch["image"]).numpy(), batch["label"].numpy()
    wanted = -np.mean(np.log(probabilities[np.arange(6), labels]))
    assert float(terms["classification_loss"]) == pytest.approx(wanted, rel=1e-4)
    q = [
        [norms(np.abs(m.numpy()).sum(-1).reshape(6, -1)) for m in net.look(batch["image"])[0]]
        for net in (model, model.teacher)
    ]
    distances = sum(np.linalg.norm(a - b, axis=-1).mean() for a, b in zip(*q, strict=True))
    assert float(terms["attention_loss"]) == pytest.approx(0.1 / 2 * distances, rel=1e-3)
    assert float(right["accuracy"]) == pytest.approx(np.mean(probabilities.argmax(-1) == labels))


@pytest.mark.parametrize("gan_loss", cycle_at.GAN_LOSSES)
def test_equations_4_to_8_by_hand(gan_loss):
    training.setup(seed=0, precision="float32")
    model, batch = cycle_at.tiny()
    model = cycle_at.CycleAT(**{**model.get_config(), "gan_loss": gan_loss, "lambda_cycle": 3.0})
    model.f_w.head.kernel.assign(model.f_w.head.kernel * 1.5)  # f_W is no longer f_S
    terms, right = model.losses(batch)
    x_s, x_w = (np.repeat(2 * batch[n].numpy() - 1, 3, -1) for n in ("image", "auxiliary"))
    to_w, to_s = model.g_sw(x_s), model.g_ws(x_w)
    given = {}

    def says(logits, real):
        if gan_loss == "log":
            d = 1 / (1 + np.exp(-logits.numpy()))
            return -np.mean(np.log(d if real else 1 - d))
        return np.mean((logits.numpy() - real) ** 2)

    for name, net, real, fake in (("w", model.d_w, x_w, to_w), ("s", model.d_s, x_s, to_s)):
        given[f"real_{name}_loss"] = says(net(real), True)
        given[f"fake_{name}_loss"] = says(net(fake), False)
        given[f"adversarial_{'sw' if name == 'w' else 'ws'}_loss"] = says(net(fake), True)
    back = np.abs(model.g_ws(to_w) - x_s).mean() + np.abs(model.g_sw(to_s) - x_w).mean()
    given["cycle_loss"] = 3 * back
    seen = (to_w + 1) / 2
    p, labels = model.f_w.classify(seen).numpy(), batch["label"].numpy()
    given["classification_loss"] = -np.mean(np.log(p[np.arange(6), labels]))
    pairs = zip(model.source_net.look(batch["image"])[0], model.f_w.look(seen)[0], strict=True)
    q = [[norms(np.abs(m.numpy()).sum(-1).reshape(6, -1)) for m in pair] for pair in pairs]
    given["attention_loss"] = 0.1 / 2 * sum(np.linalg.norm(a - b, axis=-1).mean() for a, b in q)
    found = {name: value for part in terms.values() for name, value in part.items()}
    assert set(found) == set(given)
    for name, value in given.items():
        assert float(found[name]) == pytest.approx(float(value), rel=2e-3), name
    assert set(terms["classifier"]) == {"classification_loss", "attention_loss"} < set(terms["generators"])
    assert float(right["accuracy"]) == pytest.approx(np.mean(p.argmax(-1) == labels))


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


@pytest.mark.parametrize("compiled", [False, True])
def test_image_pool(compiled):
    """Full after two batches of three; then half of what is shown is earlier, whose place the new one takes."""
    pool = cycle_gan.ImagePool((1, 1, 1), size=6, seed=2)
    pool.build()
    step = tf.function(pool) if compiled else pool
    seen, given = [], []
    for i in range(200):
        fakes = tf.reshape(tf.range(3.0) + 3 * i, (3, 1, 1, 1))
        shown = step(fakes).numpy().ravel()
        given.append(fakes.numpy().ravel())
        seen.append(shown)
        if i < 2:
            np.testing.assert_array_equal(shown, fakes.numpy().ravel())
    old = np.concatenate([s != g for s, g in zip(seen[2:], given[2:], strict=True)])
    assert abs(old.mean() - 0.5) < 0.06
    kept = np.concatenate(seen)
    again = {value for value, times in Counter(kept).items() if times > 1}
    assert again <= set(range(6))  # what filled the pool was shown then, too
    assert set(kept) | set(pool.seed_pool.numpy().ravel()) == set(range(600))
    odd = cycle_gan.ImagePool((1, 1, 1), size=5, seed=2)  # the second batch fits in part
    odd.build()
    shown = np.concatenate([odd(tf.fill((4, 1, 1, 1), 1.0 + i)).numpy().ravel() for i in range(50)])
    assert np.all(shown >= 1) and np.all(odd.seed_pool.numpy() >= 1)
    with pytest.raises(ValueError, match="pool of 6 is smaller than the batch of 7"):
        pool(tf.zeros((7, 1, 1, 1)))


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
