"""`python -m experiments.de_gan --preset=smoke`: both stages, pictures, measures, both exports, what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.parts.de_gan import expression_transfer
from fer_tf import export, weights
from fer_tf.models import de_gan

SMOKE = ("de_gan", "--preset=smoke", "--precision=float32")
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("CNN (baseline)", "DE-GAN", "DE-GAN, f(x) alone")


@pytest.fixture(scope="module")
def everybody(cli, tmp_path_factory):
    """The folder of an --all_subjects run on other people."""
    folder = tmp_path_factory.mktemp("de_gan_all")
    own = ("--own_share=0.5", "--lambda_own=10")
    done = cli(*SMOKE, "--all_subjects", "--uses=both", "--part=wild", f"--workdir={folder}", "--take=3", *own)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A finished smoke run of one fold: its folder, its flags and what it printed."""
    folder = tmp_path_factory.mktemp("de_gan")
    given = (f"--workdir={folder}", "--only_folds=0")
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, given, done.stdout


def test_table_measures_and_pictures(run):
    folder, _, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert tuple(found["methods"]) == NAMES and all(f"\n{name} " in printed for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [12] * 3
    (measures,) = found["generation"]
    kinds = {"f(x)", "f(x), untrained", "CNN (baseline)", "residues, each map's mean", "last FC of the local CNNs"}
    assert set(measures["probes"]) == {*kinds, "chance"}
    assert measures["probes"]["chance"] == {"expression": 0.5, "identity": 0.5}
    assert measures["reached"]["identity_by_chance"] == 0.5 and "made faces: the expression is read in" in printed
    assert set(measures["classifiers"]["both"]) == {"L1", "L2", "L3", "L4", "L5"}
    assert set(measures["classifiers"]["code"]) == {"L5"}
    both = found["methods"]["DE-GAN"]["last"]["micro"]["pooled"]
    assert measures["classifiers"]["both"]["L5"] == pytest.approx(both / (100 if both > 1 else 1), abs=1e-3)
    place = folder / "run0/fold0"
    for name in ("transfer", "interpolation", "gan/history", "gan/samples/epoch001"):
        with Image.open(place / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name


def test_both_exports(run):
    folder = run[0]
    predictor = export.load(folder / "export")
    faces = np.random.default_rng(0).integers(0, 256, (3, 90, 80, 1), dtype=np.uint8)
    p = predictor(list(faces[..., 0]))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5) and predictor.metadata["uses"] == "both"
    transfer = tf.saved_model.load(str(folder / "transfer"))
    people = [name.decode() for name in transfer.identities().numpy()]
    told = json.loads(transfer.metadata().numpy())
    assert people == told["identities"] and len(people) == 2
    made = transfer.signatures["serving_default"](faces=tf.constant(faces), identity=tf.constant([0, 1, 1]))
    assert made["faces"].shape == (3, 96, 96, 1) and made["faces"].dtype == tf.uint8
    assert [n.decode() for n in made["names"].numpy()] == [people[0], people[1], people[1]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="identity must be in 0 .."):
        transfer.signatures["serving_default"](faces=tf.constant(faces), identity=tf.constant([0, 1, 2]))


def test_the_exported_generator_gives_the_models_faces(tmp_path):
    """Of a face in its frame, for two people: the GAN's own answer to the centre view, rounded."""
    gan = export.rebuild(weights.released("de_gan_rendered"))
    expression_transfer.save_transfer(gan, tmp_path / "transfer", {})
    served = tf.saved_model.load(str(tmp_path / "transfer")).signatures["serving_default"]
    pictures = np.asarray(tf.random.stateless_uniform((2, 110, 110, 1), (0, 1), 0, 256, tf.int32), np.uint8)
    found = served(faces=tf.constant(pictures), identity=tf.constant([3, 60]))
    view = np.asarray(de_gan.views.test_view(pictures), np.float32) / 255
    wanted = 255 * gan.transfer(view, tf.constant([3, 60])).numpy()
    assert wanted.std() > 5 and np.abs(found["faces"].numpy() - wanted).max() < 1
    assert [n.decode() for n in found["names"].numpy()] == [gan.subjects[3], gan.subjects[60]]


@pytest.mark.slow
def test_a_finished_run_starts_again_without_training(cli, run):
    folder, given, printed = run
    files = [folder / "run0/fold0" / stage / "checkpoint/checkpoint" for stage in ("gan", "both", "baseline")]
    before = [file.stat().st_mtime_ns for file in files]
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [file.stat().st_mtime_ns for file in files] == before
    table = [line for line in printed.splitlines() if line.startswith(NAMES)]
    assert table and all(line in done.stdout for line in table)


def test_weights_of_everybody(everybody):
    gan, recogniser = (everybody / f"{n}.h5" for n in ("de_gan", "de_gan_recogniser"))
    about = weights.provenance(gan)
    assert about["datasets"] == ["rendered/wild"] and len(about["config"]["subjects"]) == 3
    model = export.rebuild(gan)
    assert isinstance(model, de_gan.DEGAN) and model.subjects == tuple(about["config"]["subjects"])
    p = export.from_weights(recogniser)(np.zeros((2, 96, 96, 1), np.uint8))
    assert p.shape == (2, 2)


def test_what_does_not_fit_gets_one_sentence(refused, everybody, tmp_path):
    about = {**weights.provenance(everybody / "de_gan.h5"), "datasets": ["rendered"]}
    weights.save(export.rebuild(everybody / "de_gan.h5"), tmp_path / "seen.h5", provenance=about)
    cases = {
        "--part=wild": "give --all_subjects, too",
        "--uses=both,all": "'all' is none of both, code, residues",
        f"--gan_init={tmp_path / 'seen.h5'}": "was trained on everybody in rendered",
        "--gan_init=fer_net_fer2013": "does not fit the model",
        "--gan_init=nothing": "nothing",
    }
    refused(SMOKE[0], cases, *SMOKE[1:], f"--workdir={tmp_path}", "--only_folds=0")


@pytest.mark.slow
def test_other_people_are_a_start(cli, everybody, tmp_path):
    """--gan_init, --baseline_init: nets of other people; at a rate of zero the encoder that comes out is theirs."""
    given = [
        f"--{flag}_init={everybody / name}.h5" for flag, name in (("gan", "de_gan"), ("baseline", "de_gan_baseline"))
    ]
    still = ("--gan_rate=0", "--rate=0", f"--workdir={tmp_path / 'run'}")
    done = cli(*SMOKE, "--only_folds=0", "--uses=code", *given, *still)
    assert done.returncode == 0, done.stderr[-3000:]
    start = np.array(export.rebuild(everybody / "de_gan.h5").encoder.trainable_variables[0])
    found = [np.array(v) for v in tf.saved_model.load(str(tmp_path / "run/transfer")).used]
    assert any(v.shape == start.shape and np.allclose(v, start, atol=1e-3) for v in found)


PLANTED = """
import json, sys
import numpy as np
from fer_tf.datasets import rendered
from fer_tf.models import de_gan
from fer_tf.records import Record, of_classes
from experiments.parts.de_gan import expression_transfer as t

found = of_classes(rendered.records(part="lab"), ("anger", "fear", "sadness"))[:60]
people = sorted({r.subject for r in found})
learn, test = [r for r in found if r.subject not in people[:3]], [r for r in found if r.subject in people[:3]]
pictures = {t.test_views([r])[0].tobytes(): r for r in found}


def one_hot(names, key):
    return lambda x: np.array([[getattr(pictures[i.tobytes()], key) == n for n in names] for i in x], np.float32)


classes = ("anger", "fear", "sadness")
kinds = {"expression": one_hot(classes, "expression"), "person": one_hot(people, "subject")}
print(json.dumps(t.probes(kinds, learn, test, classes)))
alone = [r for r in test if r.subject == people[0]]
print(json.dumps(t.probes(kinds, learn, alone, classes)))
"""


def test_probes_read_what_is_there_and_nothing_else():
    """Features that are the expression, and features that are the person; one person alone leaves no identity."""
    done = subprocess.run([sys.executable, "-c", PLANTED], cwd=ROOT, capture_output=True, text=True)
    several, alone = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    chance = several["chance"]
    assert several["expression"] == {"expression": 1, "identity": chance["identity"]}, done.stderr[-2000:]
    assert several["person"]["identity"] == 1 and several["person"]["expression"] <= chance["expression"] + 1e-9
    assert chance == {"expression": pytest.approx(1 / 3), "identity": pytest.approx(1 / 3)}
    assert alone["expression"] == {"expression": 1, "identity": None} and alone["chance"]["identity"] is None


CARRIED = (
    PLANTED.split("classes = (")[0]
    + """
from types import SimpleNamespace

import tensorflow as tf

classes, known = ("anger", "fear", "sadness"), people[3:-1]  # the last one is cut off
of = {(r.subject, r.expression): t.test_views([r])[0] for r in found}
given = lambda x: [pictures[i.tobytes()] for i in np.asarray(x)]


def made(x, who):
    return tf.constant(np.stack([of[known[i], r.expression] for r, i in zip(given(x), who)]))


def judge(names, key):
    return lambda x: tf.constant(one_hot(names, key)(np.asarray(x)))


seen = [Record(r.image, r.subject, subject=r.subject, info=r.info) for r in learn if r.subject in known]
def angry(x, who):
    return tf.constant(np.stack([of[known[i], "anger"] for i in who]))


print(json.dumps(sum(r.expression == "anger" for r in test) / len(test)))
for transfer in (made, angry, lambda x, who: tf.constant(x)):
    gan = SimpleNamespace(classes=classes, subjects=known, transfer=transfer)
    print(json.dumps(t.reached(gan, test, seen, judge(classes, "expression"), judge(known, "subject"), 0)))
"""
)


def test_reached_tells_what_judges_read():
    """Faces of the wanted people with the sources' expressions; always with anger; then the sources themselves."""
    done = subprocess.run([sys.executable, "-c", CARRIED], cwd=ROOT, capture_output=True, text=True)
    share, carried, angry, left = (json.loads(line) for line in done.stdout.splitlines()[-4:])
    assert (carried["expression"], carried["identity"]) == (1, 1), done.stderr[-2000:]
    assert angry["expression"] == pytest.approx(share) == pytest.approx(1 / 3) and angry["identity"] == 1
    assert left["expression"] == 1 and left["identity"] < 0.6  # argmax of no answer is the first person
    for found in (carried, angry, left):
        assert found["expression_of_real"] == found["identity_of_real"] == 1
        assert found["identity_by_chance"] == carried["identity_by_chance"] < 1


PARTS = """
import contextlib, io, json, sys
from pathlib import Path

import numpy as np
from absl import flags
from experiments.run import common
from experiments import de_gan as script
from experiments.run import folds
from fer_tf import weights
from fer_tf.models import de_gan
from fer_tf.records import CLASSES, Fold

place, two = Path(sys.argv[1]), ("anger", "happiness")


def given(*words):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["script", *words])
    common.apply_preset(script.PRESETS)


def loaded(name):
    given("--preset=smoke", "--dataset=folder", "--all_subjects", f"--data_dir={place / name}")
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            return [r.subject for r in script.load(two)], said.getvalue()
        except ValueError as error:
            return None, str(error)


given("--preset=paper")
told = {"paper": flags.FLAGS.flag_values_dict(), "loaded": [loaded(n) for n in ("named", "partly", "nobody")]}


def quarters(net):
    return float(np.mean([np.all(np.array(v) == 0.25) for v in net.weights]))


def build_alone(build, *_, **__):
    return build(), {}


folds.train_and_test = build_alone
script.train_gan = lambda data, classes, *_: de_gan.DEGAN(classes=classes, subjects=data.subjects, width=1 / 32, code=8)
for name, classes in (("two", two), ("six", CLASSES["six"])):
    net = de_gan.EncoderCNN(classes=classes, width=1 / 32, code=8)
    for v in (*net.trunk.weights, *net.head.weights):
        v.assign(np.full(v.shape, 0.25))
    weights.save(net, place / f"{name}.h5", provenance={"classes": classes})
files = {"two": place / "two.h5", "six": place / "six.h5", "none": "none"}
for name in files:
    given("--preset=smoke", "--uses=code", f"--baseline_init={files[name]}")
    people = folds.first_subjects(script.load(two))
    cnn = script.one_fold(people, Fold(tuple(range(len(people))), ()), two, 0, place)[1]
    told[name] = [quarters(net) for net in (cnn.trunk, cnn.head, script.train_judge(people, two, 0, place).trunk)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What the script's parts give by themselves, without training."""
    place = tmp_path_factory.mktemp("parts")
    for name, subjects in (("named", "ab"), ("partly", ["", "a", ""]), ("nobody", ["", ""])):
        (place / name).mkdir()
        (place / name / "face.png").touch()
        lines = [f"face.png,anger,{subject}" for subject in subjects]
        (place / name / "labels.csv").write_text("\n".join(["path,expression,subject", *lines, ""]))
    done = subprocess.run([sys.executable, "-c", PARTS, place], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_papers_numbers(parts):
    """Section 4.1 and 4.2; what it does not print stays as --help says."""
    printed = {"batch_size": 150, "gan_epochs": 300, "epochs": 50, "gan_rate": 1e-4, "code": 350, "folds": 10}
    read = {"rate": 1e-4, "decay_to": 1.0, "width": 1.0, "noise": 50, "views": 0, "own_share": 0.0, "lambda_own": 0.0}
    whole = {"take": 0, "max_steps": None, "only_folds": "", "gan_init": "none", "baseline_init": "none"}
    wanted = {**printed, **read, **whole, "ratio": 4, "near": 0.9, "protocol": "strided", "classes": "seven"}
    assert {name: parts["paper"][name] for name in wanted} == wanted


def test_faces_of_nobody_are_left_out(parts):
    """Eq. (1) asks who is seen: -1 would be an index that D has not."""
    named, partly, nobody = parts["loaded"]
    searched = " pictures will be searched for faces"
    assert named[0] == ["a", "b"] and named[1].startswith(f"2{searched}") and len(named[1].splitlines()) == 1
    assert partly[0] == ["a"] and partly[1].endswith("\nleft out 2 of 3 records: they have no subject\n")
    assert nobody[0] is None and nobody[1].startswith("--dataset=folder names nobody")


def test_baseline_init_is_where_the_baseline_starts(parts):
    """(shares of the trunk's, the head's and a judge's weights): other classes have a head of their own, judges all."""
    assert parts["two"] == [1, 1, 0]
    assert parts["six"] == [1, 0, 0]
    assert parts["none"] == [0, 0, 0]
