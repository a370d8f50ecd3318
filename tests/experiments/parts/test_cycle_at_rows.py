"""What each stage and each row of experiments.cycle_at is given, by unequal values; the paper's numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from experiments import cycle_at as script
from experiments.parts.cycle_at import classifiers, domains, features, gan, rows
from experiments.parts.cycle_at.row import ROWS, Row, rows_of
from fer_tf import catalogue, evaluation, protocols, training
from fer_tf.compat import Adam, keras
from fer_tf.models import cycle_at
from fer_tf.records import Record

TWO = ("anger", "happiness")


class Redraws:
    """A generator that makes every face of one level, 0 to 1, and leaves its first pixel as it is."""

    def __init__(self, level, f_w=None):
        self.level, self.f_w = level, f_w
        self.g_sw = SimpleNamespace(weights=[tf.constant([level])])

    def translate(self, x):
        made = np.full(x.shape, self.level, np.float32)
        made[:, 0, 0] = x[:, 0, 0]
        return tf.constant(made)


def part(values, size=32):
    """Faces of these grey values; even ones show anger, odd ones happiness."""
    made = [(v, np.full((size, size, 3), v, np.uint8)) for v in values]
    return [Record(face, TWO[v % 2], info={"framed": True}) for v, face in made]


@pytest.mark.parametrize("start", ["nothing", "source"])
def test_what_each_row_of_table_4_gets(monkeypatch, tmp_path, start):
    """Start weights, teacher, training records, and on which networks the checkpoint depends; controls likewise."""
    given = {"source_network": ("resnet18", "alexnet"), "target_network": "resnet10", "f_t_start": start}
    settings = script.Settings(preset="smoke", **given, target_epochs=6, candidates=5, batch_size=2)
    f_s, f_w, f_t = (
        cycle_at.tiny_classifier(classes=TWO, network=network, size=32, seed=i, name=n)
        for i, (n, network) in enumerate((("f_s", "resnet18"), ("f_w", "resnet18"), ("own", "resnet10")))
    )
    for net, value in ((f_s, 0.25), (f_w, 0.5), (f_t, 0.75)):
        net.head.bias.assign(tf.fill(2, value))
    train, learn = part(range(6)), part(range(100, 104))
    gans = {"alone": Redraws(0.2), "with f_W": Redraws(0.6, f_w)}
    source, trained = classifiers.Source(f_s, {}, gans, train, [], f_t), []

    def select(*args):
        return np.array({"S2T_att_gen": [1, 4], "CycleAT": [0, 2]}[args[5].parent.name])

    def record(settings, data, test, place, seed, epochs, make, follows):
        trained.append((data.records, epochs, model := make(), follows))
        return model, "results"

    monkeypatch.setattr(rows.classifiers, "train", record)
    monkeypatch.setattr(features, "select", select)
    monkeypatch.setattr(rows.evaluation, "predict", lambda model, test: ("answers of", model))
    answers, s2t = ("answers of", f_s), Row.read("S2T")
    assert rows.one_row(settings, s2t, source, learn, None, 0, tmp_path) == (f_s, {"best": answers, "last": answers})
    assert not trained
    some = [train[i] for i in sorted(np.random.default_rng(0).permutation(6)[:5])]
    own = f_t if start == "source" else None
    # row -> network, whose weights it starts with, teacher, the generator's level, which of the source are given
    expected = {
        "S2T_fine_tune": ("resnet18", f_s, None, None, []),
        "T_alone": ("resnet10", None, None, None, []),
        "T_fine_tune": ("resnet10", own, None, None, []),
        "S2T_attention": ("resnet10", own, f_s, None, []),
        "S2T_att_gen": ("resnet10", own, f_s, 51, [1, 4]),
        "S2T_att_gen:no_attention": ("resnet10", own, None, 51, [1, 4]),
        "S2T_att_gen:untranslated": ("resnet10", own, f_s, None, [1, 4]),
        "CycleAT": ("resnet10", own, f_w, 153, [0, 2]),
        "CycleAT:untranslated:no_attention": ("resnet10", own, None, None, [0, 2]),
    }
    for text, (network, begins, teacher, level, chosen) in expected.items():
        row = Row.read(text)
        model, results = rows.one_row(settings, row, source, learn, None, 0, tmp_path / row.folder)
        listed, epochs, built, follows = trained.pop()
        assert built is model and results == "results" and not trained
        assert model.network == network and model.teacher is teacher, text
        depends = [f_s] * bool(begins is f_s or teacher or chosen) + [f_t] * (begins is f_t)
        depends += [gans[row.gan].g_sw for _ in chosen[:1]] + [f_w] * (teacher is f_w)
        assert [*follows.values()] == depends, text
        for one in (f_s, f_t):
            mine, theirs = ([*net.trunk.get_weights(), *net.head.get_weights()] for net in (model, one))
            same = len(mine) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
            assert same == (begins is one), text
        assert listed[:4] == learn and epochs == (4 if chosen else 6)  # as many steps: 6 x 2, 4 x 3
        extra = listed[4:]
        assert [r.expression for r in extra] == [some[i].expression for i in chosen], text
        assert [r.image[0, 0, 0] for r in extra] == [some[i].image[0, 0, 0] for i in chosen], text
        levels = [some[i].image[9, 9, 0] if level is None else level for i in chosen]
        assert [r.image[9, 9, 0] for r in extra] == levels, text
    without = rows.one_row(settings, Row.read("S2T_attention"), source._replace(gans={}), learn, None, 0, tmp_path)
    assert without[0].teacher is f_s
    other = rows.build(settings, Row.read("S2T_attention@mean_square=7"), source, 0)
    assert (other.at_reduction, other.beta, other.teacher) == ("mean_square", 7.0, f_s)
    other = rows.build(settings, Row.read("CycleAT@mean_square"), source, 0)
    assert (other.at_reduction, other.beta, other.teacher) == ("mean_square", 1000.0, f_w)


def test_what_rows_are_called():
    """A row, its controls, another norm and beta of eq. (10); and what is none."""
    cases = {
        "S2T_att_gen:untranslated:no_attention": (
            "S2T_att.&gen., untranslated, no attention", "S2T_att_gen_untranslated_no_attention", "alone", False, False,
        ),
        "CycleAT:untranslated": ("CycleAT, untranslated", "CycleAT_untranslated", "with f_W", False, True),
        "S2T_attention@norm=0.5": ("S2T_attention, norm=0.5", "S2T_attention_norm_0.5", None, True, True),
        "T_fine_tune": ("f_T, fine-tuned", "T_fine_tune", None, True, False),
    }  # fmt: skip
    for text, expected in cases.items():
        row = Row.read(text)
        assert (row.name, row.folder, row.gan, row.translated, row.attention) == expected
    assert [Row.read(kind).name for kind in ROWS] == [*ROWS.values()]
    refusals = {
        ("S2T", "all"): "--rows=S2T,all: 'all' is none of S2T", (): "--rows is empty",
        ("S2T_attention:no_attention",): "is no control of S2T_attention", ("CycleAT:stranger",): "'stranger' is no",
        ("svm:untranslated",): "is no control of svm", ("T_alone@norm",): "of a row that follows attention",
        ("CycleAT@squares",): "norm or mean_square", ("CycleAT@norm=-1",): "maybe its beta", ("CycleAT@",): "after @",
        ("CycleAT:no_attention@norm",): "of a row that follows", ("CycleAT@norm=x",): "maybe its beta",
        ("S2T", "CycleAT", "S2T"): "names a row twice", ("CycleAT@norm=inf",): "maybe its beta",
    }  # fmt: skip
    for texts, sentence in refusals.items():
        with pytest.raises(ValueError, match=sentence):
            rows_of(texts)


def test_what_is_trained_on_the_source():
    """f_T's network, where a row starts with it, after f_S; once where both are the same."""
    given = {"preset": "smoke", "source_network": ("resnet18", "alexnet"), "target_network": "resnet10"}
    for chosen, start, networks in (
        (("T_fine_tune",), "source", ["resnet18", "alexnet", "resnet10"]),
        (("CycleAT:untranslated",), "source", ["resnet18", "alexnet", "resnet10"]),
        (("CycleAT",), "nothing", ["resnet18", "alexnet"]),
        (("S2T", "S2T_fine_tune", "T_alone", "svm", "vgg16"), "source", ["resnet18", "alexnet"]),
    ):
        assert script.source_networks(script.Settings(rows=chosen, f_t_start=start, **given)) == networks
    same = script.Settings(preset="smoke", target_network="resnet10", source_network=("resnet10",))
    assert script.source_networks(same) == ["resnet10"]
    of_fold, of_run = script.stages(script.Settings(rows=("S2T", "T_alone", "CycleAT:untranslated"), **given))
    assert [stage.name for stage in of_run] == [
        "source/resnet18", "source/alexnet", "source/resnet10", "gan1", "gan2",
    ]  # fmt: skip
    assert {stage.name: stage.after for stage in of_fold} == {
        "T_alone": ("source/resnet18",), "CycleAT_untranslated": ("gan2", "source/resnet10"),
    }  # fmt: skip


