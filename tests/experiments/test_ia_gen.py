"""`python -m experiments.ia_gen --preset=smoke` and `experiments.regenerate`: files, figures, and what is refused."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from experiments import ia_gen as script
from experiments.parts.ia_gen import controls, gans, measures, namings
from experiments.run import classifier, fitting, regeneration
from fer_tf import export, faces, weights
from fer_tf.compat import keras
from fer_tf.datasets import rendered
from fer_tf.models import ia_gen as ia_gen_model
from fer_tf.records import Fold, Record, expression_pairs

CLASSES = ("anger", "happiness")
SMOKE = ("--preset=smoke", "--precision=float32")


@pytest.fixture(scope="module")
def ia_gen(here):
    """Runs the experiment at smoke size."""
    return lambda *flags: here("ia_gen", *SMOKE, *flags)


@pytest.fixture(scope="module")
def folder(ia_gen, op_by_op, tmp_path_factory):
    """A finished smoke run of one fold, and what it printed."""
    path = tmp_path_factory.mktemp("ia_gen")
    with op_by_op():
        done = ia_gen(f"--workdir={path}", "--only_folds=0", "--lambda=2", "--named_by=combined")
    assert done.returncode == 0, done.stderr[-3000:]
    return path, done.stdout


@pytest.fixture(scope="module")
def everybody(ia_gen, tmp_path_factory):
    """A finished run on all subjects, the weights to release: first one GAN, then the same command for the others."""
    path = tmp_path_factory.mktemp("everybody")
    first = ia_gen(f"--workdir={path}", "--all_subjects", "--inputs=neutral", "--expressions=happiness")
    assert first.returncode == 0 and "ia_gen.h5 waits" in first.stdout, first.stderr[-3000:]
    assert (path / "all/gan_happiness.h5").is_file() and not (path / "all/ia_gen.h5").exists()
    done = ia_gen(f"--workdir={path}", "--all_subjects", "--inputs=neutral")
    assert done.returncode == 0 and "gan_happiness is done" in done.stdout, done.stderr[-3000:]
    return path / "all"


def fold_of(path):
    return path / "run0" / "fold0"


def test_both_methods_are_in_the_table_and_the_files(folder):
    path, printed = folder
    found = json.loads((path / "metrics.json").read_text())
    rows = ["FER-Net", "IA-gen", *controls.NAMES.values(), *namings.NAMES["combined"]]
    assert [*found["methods"]] == rows and found["classes"] == list(CLASSES)
    tested = {np.sum(m["last"]["confusion"]) for m in found["methods"].values()}
    assert tested == {12}  # two people x two expressions x three frames
    generation = found["generation"][0]
    assert set(generation["l1"]["generated"]) == {*CLASSES, "mean"} and 0 <= generation["target_rate"]["mean"] <= 1
    assert generation["calibration"]["temperature"] > 0
    assert (fold_of(path) / "judge/done.json").is_file() and "with_real_faces" not in generation
    (controlled,) = found["controls"]
    for part in ("held_out", "training"):
        assert controlled[part]["leak"]["ratio"] >= 0 and not any(controlled[part]["kept_own"].values())
    held_out = {name: m["last"]["micro"]["pooled"] for name, m in found["methods"].items()}
    assert held_out["IA-gen"] == pytest.approx(controlled["held_out"]["eq8"])
    assert held_out["FER-Net"] == pytest.approx(controlled["held_out"]["softmax"])
    for name, words in controls.NAMES.items():
        assert held_out[words] == pytest.approx(controlled["held_out"][name]) and words in printed
    beside = {name: entry["baseline"] for name, entry in found["paired"].items()}
    assert beside.pop("IA-gen") == beside.pop(controls.NAMES["class_means"]) == "FER-Net"
    assert [beside.pop(name) for name in rows[-2:]] == ["FER-Net", rows[-2]]
    assert set(beside.values()) == {"IA-gen"} and len(beside) == 4 and len(found["named_by"][0]["people"]) == 2
    assert "FER-Net" in printed and "IA-gen" in printed and "SSIM" in printed
    assert json.loads((path / "flags.json").read_text())["lambda"] == 2
    fold = fold_of(path)
    pictures = ("confusion_fer_net.png", "confusion_ia_gen.png", "per_class.png", "run0/fold0/regenerated.png")
    for name in (*pictures, "run0/fold0/gan_anger/samples/epoch001.png"):
        assert (path / name).stat().st_size > 0, name
    for stage in ("finetune", "gan_anger", "gan_happiness"):
        assert (fold / stage / "done.json").is_file() and (fold / stage / "history.csv").is_file()


def test_every_checkpoint_says_what_it_learnt_from(folder, bound):
    """The GANs and the net that judges them, too; a GAN depends on the FER-Net that gives its phi."""
    fold, other = (set(f["subjects"]) for f in json.loads((folder[0] / "folds.json").read_text())["folds"])
    gan, judge = (other, set(), {"FER-Net"}), (other, fold, set())
    expected = {"finetune": judge, "judge": judge, "gan_anger": gan, "gan_happiness": gan}
    assert bound(folder[0] / "run0/fold0") == expected


def test_the_exported_recogniser_answers(folder):
    predictor = export.load(folder[0] / "export")
    p = predictor(np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8))
    assert p.shape == (3, 2) and tuple(predictor.classes) == CLASSES and np.allclose(p.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_the_same_command_again_trains_nothing_and_says_the_same(ia_gen, folder):
    path, printed = folder
    before = {p: p.stat().st_mtime_ns for p in path.rglob("checkpoint/*.index")}
    again = ia_gen(f"--workdir={path}", "--only_folds=0", "--lambda=2")
    assert again.returncode == 0, again.stderr[-3000:]
    assert before == {p: p.stat().st_mtime_ns for p in path.rglob("checkpoint/*.index")}
    table = printed[printed.index("accuracy in percent") :]
    assert table == again.stdout[again.stdout.index("accuracy in percent") :]


@pytest.mark.slow
def test_all_subjects_leave_weights_that_answer_and_carry_their_origin(cli, everybody, tmp_path):
    model = export.rebuild(everybody / "ia_gen.h5")
    assert tuple(model.classes) == CLASSES and len(model.generators) == 2
    origin = weights.provenance(everybody / "ia_gen.h5")
    assert origin["datasets"] == ["rendered"] and origin["commit"]
    assert origin["command"].startswith("python -m experiments.ia_gen ")
    assert str(everybody.parent) not in json.dumps(origin)
    assert weights.provenance(everybody / "gan_anger.h5")["expression"] == "anger"
    face = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(face).save(tmp_path / "face.png")
    flags = (f"--model={everybody / 'ia_gen.h5'}", f"--image={tmp_path / 'face.png'}", f"--out={tmp_path / 'out'}")
    done = cli("regenerate", *flags, f"--image={tmp_path / 'nothing.png'}")
    assert done.returncode == 1 and "nothing.png: there is no such file" in done.stderr
    (line,) = (json.loads(text) for text in done.stdout.splitlines())
    assert line["label"] == min(line["distances"], key=line["distances"].get) and set(line["distances"]) == {*CLASSES}
    assert Image.open(tmp_path / "out" / "face_regenerated.png").width > 3 * 64
    done = cli("predict", *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["faces"][0]["label"] == line["label"]


@pytest.mark.parametrize("script", ["regenerate", pytest.param("predict", marks=pytest.mark.slow)])
def test_the_released_weights_see_that_the_astronaut_is_happy(cli, tmp_path, script):
    photo = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(photo).save(tmp_path / "face.png")
    done = cli(script, "--model=ia_gen", "--image=face.png", "--out=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    line = json.loads(done.stdout)
    assert (line if script == "regenerate" else line["faces"][0])["label"] == "happiness"
    assert len([*(tmp_path / "out").iterdir()]) == 1


@pytest.mark.slow
def test_weights_of_everybody_never_start_a_fold_of_the_same_people(ia_gen, everybody, tmp_path):
    done = ia_gen(f"--workdir={tmp_path}", f"--gan_init={everybody}", "--only_folds=0", "--expressions=anger")
    assert done.returncode == 1 and "has seen who is to be tested" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("checkpoint")), "found out before anything is trained"


@pytest.mark.slow
def test_gans_start_from_another_data_sets_weights_and_from_nothing_where_it_has_none(ia_gen, tmp_path):
    """As from BU-4DFE, which has no contempt: what was trained there is named in what is made of it."""
    given = tmp_path / "elsewhere"
    for name in ("gan_anger", "gan_happiness"):
        model = ia_gen_model.ExpressionGAN(feature_net=ia_gen_model.tiny_features(), width=1 / 32)
        weights.save(model, given / f"{name}.h5", provenance={"datasets": ["bu4dfe", "web"]})
    flags = ("--all_subjects", f"--gan_init={given}", "--classes=anger,happiness,contempt", f"--workdir={tmp_path}/w")
    done = ia_gen(*flags)
    assert done.returncode == 0 and "nothing for contempt" in done.stderr, done.stderr[-3000:]
    assert weights.provenance(tmp_path / "w/all/gan_anger.h5")["datasets"] == ["bu4dfe", "rendered", "web"]
    weights.save(model, given / "gan_anger.h5", provenance={})
    done = ia_gen(*flags[:-1], f"--workdir={tmp_path}/v")
    assert done.returncode == 1 and "does not say what it was trained on" in done.stderr, done.stderr[-2000:]


@pytest.mark.slow
def test_neutral_inputs_make_more_pairs_and_the_same_folds(ia_gen, tmp_path):
    """Three people, three frames of two expressions: (6 or 9 inputs) x 3 targets of each, in batches of four."""
    steps, people = [], []
    for name, more in (("plain", ()), ("neutral", ("--inputs=neutral",))):
        flags = ("--only_folds=1", "--expressions=anger", "--max_steps=100", "--max_subjects=4", *more)
        done = ia_gen(f"--workdir={tmp_path / name}", *flags)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "without --expressions goes on" in done.stdout
        steps.append(json.loads((tmp_path / name / "run0/fold1/gan_anger/done.json").read_text())["steps"])
        people.append([f["subjects"] for f in json.loads((tmp_path / name / "folds.json").read_text())["folds"]])
    assert steps == [2 * 6 * 3 // 4, 2 * 9 * 3 // 4 + 1] and people[0] == people[1]


def test_bad_input_gets_one_sentence(refused, tmp_path):
    cases = {
        "--expressions=joy": "joy",
        "--expressions=fear": "fear is not in --classes",
        "--inputs=boredom": "boredom",
        "--classes=anger": "is one class",
        "--dataset=fer2013": "fer2013_train.npz is missing",
        "--gan_init=nowhere": "nowhere has no gan_anger.h5",
    }
    refused("ia_gen", cases, *SMOKE, f"--workdir={tmp_path}", "--only_folds=0")


MARKS = {"anger": -2, "happiness": 2}


def marked():
    """Faces of seven people: the grey value is the person, two less for anger and two more for happiness."""
    listed = []
    for number in range(7):
        for expression, mark in MARKS.items():
            for frame in range(1 + (number + mark) % 3):
                image = np.full((48, 48, 3), 20 + 12 * number + mark, np.uint8)
                where = {"subject": f"P{number}", "sequence": f"{number}-{expression}", "frame": frame}
                listed.append(Record(image, expression, **where, domain="lab", info={"framed": True}))
    return listed


def read_marks(images):
    """[(person, expression)] of such faces, by their pixels alone."""
    levels = np.median(np.reshape(images, (len(images), -1)), 1) * 255 - 20
    people = np.round(levels / 12).astype(int)
    return [
        (f"P{p}", "anger" if rest < 0 else "happiness") for p, rest in zip(people, levels - 12 * people, strict=True)
    ]


UNEQUAL = {"alpha": 3.0, "beta": 5.0, "lambda_": 2.0, "content": "mse", "phi_pooling": 3, "phi_scale": 0.5,
           "lambda_consistency": 7.0, "lambda_feat": 1.5, "normal_norms": True}  # fmt: skip


@pytest.fixture
def wired(planted, tmp_path, monkeypatch):
    """A run on fold 1 of the marked people, no step of which is taken: its results, and what each stage was given."""
    planted.plant(marked())
    seen, fit, measure = {}, fitting.fit, measures.measure

    def spy_on_gans(settings, model, data, folder, strategy, **options):
        columns = ("image", "target", "other")
        batches = [[read_marks(b[name].numpy()) for name in columns] for b in data.epoch(0)]
        rows = [row for batch in batches for row in zip(*batch, strict=True)]
        seen[model.expression] = model, [row[:2] for row in rows]
        seen["others"] = seen.get("others", []) + [(image, other) for image, _, other in rows]
        fit(settings, model, data, folder, strategy, **options)
        for variable in model.generator.trainable_variables:  # GANs of one seed start alike
            variable.assign(variable * (1.0 + len(seen)))

    def spy_on_the_judge(settings, model, judge, people, folder):
        seen["judge"] = judge
        return measure(settings, model, judge, people, folder)

    monkeypatch.setattr(fitting, "fit", spy_on_gans)
    monkeypatch.setattr(measures, "measure", spy_on_the_judge)
    monkeypatch.setattr(regeneration, "identity", lambda *args, **options: None)  # slow, and tested below
    given = {"folds": 3, "only_folds": "1", "max_subjects": 0, "max_steps": None, "temperature": 1.5, **UNEQUAL}
    rates = {"rate": 0.25, "drop": 3, "gan_rate": 0.125, "gan_decay": 0.5, "gan_epochs": 3}
    settings = script.Settings(preset="smoke", precision="float32", workdir=str(tmp_path), **given, **rates)
    return script.run(settings), seen


def test_each_stage_sees_its_own_people_and_each_part_takes_its_place(wired, planted, tmp_path):
    """Fold 1 of three holds out P3 and P4; the faces themselves say who they are and what they show."""
    results, seen = wired
    held_out, listed = {"P3", "P4"}, marked()
    planted.check(tmp_path)
    assert [s.place.name for s in planted.trained] == ["finetune", "gan_anger", "gan_happiness", "judge"]
    tested = Counter(r.key() for r in listed if r.subject in held_out)
    learnt = Counter(r.key() for r in listed if r.subject not in held_out)
    assert [s.people == held_out for s in planted.read].count(False) == 1, "the controls read the training people once"
    assert all(Counter(s.keys) == (tested if s.people == held_out else learnt) for s in planted.read)
    shown = Counter((r.subject, r.expression) for r in listed if r.subject not in held_out)
    for expression in CLASSES:
        wanted = Counter()
        for (person, input_expression), count in shown.items():
            pair = (person, input_expression), (person, expression)
            wanted[pair] = count * shown[person, expression]
        assert Counter(seen[expression][1]) == wanted, expression
    assert len(seen["others"]) == sum(len(seen[expression][1]) for expression in CLASSES)
    assert all(a[0] == b[0] and a[1] != b[1] for a, b in seen["others"]), "the other expression of the same person"
    recogniser, net = results.models["IA-gen"], results.models["FER-Net"]
    assert recogniser.classes == CLASSES and recogniser.temperature == 1.5
    assert recogniser.feature_net is net and seen["judge"] is not net
    assert any(np.any(a != b) for a, b in zip(net.get_weights(), seen["judge"].get_weights(), strict=True))
    batches = -(-sum(shown.values()) // 8)
    rate = net.classifier_optimizer.get_config()["learning_rate"]["config"]
    assert (rate["initial_learning_rate"], rate["decay_rate"], rate["decay_steps"]) == (0.25, 0.8, 3 * batches)
    kernels = []
    for expression, generator in zip(CLASSES, recogniser.generators, strict=True):
        gan, pairs = seen[expression]
        assert gan.feature_net is net and {n: getattr(gan, n) for n in UNEQUAL} == UNEQUAL
        for a, b in zip(generator.get_weights(), gan.generator.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        kernels.append(generator.get_weights()[0])
        for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
            rate = optimizer.get_config()["learning_rate"]["config"]
            assert rate == {"rate": 0.125, "steps": 3 * -(-len(pairs) // 4), "share": 0.5}
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_inputs_feed_the_gans_alone(planted, tmp_path, monkeypatch):
    """Neutral faces are no class: FER-Net neither learns nor is tested on them; who shows nothing else is left out."""
    everybody = [*marked(), *(Record(r.image, "neutral", f"P{p}", info=r.info) for p, r in enumerate(marked()[:8]))]
    planted.plant(everybody)
    settings = script.Settings(preset="smoke", max_subjects=0, inputs=("neutral",), workdir=str(tmp_path))
    listed, given = script.load(settings), {}
    assert {r.subject for r in listed} == {f"P{p}" for p in range(7)} and settings.loaded == (*CLASSES, "neutral")

    def one_fold(settings, listed, fold, classes, seed, folder):
        given["net"] = [Counter(listed[i].expression for i in part) for part in fold]
        return "net", {}

    monkeypatch.setattr(classifier, "one_fold", one_fold)
    monkeypatch.setattr(gans, "train", lambda settings, expression, people, *rest: given.setdefault("gans", people))
    train = tuple(i for i, r in enumerate(listed) if r.subject not in ("P3", "P4"))
    script.train(settings, listed, Fold(train, tuple({*range(len(listed))} - {*train})), 0, tmp_path)
    assert all(set(part) == {*CLASSES} for part in given["net"])
    assert Counter(r.subject for r in given["gans"] if r.expression == "neutral") == dict.fromkeys(
        ("P0", "P1", "P2", "P5", "P6"), 1
    )
    assert len(given["gans"]) == len(train)


def rates(optimizer, *steps):
    """The learning rates of an optimizer at these steps."""
    told = optimizer.get_config()["learning_rate"]
    if not isinstance(told, dict):
        return [float(told)] * len(steps)
    schedule = getattr(keras.optimizers.schedules, told["class_name"]).from_config(told["config"])
    return [float(schedule(step)) for step in steps]


def test_the_papers_numbers():
    """Sections III-A, IV-A and IV-C, read off what --preset=paper builds; seven batches an epoch."""
    paper = script.Settings(preset="paper", init="none")
    assert (paper.folds, paper.runs, paper.fold_order, paper.classes) == (10, 8, "contiguous", "seven")
    assert (paper.batch_size, paper.gan_batch_size, paper.views, paper.gan_views) == (100, 100, 0, 0)
    assert (paper.max_steps, paper.max_subjects, paper.only_folds) == (None, 0, "")
    net = classifier.build(paper, paper.labels, 7, 0, None, None)
    assert net.classifier_optimizer.momentum == 0.9 and not net.classifier_optimizer.nesterov
    assert net.dropout == net.hidden_dropout.rate == 0.5 and net.label_smoothing == 0
    found = rates(net.classifier_optimizer, 0, 139, 140, 279, 280)
    np.testing.assert_allclose(found, np.array([1, 1, 0.8, 0.8, 0.64]) * 0.001, rtol=1e-5)
    gan = gans.build(paper, "anger", net, 30, 0)
    assert (gan.alpha, gan.beta, gan.lambda_, gan.content) == (100, 10, 1, "l1")
    layers = {layer.name: layer for layer in gan.generator.layers}
    for part, channels in (("e", (64, 128, 256, 512, 512, 512)), ("d", (512, 512, 256, 128, 64, 1))):
        convolutions = [layers[f"{part}{i}_conv"] for i in range(1, 7)]
        assert tuple(c.filters for c in convolutions) == channels
        assert {(*c.kernel_size, *c.strides) for c in convolutions} == {(4, 4, 2, 2)}
    convolutions = [layer for layer in gan.discriminator.layers if layer.name.endswith("_conv")]
    assert [c.filters for c in convolutions] == [64, 128, 256, 512, 1]
    assert {c.kernel_size for c in convolutions} == {(4, 4)}
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):  # of [14]
        assert float(optimizer.beta_1) == 0.5 and rates(optimizer, 0, 10**6) == pytest.approx([2e-4, 2e-4])
    views, template = ia_gen_model.views, faces.TEMPLATES[ia_gen_model.TEMPLATE]
    dropouts = [layer.rate for name, layer in layers.items() if name.endswith("_dropout")]
    assert dropouts == [0.5, 0.5]
    assert tuple(template.size) == views.source == (70, 70) and views.size == (64, 64) and len(views) == 11 * 5 * 2
    assert views.angles == tuple(range(-15, 16, 3))
    by_name = {name: script.Settings(preset="paper", protocol=name) for name in PROTOCOLS}
    assert {n: (p.dataset, p.classes, p.folds, p.runs) for n, p in by_name.items()} == PROTOCOLS


PROTOCOLS = {
    "ck_plus_7_10fold": ("ck_plus", "seven", 10, 8),
    "oulu_strong_10fold": ("oulu_casia", "six", 10, 1),
    "bu3dfe_10fold": ("bu3dfe", "six", 10, 10),
    "bu4dfe_10fold": ("bu4dfe", "six", 10, 10),
}
"""Section IV-C to IV-F; how often Oulu-CASIA is repeated is not printed."""


def person(subject, *shown):
    return [Record(b"", e, subject, sequence=str(n), frame=f) for n, (e, f) in enumerate(shown)]


def test_pairs_join_any_face_of_a_person_with_their_own_targets():
    made = [
        *person("A", ("anger", 0), ("fear", 0), ("anger", 1)),
        *person("B", ("fear", 0)),
        *person("C", ("anger", 0)),
    ]
    pairs, left_out = expression_pairs(made, "anger")
    found = set(zip(pairs["image"], pairs["target"], strict=True))
    assert found == {(i, j) for i in (0, 1, 2) for j in (0, 2)} | {(4, 4)} and left_out == ["B"]
    with pytest.raises(ValueError, match="Nobody shows disgust"):
        expression_pairs(made, "disgust")
    with pytest.raises(ValueError, match="no subject"):
        expression_pairs([Record("x.jpg", "anger")], "anger")


def test_real_faces_are_the_persons_own_of_the_same_frame():
    made = [*person("A", ("anger", 0), ("anger", 1), ("fear", 1), ("fear", 5)), *person("B", ("fear", 0))]
    assert regeneration.real_faces(made, "anger").tolist() == [0, 1, 1, 1, -1]


def test_errors_by_hand():
    made = [*person("A", ("anger", 0), ("fear", 0)), *person("B", ("fear", 0))]
    images = np.stack([np.full((16, 16, 1), v, np.float32) for v in (0.2, 0.5, 0.9)])
    generated = np.stack([np.stack([np.full((16, 16, 1), v, np.float32) for v in (0.25, 0.4)])] * 3)
    table = regeneration.errors(images, generated, made, ("anger", "fear"))
    # anger from A's fear: |0.25 - 0.2|; fear from A's anger: |0.4 - 0.5|; B has no anger to compare with
    assert table["l1"]["generated"] == pytest.approx({"anger": 0.05, "fear": 0.1, "mean": 0.075}, abs=1e-6)
    assert table["l1"]["input"] == pytest.approx({"anger": 0.3, "fear": 0.3, "mean": 0.3}, abs=1e-6)
    same = regeneration.errors(images, np.stack([images[[0, 1]]] * 3), made, ("anger", "fear"))
    assert same["ssim"]["generated"]["mean"] == pytest.approx(1, abs=1e-5)
    assert regeneration.errors(images[2:], generated[2:], made[2:], ("anger", "fear")) is None


def test_target_rate_counts_what_the_judge_reads():
    generated = np.zeros((4, 2, 8, 8, 1), np.float32)
    generated[:3, 1] = 1.0

    def judge(x):
        bright = x.mean((1, 2, 3))
        return np.stack([1 - bright, bright], -1)

    assert regeneration.target_rate(judge, generated, CLASSES) == {"anger": 1.0, "happiness": 0.75, "mean": 0.875}


def test_unchanged_looks_at_the_nearest_face_of_wrong_answers_alone():
    generated = np.zeros((3, 2, 8, 8, 1), np.float32)
    generated[:, 1] = 1.0
    generated[2, 1] = 0.0  # the second expression's generator left the third input as it was

    def read(x):
        bright = x.mean((1, 2, 3))
        return np.stack([1 - bright, bright], -1)

    labels = np.array([0, 0, 0])
    assert regeneration.unchanged(read, generated, labels, np.array([0, 1, 1])) == 0.5
    assert regeneration.unchanged(read, generated, labels, labels) is None


def test_the_detectors_box_in_the_centre_crop():
    """The mean eyes of a detector's box, put into `crop_box`, fall on the template's eyes less the crop's offset."""
    template = faces.TEMPLATES["ia_gen"]
    left, top, right, bottom = regeneration.crop_box(template, 64)
    points = np.array(faces.BOX_POINTS) * [right - left, bottom - top] + [left, top]
    assert np.abs(points - (np.array(template.points) - 3)).max() < 1.5


@pytest.mark.skipif(not faces.has_landmarks(), reason="needs the extra landmarks")
def test_identity_of_copies_and_of_strangers():
    """A copy is no distance away; the next person's face is as far as people are."""
    from fer_tf import pipeline
    from fer_tf.models.ia_gen import views

    people = [r for r in rendered.records() if r.expression in ("neutral", "fear") and r.frame == 2][:8]
    cut = np.stack([pipeline.face(r, "ia_gen") for r in people])
    images = np.asarray(views.test_view(cut), np.float32) / 255
    copies = regeneration.identity(images, images[:, None], people, ["anger"], faces.TEMPLATES["ia_gen"])
    others = regeneration.identity(images, np.roll(images, 2, 0)[:, None], people, ["anger"], faces.TEMPLATES["ia_gen"])
    assert copies["input_generated"] == 0 and copies["auc"] == 1 and copies["real_same"] < copies["real_between"]
    assert others["input_generated"] > 0.8 * others["real_between"]
