"""`de_gan.run` with --preset=smoke: both stages, pictures, measures, both exports, weights, what is refused."""

import contextlib
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import de_gan as script
from experiments.parts.de_gan import expression_transfer, measures, pictures
from fer_tf import export, weights
from fer_tf.datasets import rendered
from fer_tf.models import de_gan
from fer_tf.records import Record, of_classes

SMOKE = {"preset": "smoke", "precision": "float32"}
FITTED = "DE-GAN, f(x) alone, softmax at convergence"
NAMES = ("CNN (baseline), strong", "CNN (baseline), as printed", "DE-GAN", "DE-GAN, f(x) alone", FITTED)


@pytest.fixture(scope="module")
def everybody(op_by_op, tmp_path_factory):
    """The folder of an --all_subjects run on other people."""
    folder = tmp_path_factory.mktemp("de_gan_all")
    given = {"own_share": 0.5, "lambda_own": 10.0, "max_subjects": 3, "uses": ("both",)}
    with op_by_op():
        results = script.run(script.Settings(**SMOKE, **given, all_subjects=True, part="wild", workdir=str(folder)))
    assert (
        results.folder == folder and set(results.models) == {"gan", "baseline_strong", "both"} and not results.methods
    )
    return folder


@pytest.fixture(scope="module")
def run(op_by_op, tmp_path_factory):
    """A finished smoke run of one fold: its folder, its settings, what it printed and what it gave back."""
    settings = script.Settings(**SMOKE, workdir=str(tmp_path_factory.mktemp("de_gan")), only_folds="0")
    with contextlib.redirect_stdout(io.StringIO()) as printed, op_by_op():
        results = script.run(settings)
    return results.folder, settings, printed.getvalue(), results


def test_every_checkpoint_says_what_it_learnt_from(run, bound):
    """Stage two depends on the GAN whose encoder it has; judges learn from others, by other labels."""
    held_out, learnt = (set(f["subjects"]) for f in json.loads((run[0] / "folds.json").read_text())["folds"])
    found = bound(run[0] / "run0/fold0")
    assert found["gan"] == (learnt, set(), set()) and found["baseline_strong"] == (learnt, held_out, set())
    assert found["baseline_printed"] == found["baseline_strong"]
    assert found["both"] == found["code"] == (learnt, held_out, {"the GAN"})
    assert len(found) > 4 and all(tested == set() for name, (_, tested, _) in found.items() if "judge" in name)


def test_table_measures_and_pictures(run):
    folder, _, printed, results = run
    written = json.loads((folder / "metrics.json").read_text())
    assert tuple(written["methods"]) == NAMES and all(f"\n{name} " in printed for name in NAMES)
    assert results.table in printed and results.methods == written["methods"]
    assert [np.sum(m["last"]["confusion"]) for m in written["methods"].values()] == [12] * 5
    (measured,) = written["generation"]
    kinds = {"f(x)", "f(x), untrained", *NAMES[:2], "residues, each map's mean", "last FC of the local CNNs"}
    assert set(measured["probes"]) == {*kinds, "chance"}
    assert measured["probes"]["chance"] == {"expression": 0.5, "identity": 0.5}
    assert measured["reached"]["identity_by_chance"] == 0.5 and "made faces: the expression is read in" in printed
    assert set(measured["classifiers"]["both"]) == {"L1", "L2", "L3", "L4", "L5"}
    assert set(measured["classifiers"]["code"]) == {"L5"}
    both = written["methods"]["DE-GAN"]["last"]["micro"]["pooled"]
    assert measured["classifiers"]["both"]["L5"] == pytest.approx(both / (100 if both > 1 else 1), abs=1e-3)
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
    metadata = json.loads(transfer.metadata().numpy())
    assert people == metadata["identities"] and len(people) == 2
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
    faces = np.asarray(tf.random.stateless_uniform((2, 110, 110, 1), (0, 1), 0, 256, tf.int32), np.uint8)
    made = served(faces=tf.constant(faces), identity=tf.constant([3, 60]))
    view = np.asarray(de_gan.views.test_view(faces), np.float32) / 255
    wanted = 255 * gan.transfer(view, tf.constant([3, 60])).numpy()
    assert wanted.std() > 5 and np.abs(made["faces"].numpy() - wanted).max() < 1
    assert [n.decode() for n in made["names"].numpy()] == [gan.subjects[3], gan.subjects[60]]