def test_what_a_row_selects_among(monkeypatch, tmp_path):
    """--t of its own generator's candidates for each target face, by f_S's features; --candidates of them, drawn."""
    train, learn, given, asked = part(range(30)), part([200, 201]), [], []

    def select(model, target, made, t, seed, file, among):
        given.append((model, target[:, 9, 9, 0].tolist(), made(), t, seed, file))
        asked.append(among)
        return np.array([0, 2])

    monkeypatch.setattr(features, "select", select)
    f_s = SimpleNamespace(weights=[tf.constant([1.0])])
    source = classifiers.Source(f_s, {}, {"alone": Redraws(0.2), "with f_W": Redraws(0.6)}, train, part([99]))
    settings = script.Settings(preset="smoke", t=3, candidates=7)
    order = sorted(np.random.default_rng(5).permutation(30)[:7])
    cases = {
        "S2T_att_gen": 51,
        "CycleAT": 153,
        "CycleAT:untranslated": 153,
        "S2T_att_gen:untranslated:no_attention": 51,
    }
    for text, level in cases.items():  # a control's are its row's own
        row = Row.read(text)
        chosen = rows.selected(settings, source, row, learn, 5, tmp_path / row.folder)
        model, target, made, *others = given.pop()
        assert (model, target, others) == (f_s, [200, 201], [3, 5, tmp_path / row.kind / "selected.npy"])
        assert made[:, 9, 9, 0].tolist() == [level] * 7 and made[:, 0, 0, 0].tolist() == order
        assert chosen == [train[order[0]], train[order[2]]]
    # whatever the answer depends on is in its mark: target faces, candidates, f_S, the generator
    swapped = train[::-1]
    others = source._replace(f_s=SimpleNamespace(weights=[tf.constant([2.0])])), source._replace(train=swapped)
    for one, faces in ((source, learn[::-1]), (source, learn[:1]), (others[0], learn), (others[1], learn)):
        rows.selected(settings, one, Row.read("CycleAT"), faces, 5, tmp_path)
    rows.selected(settings, source, Row.read("CycleAT"), learn, 5, tmp_path)
    assert len({*asked}) == 6 and asked[-1] == asked[1] == asked[2] and asked[3] == asked[0]


def test_which_generators_the_rows_ask_for(monkeypatch, tmp_path):
    """Stage I; from there on stage I again without f_W, and stage II with it."""
    calls = []

    def train(settings, source, auxiliary, stage, seed, folder, start=None):
        calls.append((stage, folder.name, start, auxiliary, seed))
        return f"nets of {folder.name}"

    monkeypatch.setattr(gan, "train", train)
    first, alone, second = (1, "gan1", None), (1, "gan_alone", "nets of gan1"), (2, "gan2", "nets of gan1")
    cases = {
        ("S2T_att_gen", "CycleAT"): [first, alone, second], ("CycleAT",): [first, second],
        ("S2T_att_gen",): [first, alone], ("S2T", "svm"): [], ("CycleAT:untranslated",): [first, second],
        ("S2T_att_gen:untranslated:no_attention", "S2T_att_gen"): [first, alone],
    }  # fmt: skip
    for chosen, expected in cases.items():
        source = classifiers.Source(None, {}, {}, [], [])
        script.train_gans(script.Settings(preset="smoke", rows=chosen), source, "web faces", 4, tmp_path)
        assert calls == [(*call, "web faces", 4) for call in expected]
        names = {"gan_alone": "alone", "gan2": "with f_W"}
        assert source.gans == {names[n]: f"nets of {n}" for _, n, _ in expected[1:]}
        calls.clear()