@pytest.mark.slow
def test_a_finished_run_starts_again_without_training(run):
    folder, settings, printed, _ = run
    files = [folder / "run0/fold0" / stage / "checkpoint/checkpoint" for stage in ("gan", "both", "baseline_strong")]
    before = [file.stat().st_mtime_ns for file in files]
    with contextlib.redirect_stdout(io.StringIO()) as again:
        script.run(settings)
    assert [file.stat().st_mtime_ns for file in files] == before
    table = [line for line in printed.splitlines() if line.startswith(NAMES)]
    assert table and all(line in again.getvalue() for line in table)


def test_weights_of_everybody(everybody):
    gan, recogniser = (everybody / f"{n}.h5" for n in ("de_gan", "de_gan_recogniser"))
    about = weights.provenance(gan)
    assert about["datasets"] == ["rendered/wild"] and len(about["config"]["subjects"]) == 3
    assert about["command"].startswith("python -m experiments.de_gan --preset=smoke --precision=float32")
    model = export.rebuild(gan)
    assert isinstance(model, de_gan.DEGAN) and model.subjects == tuple(about["config"]["subjects"])
    p = export.from_weights(recogniser)(np.zeros((2, 96, 96, 1), np.uint8))
    assert p.shape == (2, 2)


def test_what_does_not_fit_gets_one_sentence(everybody, tmp_path):
    about = {**weights.provenance(everybody / "de_gan.h5"), "datasets": ["rendered"]}
    seen = str(tmp_path / "seen.h5")
    weights.save(export.rebuild(everybody / "de_gan.h5"), seen, provenance=about)
    cases = [
        ({"part": "wild"}, "give --all_subjects, too"),
        ({"uses": ("both", "all")}, "'all' is none of both, code, code:converged, residues"),
        ({"baselines": ("weak",)}, "'weak' is none of strong, printed"),
        ({"uses": ()}, "--uses is empty"),
        ({"gan_init": seen}, "was trained on everybody in rendered"),
        ({"baseline_init": seen}, "--baseline_init="),
        ({"teacher": seen}, "--teacher="),
        ({"gan_init": "fer_net_fer2013"}, "does not fit the model"),
        ({"gan_init": "nothing"}, "nothing"),
    ]
    for given, sentence in cases:
        settings = script.Settings(**SMOKE, **given, only_folds="0", workdir=str(tmp_path / "run"))
        with pytest.raises((ValueError, OSError), match=re.escape(sentence)):
            script.run(settings)
    assert not list((tmp_path / "run").rglob("checkpoint"))


@pytest.mark.slow
def test_other_people_are_a_start(everybody, tmp_path):
    """--gan_init, --baseline_init: nets of other people; at a rate of zero the encoder that comes out is theirs."""
    files = {
        f"{flag}_init": str(everybody / f"{n}.h5") for flag, n in (("gan", "de_gan"), ("baseline", "de_gan_baseline"))
    }
    still = {"gan_rate": 0.0, "rate": 0.0, "uses": ("code",), "only_folds": "0", "workdir": str(tmp_path / "run")}
    results = script.run(script.Settings(**SMOKE, **files, **still))
    for name, of, net in (("gan", "gan", "encoder"), ("baseline_strong", "baseline", "trunk")):
        models = export.rebuild(files[f"{of}_init"]), results.models[name]
        start, end = (getattr(model, net).trainable_variables for model in models)
        assert all(np.array_equal(np.array(a), np.array(b)) for a, b in zip(start, end, strict=True))


class ToldApart:
    """Sixty rendered faces of several people, told again by their pixels."""

    classes = ("anger", "fear", "sadness")

    def __init__(self):
        self.listed = of_classes(rendered.records(part="lab"), self.classes)[:60]
        self.people = sorted({r.subject for r in self.listed})
        self.learn = [r for r in self.listed if r.subject not in self.people[:3]]
        self.test = [r for r in self.listed if r.subject in self.people[:3]]
        self.by_pixels = {pictures.centre_views([r])[0].tobytes(): r for r in self.listed}

    def records(self, images):
        """Of views."""
        return [self.by_pixels[image.tobytes()] for image in np.asarray(images)]

    def one_hot(self, names, key):
        """Images -> (N, names): what a record says."""
        return lambda x: np.array([[getattr(r, key) == n for n in names] for r in self.records(x)], np.float32)


@pytest.fixture(scope="module")
def told_apart():
    return ToldApart()


def test_probes_read_what_is_there_and_nothing_else(told_apart):
    """Features that are the expression, and features that are the person; one person alone leaves no identity."""
    kinds = {
        "expression": told_apart.one_hot(told_apart.classes, "expression"),
        "person": told_apart.one_hot(told_apart.people, "subject"),
    }
    several = measures.probes(kinds, told_apart.learn, told_apart.test, told_apart.classes)
    one = [r for r in told_apart.test if r.subject == told_apart.people[0]]
    alone = measures.probes(kinds, told_apart.learn, one, told_apart.classes)
    chance = several["chance"]
    assert several["expression"] == {"expression": 1, "identity": chance["identity"]}
    assert several["person"]["identity"] == 1 and several["person"]["expression"] <= chance["expression"] + 1e-9
    assert chance == {"expression": pytest.approx(1 / 3), "identity": pytest.approx(1 / 3)}
    assert alone["expression"] == {"expression": 1, "identity": None} and alone["chance"]["identity"] is None


def test_reached_tells_what_judges_read(told_apart):
    """Faces of the wanted people with the sources' expressions; always with anger; then the sources themselves."""
    known = told_apart.people[3:-1]  # the last one is cut off
    of = {(r.subject, r.expression): pictures.centre_views([r])[0] for r in told_apart.listed}

    def made(x, who):
        pairs = zip(told_apart.records(x), who, strict=True)
        return tf.constant(np.stack([of[known[i], r.expression] for r, i in pairs]))

    def judge(names, key):
        return lambda x: tf.constant(told_apart.one_hot(names, key)(x))

    def reached(transfer):
        gan = SimpleNamespace(classes=told_apart.classes, subjects=known, transfer=transfer)
        judges = judge(told_apart.classes, "expression"), judge(known, "subject")
        return measures.reached(gan, told_apart.test, back, *judges, 0)

    back = [Record(r.image, r.subject, subject=r.subject, info=r.info) for r in told_apart.learn if r.subject in known]
    share = np.mean([r.expression == "anger" for r in told_apart.test])
    carried = reached(made)
    angry = reached(lambda x, who: tf.constant(np.stack([of[known[i], "anger"] for i in who])))
    left = reached(lambda x, who: tf.constant(x))
    assert (carried["expression"], carried["identity"]) == (1, 1)
    assert angry["expression"] == pytest.approx(share) == pytest.approx(1 / 3) and angry["identity"] == 1
    assert left["expression"] == 1 and left["identity"] < 0.6  # argmax of no answer is the first person
    for rates in (carried, angry, left):
        assert rates["expression_of_real"] == rates["identity_of_real"] == 1
        assert rates["identity_by_chance"] == carried["identity_by_chance"] < 1


def faces_of(subjects, folder):
    """Settings of a folder with a face of each."""
    (folder / "face.png").touch()
    lines = [f"face.png,anger,{subject}" for subject in subjects]
    (folder / "labels.csv").write_text("\n".join(["path,expression,subject", *lines, ""]))
    return script.Settings(preset="smoke", dataset="folder", all_subjects=True, data_dir=str(folder))


def test_faces_of_nobody_alone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--dataset=folder names nobody"):
        script.load(faces_of(["", ""], tmp_path), ("anger", "happiness"))


@pytest.mark.parametrize("subjects", ["ab", ["", "a", ""]], ids=["named", "partly"])
def test_faces_of_nobody_are_left_out(subjects, tmp_path, capsys):
    """Eq. (1) asks who is seen: -1 would be an index that D has not."""
    listed = script.load(faces_of(subjects, tmp_path), ("anger", "happiness"))
    told = capsys.readouterr().err
    assert [r.subject for r in listed] == [s for s in subjects if s]
    assert told.startswith(f"{len(subjects)} pictures will be searched for faces")
    if all(subjects):
        assert len(told.splitlines()) == 1
    else:
        assert told.endswith("\nleft out 2 of 3 records: they have no subject\n")