def rates(optimizer, steps):
    """Its learning rate before each of these steps."""
    kept = []
    for step in steps:
        next(v for v in optimizer_steps(optimizer) if v.dtype.is_integer).assign(step)
        rate = optimizer.learning_rate
        schedule = getattr(optimizer, "_learning_rate", rate)
        kept.append(float(schedule(step) if callable(schedule) else rate))
    return kept


def optimizer_steps(optimizer):
    return [optimizer.iterations if isinstance(optimizer.iterations, tf.Variable) else optimizer.iterations.value]


def test_the_gans_settings_reach_its_nets():
    """Unequal values; a later stage starts from the nets before it, each from its own, and its rate falls."""
    training.setup(seed=0, precision="float32")
    f_s = cycle_at.tiny_classifier(classes=TWO, size=32)
    values = {"filters": 3, "blocks": 2, "discriminator_filters": 5, "size": 32, "lambda_cycle": 7.0, "beta": 0.3}
    values |= {"at_reduction": "mean_square", "gan_loss": "least_squares", "upsampling": "resized"}
    values |= {"lambda_identity": 1.5}
    settings = script.Settings(
        preset="smoke", **values, image_pool=6, d_layers=2, gan_rate=0.02, gan_decay_to=0.1, rate=0.5
    )
    first = gan.build(settings, 1, 11, 8, f_s)
    second = gan.build(settings, 2, 12, 8, f_s, first)
    for model, stage, seed, last in ((first, 1, 11, 0.02), (second, 2, 12, 0.002)):
        config = model.get_config()
        assert {name: config[name] for name in values} == values and config["stage"] == stage
        assert (config["pool"], config["seed"]) == (6, seed) and len(model.pools) == 2
        assert (
            config["discriminator_layers"] == 2 and len(model.d_w.trainable_variables) == 6
        )  # four kernels, two biases
        assert model.source_net is (f_s if stage == 2 else None)
        for player in model.players().values():
            assert rates(player.optimizer, (0, 8)) == pytest.approx([0.02, last]) and player.optimizer.beta_1 == 0.5
    weights = {net: [np.array(w) for w in getattr(first, net).get_weights()] for net in gan.NETS}
    for net, own in weights.items():
        assert all(np.array_equal(a, b) for a, b in zip(own, getattr(second, net).get_weights(), strict=True)), net
    assert not np.array_equal(weights["g_sw"][0], weights["g_ws"][0])
    assert not np.array_equal(weights["d_w"][0], weights["d_s"][0])


def test_the_classifiers_settings_reach_them():
    values = {"size": 32, "width": 0.125, "pool": False, "beta": 0.7, "at_reduction": "mean_square"}
    settings = script.Settings(preset="smoke", **values, rate=0.03, decay_to=0.2, gan_rate=0.5)
    config = classifiers.build(settings, "resnet10", TWO, 9).get_config()
    assert {name: config[name] for name in values} == values
    assert (config["network"], config["classes"], config["seed"]) == ("resnet10", TWO, 9)
    optimizer = classifiers.optimizer(settings, 10)
    optimizer.build([tf.Variable(1.0)])
    assert rates(optimizer, (0, 10)) == pytest.approx([0.03, 0.006]) and optimizer.beta_1 == 0.5


def strides(net, kind):
    """Strides of a net's layers of one kind, in order, those of one pixel left out."""
    return [layer.strides[0] for layer in net.layers if type(layer) is kind and layer.strides[0] > 1]


def depth(net):
    """Layers with weights of a residual network, without its shortcuts, and the softmax's."""
    names = [layer.name for layer in net.trunk.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum("skip" not in name and "_0_conv" not in name for name in names) + 1


def test_the_papers_numbers(monkeypatch):
    """Sections 4.1 and 4.2, read off what --preset=paper builds; open ones as the model's Readings have them."""
    settings = script.Settings(preset="paper")
    classes = settings.labels
    assert {*classes} == {"anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"}
    f_s = classifiers.build(settings, settings.source_network[0], classes, 0)
    model = gan.build(settings, 2, 0, 100, f_s)
    source = classifiers.Source(f_s, {}, {"with f_W": model}, [], [])
    assert settings.f_t_start == "source"
    f_t = rows.build(settings, Row.read("CycleAT"), source, 0)
    f_t.compile(classifier_optimizer=classifiers.optimizer(settings, 100))
    assert depth(f_s) == depth(model.f_w) == 50 and depth(f_t) == 18  # "a shallower network"
    face = part([3], size=256)
    (batch,) = domains.batches(settings, face, TWO, 0, 1).epoch(0)
    assert batch["image"].shape == (1, 256, 256, 3) and settings.template.size == (256, 256)
    for net in (model.g_sw, model.g_ws):
        assert strides(net, keras.layers.Conv2D) == strides(net, keras.layers.Conv2DTranspose) == [2, 2]
        assert sum(isinstance(layer, keras.layers.Add) for layer in net.layers) == 9
    for net in (model.d_w, model.d_s):
        field = 1
        for layer in reversed([layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]):
            field = (field - 1) * layer.strides[0] + layer.kernel_size[0]
        assert field == 70
    kernels = [layer.kernel for n in gan.NETS for layer in getattr(model, n).layers if hasattr(layer, "kernel")]
    assert all(abs(np.std(k) / 0.02 - 1) < 0.1 and abs(np.mean(k)) < 0.003 for k in kernels) and len(kernels) == 58
    players = [*model.players().values(), *f_t.players().values()]
    assert len(players) == 4
    for player in players:
        assert isinstance(player.optimizer, Adam) and player.optimizer.beta_1 == 0.5
        assert rates(player.optimizer, (0, 50, 100)) == pytest.approx([2e-4] * 3)
    assert (model.lambda_cycle, model.beta, f_t.beta, model.gan_loss) == (1.0, 0.1, 0.1, "log")
    assert model.filters == model.discriminator_filters == 64
    assert model.at_reduction == f_t.at_reduction == "norm" and f_t.teacher is model.f_w
    assert (settings.t, settings.gan_batch_size, model.pool) == (8, 1, 0)
    assert settings.rows == ("S2T", "S2T_fine_tune", "S2T_attention", "S2T_att_gen", "CycleAT")
    people = [Record("x.png", subject=f"{i}") for i in range(100)]
    assert [len(p) for p in domains.split_source(settings, people, 0)] == [80, 20]
    built = []
    monkeypatch.setattr(classifiers, "build", lambda *args, **more: built.append((args[1], more)))
    rows.build(settings, Row.read("vgg16"), source, 0)
    assert built == [("vgg16", {"weights": "imagenet"})]


def test_the_papers_data():
    """Section 4.1: 700 faces in two sets; 1,141 in five, of which one is tested; levels 3 and 4; 20 people tested."""
    sfew, emotionet, bu3dfe = (protocols.PROTOCOLS[n] for n in ("sfew_2fold", "emotionet_5fold", "bu3dfe_80_20"))
    assert (sfew.folds, sfew.images, sfew.parts) == (2, 700, ("set1", "set2"))
    assert (emotionet.folds, emotionet.images, emotionet.classes) == (5, 1141, "six")
    assert (bu3dfe.share, bu3dfe.people, bu3dfe.images) == (0.2, 100, 100 * 6 * 143 * 2 + 100 * 143)
    assert catalogue.parameters("bu3dfe") == {"levels": (3, 4)}


@pytest.mark.parametrize("elsewhere", [True, False])
def test_who_is_tested_elsewhere_is_read_once(monkeypatch, tmp_path, elsewhere):
    """With --test_on no training of a row meets the tested; its network does, when it is trained."""
    watched, asked = [], []

    def train(settings, data, test, *rest):
        watched.append(test)
        return evaluation.Outcome("f_t", {} if test is None else {"last": "after each epoch"})

    monkeypatch.setattr(classifiers, "train", train)
    monkeypatch.setattr(evaluation, "predict", lambda net, test: asked.append((net, test)) or "once")
    given = {
        "dataset": "rendered2",
        "target": "rendered2/wild=a",
        "test_on": "rendered2/judge=j" if elsewhere else None,
    }
    settings = script.Settings(preset="smoke", **given, target_epochs=1)
    f_s = cycle_at.tiny_classifier(classes=TWO, network="resnet18", size=32, name="f_s")
    source = classifiers.Source(f_s, {}, {}, [], [], None)
    found = rows.one_row(settings, Row.read("S2T_fine_tune"), source, part(range(4)), "the tested", 0, tmp_path)
    assert watched == [None if elsewhere else "the tested"] and found.model == "f_t"
    assert asked == ([("f_t", "the tested")] if elsewhere else [])
    assert found.tested == {"last": "once" if elsewhere else "after each epoch"}
