"""`python -m experiments.cycle_at --preset=smoke`: stages, tables, pictures, exports; domains, selection, measures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.parts.cycle_at import classifiers as cycle_at_classifiers
from experiments.parts.cycle_at import domains as cycle_at_domains
from experiments.parts.cycle_at import features as cycle_at_features
from experiments.parts.cycle_at import pictures as cycle_at_pictures
from experiments.parts.cycle_at import rows
from experiments.run import common
from fer_tf import export, metrics
from fer_tf.models import cycle_at
from fer_tf.records import CLASSES, Fold, Record

SMOKE = ("cycle_at", "--preset=smoke", "--precision=float32", "--only_folds=0")
STAGES = ("source", "generation", "selection", "target")
PLANTED = np.array([3, 3, 3])
NAMES = ("S2T", "S2T_att.&gen.", "CycleAT", "Multi-SVM")


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    """A smoke run of one fold, stopped after the selection and finished: its folder, its flags and what it printed.

    What was selected for S2T_att_gen is replaced in between, by what no selection gives.
    """
    folder = tmp_path_factory.mktemp("cycle_at")
    given = (f"--workdir={folder}", "--rows=S2T,S2T_att_gen,CycleAT,svm")
    first = cli(*SMOKE, *given, "--stages=selection")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "Stopped after --stages=selection" in first.stdout and first.stdout.count("target faces select") == 2
    files = sorted(file.relative_to(folder / "run0").as_posix() for file in (folder / "run0").rglob("fold0/**/*.*"))
    assert files == ["fold0/CycleAT/selected.npy", "fold0/S2T_att_gen/selected.npy"]
    np.save(folder / "run0" / files[1], PLANTED)
    done = cli(*SMOKE, *given)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, given, done.stdout


def test_tables_measures_and_pictures(run):
    folder, _, printed = run
    found = json.loads((folder / "metrics.json").read_text())
    assert tuple(found["methods"]) == NAMES and all(printed.count(f"\n{name} ") == 2 for name in NAMES)
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [8] * 4
    assert found["protocol"] == "2 folds by subject, contiguous" and "domain shift (Table 3)" in printed
    assert found["domains"]["source"] == {"data": "rendered", "faces": 24}
    assert found["domains"]["target"]["data"] == "rendered/wild" and found["domains"]["target"]["faces"] == 16
    assert list(found["source"]) == ["resnet10"] and np.sum(found["source"]["resnet10"]["last"]["confusion"]) == 6
    (measures,) = found["generation"]
    kinds = ["source", "generated, alone", "generated, with f_W"]
    assert measures["judge_has_seen_the_wild"] and all(
        list(measures[k]) == kinds for k in ("expression", "f_S", "domain")
    )
    right = found["source"]["resnet10"]["last"]["micro"]["pooled"]
    assert measures["f_S"]["source"] == pytest.approx(right)  # f_S on the same held-out source people
    *shares, mean = map(float, [x for x in printed.splitlines() if x.startswith("CycleAT ")][-1].split()[1:])
    assert len(shares) == 2 and mean == pytest.approx(np.mean(shares), abs=0.01)
    place = folder / "run0"
    for name in ("generated", "iterations", "attention", "domains", "gan2/history", "gan1/samples/epoch001"):
        with Image.open(place / f"{name}.png") as picture:
            assert min(picture.size) > 64, name
    chosen = np.load(place / "fold0/CycleAT/selected.npy")
    assert len(chosen) and len(set(chosen)) == len(chosen) and max(chosen) < 8
    np.testing.assert_array_equal(np.load(place / "fold0/S2T_att_gen/selected.npy"), PLANTED)
    assert "S2T_att_gen: 8 target faces select 3 of 8 generated ones" in printed


def test_samples_show_what_the_generators_make(run):
    """Kept after the last epoch: the same held-out faces, and those that the exported generators redraw of them."""
    kept = {}
    for stage, name in (("gan1", None), ("gan_alone", "generator_alone"), ("gan2", "generator")):
        faces, made = kept[stage] = np.load(run[0] / f"run0/{stage}/samples/epoch001.npy")
        np.testing.assert_array_equal(faces, kept["gan1"][0])
        assert faces.shape == (2, 32, 32, 3) and faces.dtype == np.uint8 and np.abs(faces[0] - 1.0 * faces[1]).max() > 9
        if name:
            serve = tf.saved_model.load(str(run[0] / name)).signatures["serving_default"]
            np.testing.assert_allclose(serve(faces=tf.constant(faces))["faces"].numpy().astype(int), made, atol=1)
    assert len({made.tobytes() for _, made in kept.values()}) == 3


class Redraws:
    """A generator that makes every face of one level, 0 to 1, and leaves its first pixel as it is."""

    def __init__(self, level, f_w=None):
        self.level, self.f_w = level, f_w

    def translate(self, x):
        made = np.full(x.shape, self.level, np.float32)
        made[:, 0, 0] = x[:, 0, 0]
        return tf.constant(made)


def drawn(monkeypatch):
    """What `grid` is given for each file, by its name."""
    given = {}
    monkeypatch.setattr(cycle_at_pictures.figures, "grid", lambda images, *a, **k: ([*map(np.array, images)], a, k))
    monkeypatch.setattr(cycle_at_pictures.figures, "save", lambda figure, file: given.update({file.name: figure}))
    return given


def test_figure_5_by_its_cells(monkeypatch, tmp_path):
    """Source, each generator's, the target's; the same faces after each epoch of stages I and II."""
    flags(monkeypatch, size=32)
    faces = {v: Record(np.full((32, 32, 3), v, np.uint8), "anger", info={"framed": True}) for v in (10, 20, 30)}
    source = SimpleNamespace(
        f_s=SimpleNamespace(classes=("anger",)),
        held_out=[faces[10], faces[20]],
        gans={"alone": Redraws(0.2), "with f_W": Redraws(0.6)},
    )
    given = drawn(monkeypatch)
    for stage, epoch, level in (("gan1", 1, 40), ("gan1", 2, 50), ("gan2", 1, 60)):
        (tmp_path / stage / "samples").mkdir(parents=True, exist_ok=True)
        both = np.stack([np.full((1, 32, 32, 3), v, np.uint8) for v in (20, level)])
        np.save(tmp_path / stage / f"samples/epoch{epoch:03d}.npy", both)
    cycle_at_pictures.draw_generated(source, SimpleNamespace(target=[faces[30]]), tmp_path)
    cells, _, titles = given["generated.png"]
    assert [int(row[0][9, 9, 0]) for row in cells] == [20, 51, 153, 30] and int(cells[2][0][0, 0, 0]) == 20
    assert titles == {
        "row_titles": ["source", "without f_W", "with f_W", "the target"],
        "col_titles": ["anger"],
    }
    cells, (titles,), _ = given["iterations.png"]
    assert [int(row[0][9, 9, 0]) for row in cells] == [20, 40, 50, 60]
    assert titles == ["source", "stage I, epoch 1", "stage I, epoch 2", "stage II, epoch 1"]
    given.clear()
    cycle_at_pictures.draw_generated(source := SimpleNamespace(gans={}), None, tmp_path)
    assert not given


@pytest.mark.parametrize("init", ["scratch", "source"])
def test_what_each_row_of_table_4_gets(monkeypatch, tmp_path, init):
    """Start weights, teacher and training records; what is selected is read from disk."""
    classes, size, target = ("anger", "happiness"), 32, "resnet18" if init == "source" else "resnet10"
    given = {"source_network": "resnet18,alexnet", "target_network": target, "target_init": init, "target_epochs": 6}
    given |= {"candidates": 5, "t": 2, "size": size, "width": 1 / 16, "pool": False, "beta": None, "strict": True}
    given |= {"at_reduction": "norm", "batch_size": 2, "epoch_views": 0, "imagenet": "none"}
    for module in (rows, cycle_at_classifiers, cycle_at_domains):
        monkeypatch.setattr(module, "FLAGS", SimpleNamespace(**given))
    f_s, f_w = (
        cycle_at.tiny_classifier(classes=classes, network="resnet18", size=size, seed=i, name=n)
        for i, n in enumerate(("f_s", "f_w"))
    )
    for net, value in ((f_s, 0.25), (f_w, 0.5)):
        net.head.bias.assign(tf.fill(2, value))

    def part(values):
        made = [(v, np.full((size, size, 3), v, np.uint8)) for v in values]
        return [Record(face, classes[v % 2], info={"framed": True}) for v, face in made]

    train, learn = part(range(6)), part(range(100, 104))
    gans = {"alone": Redraws(0.2), "with f_W": Redraws(0.6, f_w)}
    source, trained = rows.Source(f_s, {}, gans, train, []), []

    def record(data, test, place, seed, epochs, make):
        trained.append((data.records, epochs, model := make()))
        return model, "results"

    monkeypatch.setattr(rows.classifiers, "train", record)
    monkeypatch.setattr(rows.folds, "predict", lambda model, test: ("named by", model))
    assert rows.one_row("S2T", source, learn, None, 0, tmp_path) == (
        f_s,
        dict.fromkeys(("best", "last"), ("named by", f_s)),
    )
    assert not trained
    some = [train[i] for i in sorted(np.random.default_rng(0).permutation(6)[:5])]
    # row -> network, starts as f_S, teacher, the generator's level, which of the source it redraws
    wanted = {
        "S2T_fine_tune": ("resnet18", True, None, None, []),
        "T_alone": (target, init == "source", None, None, []),
        "S2T_attention": (target, init == "source", f_s, None, []),
        "S2T_att_gen": (target, init == "source", f_s, 51, [1, 4]),
        "CycleAT": (target, init == "source", f_w, 153, [0, 2]),
    }
    for row, (network, as_f_s, teacher, level, chosen) in wanted.items():
        if chosen:
            (tmp_path / row).mkdir()
            np.save(tmp_path / row / "selected.npy", chosen)
        model, results = rows.one_row(row, source, learn, None, 0, tmp_path / row)
        found, epochs, built = trained.pop()
        assert built is model and results == "results" and not trained
        assert model.network == network and model.teacher is teacher, row
        own, theirs = ([*net.trunk.get_weights(), *net.head.get_weights()] for net in (model, f_s))
        same = len(own) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(own, theirs, strict=True))
        assert same == as_f_s, row
        assert found[:4] == learn and epochs == (4 if chosen else 6)  # as many steps: 6 x 2, 4 x 3
        extra = found[4:]
        assert [r.expression for r in extra] == [some[i].expression for i in chosen], row
        assert [r.image[0, 0, 0] for r in extra] == [some[i].image[0, 0, 0] for i in chosen], row
        assert all(r.image[9, 9, 0] == level for r in extra), row
    named = rows.one_row("S2T_attention", source._replace(gans={}), learn, None, 0, tmp_path)  # without any GAN
    assert named[0].teacher is f_s


def test_an_expression_that_nobody_shows_has_no_share():
    """No neutral face in the target: "-", and the mean is that of the other two; 0.00 is for what nobody gets right."""
    classes = ("anger", "fear", "neutral")
    labels, named = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 2, 0])
    method = metrics.summarize([{"last": (labels, named)}], classes)
    line = cycle_at_pictures.by_expression({"S2T": method}, classes).splitlines()[1]
    assert line.split() == ["S2T", "75.00", "0.00", "-", "37.50"]


@pytest.mark.parametrize("take", [0, 4])
def test_nobody_is_in_two_domains(monkeypatch, tmp_path, take):
    """The rendered faces as the flags' defaults deal them: three sets of people, and the target's two folds."""
    given = {"dataset": "rendered", "data_dir": None, "classes": "six_neutral", "strict": True, "take": take}
    given |= {"auxiliary": ["rendered/wild"], "target": "rendered/wild", "manifest": None, "options": []}
    for module in (cycle_at_domains, common):
        monkeypatch.setattr(module, "FLAGS", SimpleNamespace(**given, folds=2, protocol="contiguous"))
    found = cycle_at_domains.load(CLASSES["six_neutral"], tmp_path)
    people = [{r.subject for r in part} for part in (found.source, found.auxiliary, found.target)]
    assert None not in set.union(*people) and sum(map(len, people)) == len(set.union(*people))
    assert [len(p) for p in people] == ([4] * 3 if take else [120, 40, 40])
    assert {r.domain for r in found.source} <= {"lab", "posed"}
    assert {r.domain for r in (*found.auxiliary, *found.target)} == {"wild"}
    for fold in found.folds:
        train, test = ({found.target[i].subject for i in part} for part in (fold.train, fold.test))
        assert not train & test and train | test == people[2]


def test_folds_are_written(run):
    told = json.loads((run[0] / "folds.json").read_text())
    (fold, other) = (set(f["subjects"]) for f in told["folds"])
    assert len(fold | other) == 4 and not fold & other


def test_exports(run):
    predictor = export.load(run[0] / "export")
    faces = np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), dtype=np.uint8)
    p = predictor(list(faces))
    assert p.shape == (3, 2) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert predictor.metadata["row"] == "CycleAT" and predictor.metadata["template"]["size"] == [32, 32]
    for name, which in (("generator", "with f_W"), ("generator_alone", "alone")):
        loaded = tf.saved_model.load(str(run[0] / name))
        assert json.loads(loaded.metadata().numpy())["generator"] == which
        made = loaded.signatures["serving_default"](faces=tf.constant(faces))["faces"]
        assert made.shape == (3, 32, 32, 3) and made.dtype == tf.uint8 and np.std(made) > 1


def test_the_exported_generator_gives_the_models_faces():
    gan = cycle_at.CycleAT(stage=1, filters=4, blocks=1)
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    served = cycle_at_pictures.Translation(gan, 32, {}).serving_default(tf.constant(faces))["faces"].numpy()
    np.testing.assert_array_equal(served, cycle_at_features.redrawn(gan, faces))


@pytest.mark.slow
def test_stages_one_by_one_give_the_same(cli, run, tmp_path):
    """--stages stops and goes on; bit for bit with --deterministic; a finished run trains nothing anew."""
    rows, tables = "--rows=S2T_att_gen,CycleAT", []
    for folder, stages in (("parts", STAGES), ("whole", ("target",))):
        for stage in stages:
            done = cli(*SMOKE, rows, "--deterministic", f"--stages={stage}", f"--workdir={tmp_path / folder}")
            assert done.returncode == 0, done.stderr[-3000:]
            assert ("Stopped after" in done.stdout) == (stage != "target")
            place = tmp_path / folder / "run0"
            pictures = {name for name in ("generated", "iterations") if (place / f"{name}.png").is_file()}
            assert len(pictures) == (0 if stage == "source" else 2), stage
            assert len([*place.rglob("selected.npy")]) == (2 if stage in STAGES[2:] else 0)
        tables.append(json.loads((tmp_path / folder / "metrics.json").read_text()))
    assert tables[0]["methods"] == tables[1]["methods"] and tables[0]["generation"] == tables[1]["generation"]
    files = sorted(run[0].rglob("checkpoint/checkpoint"))
    before = [file.stat().st_mtime_ns for file in files]
    again = cli(*SMOKE, *run[1])
    assert again.returncode == 0 and files and [file.stat().st_mtime_ns for file in files] == before
    lines = [line for line in run[2].splitlines() if line.startswith(NAMES)]
    assert lines and all(line in again.stdout for line in lines)


@pytest.mark.slow
def test_other_rows_and_table_2(cli, tmp_path):
    """The target network alone, AlexNet and VGG-16, two source networks; several runs."""
    given = ("--rows=T_alone,alexnet,vgg16", "--source_network=resnet10,alexnet", "--runs=2", f"--workdir={tmp_path}")
    done = cli(*SMOKE, *given, "--target_labels=6", "--epoch_views=12")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert list(found["source"]) == ["resnet10", "alexnet"] and not found["generation"]
    assert list(found["methods"]) == ["f_T, target alone", "AlexNet", "VGG-16"]
    assert [np.sum(m["last"]["confusion"]) for m in found["methods"].values()] == [16] * 3


def test_what_does_not_fit_gets_one_sentence(refused, tmp_path):
    cases = {
        "--rows=S2T,all": "'all' is none of S2T",
        "--rows=": "--rows is empty",
        "--source_network=lenet": "--source_network: 'lenet' is none of resnet10",
        "--target=nothing": "'nothing' names no data set",
        ("--auxiliary=rendered/wild,rendered/posed", "--take=2"): "--auxiliary names --target beside others",
        (
            "--auxiliary=rendered/lab",
            "--target=rendered/posed",
            "--take=0",
        ): "is in both the training and the test part",
        "--target_network=alexnet": "which alexnet lacks",
        ("--target_init=source", "--target_network=resnet18"): "f_T is resnet18, f_S is resnet10",
        "--size=42": "a multiple of 4",
        "--image_pool=1": "--image_pool has to hold a batch",
        ("--rows=vgg16", "--imagenet=imagenet"): "it needs --width=1",
        "--only_folds=7": "give fold numbers from 0 to 1",
        "--protocol=sfew_2fold": "is the target's: give --target=sfew=<folder>",
        ("--protocol=bu3dfe_80_20", "--dataset=rendered"): "is of bu3dfe: leave --dataset=rendered out",
    }
    refused(SMOKE[0], cases, *SMOKE[1:3], f"--workdir={tmp_path}")


def flags(monkeypatch, **given):
    """Values of flags for the functions that read them."""
    monkeypatch.setattr(cycle_at_domains, "FLAGS", SimpleNamespace(**given))


def some(people, each=2, **options):
    return [Record(f"{p}_{i}.png", "anger", subject=p, **options) for p in people for i in range(each)]


def test_source_people_are_split_by_the_seed(monkeypatch):
    flags(monkeypatch, source_test=0.2, dataset="x")
    found = some([f"s{i}" for i in range(10)])
    train, test = cycle_at_domains.split_source(found, 3)
    people = [{r.subject for r in part} for part in (train, test)]
    assert [len(p) for p in people] == [8, 2] and not people[0] & people[1] and len(train) + len(test) == 20
    assert cycle_at_domains.split_source(found, 3) == (train, test)
    assert any(cycle_at_domains.split_source(found, seed)[1] != test for seed in range(4, 8))
    with pytest.raises(ValueError, match="names too few to test some: 1 people"):
        cycle_at_domains.split_source(some(["a"]), 0)


def test_parts_without_people(monkeypatch):
    """SFEW's two sets take turns; where there is a part to train on, the others are tested; draws of few labels."""
    flags(monkeypatch, target="x", target_labels=3)
    two = [Record(f"{i}", "anger", split=s) for i, s in enumerate("abab")]
    assert cycle_at_domains.split_folds(two) == [Fold((1, 3), (0, 2)), Fold((0, 2), (1, 3))]
    parts = [Record(f"{i}", "anger", split=s) for i, s in enumerate(("train", "public_test", "train", "private_test"))]
    assert cycle_at_domains.split_folds(parts) == [Fold((0, 2), (3,))]
    assert cycle_at_domains.split_folds(parts[:3]) == [Fold((0, 2), (1,))]
    with pytest.raises(ValueError, match="names neither people nor two parts"):
        cycle_at_domains.split_folds(two[::2])
    drawn = cycle_at_domains.labelled(some("abcd"), 1)
    assert len(drawn) == 3 and drawn == cycle_at_domains.labelled(some("abcd"), 1)
    assert len(cycle_at_domains.labelled(some("a"), 1)) == 2


def test_copies_of_training_pictures_are_not_tested(monkeypatch, capsys):
    """By their bytes, and for FER-2013 after a resize, too."""
    numbers = np.random.default_rng(0)
    faces = [numbers.integers(0, 256, (48, 48), dtype=np.uint8) for _ in range(5)]
    faces[3] = faces[0].copy()
    faces[4] = np.clip(faces[1].astype(int) + 1, 0, 255).astype(np.uint8)
    found = [Record(f, "anger", split="train" if i < 2 else "private_test") for i, f in enumerate(faces)]
    for target, kept in (("rendered", (2, 4)), ("fer2013/private_test", (2,))):
        flags(monkeypatch, target=target)
        fold = cycle_at_domains.without_copies(found, Fold((0, 1), (2, 3, 4)), ["a", "b", "c", "a", "e"])
        assert fold == Fold((0, 1), kept)
        assert f"left out of the test: {3 - len(kept)} pictures" in capsys.readouterr().err


def test_what_cannot_be_cut_is_left_out_and_named(monkeypatch, capsys):
    good = Record(np.zeros((24, 24, 3), np.uint8), "anger", info={"framed": True})
    bad = Record("nowhere.png", "fear")
    flags(monkeypatch, size=24, strict=True)
    assert cycle_at_domains.usable([good, bad]) == [good, bad]
    flags(monkeypatch, size=24, strict=False)
    assert cycle_at_domains.usable([good, bad]) == [good] and "left out: nowhere.png" in capsys.readouterr().err
    with pytest.raises(ValueError, match="None of 1 pictures"):
        cycle_at_domains.usable([bad])


def test_a_small_training_set_is_shown_more_often(monkeypatch):
    flags(monkeypatch, size=16, batch_size=4, epoch_views=40, strict=True)
    face = np.zeros((16, 16, 3), np.uint8)
    for count, steps in ((10, 10), (38, 10), (90, 23)):
        found = [Record(face, "anger", info={"framed": True})] * count
        assert len(cycle_at_domains.target_batches(found, ("anger",), 0)) == steps


def test_nearest_by_hand():
    """Two target points, five candidates on a line; a candidate that both choose counts once."""
    points = np.array([[0.0], [3.0], [1.0], [2.0], [9.0], [-0.5], [3.5]])
    np.testing.assert_array_equal(cycle_at_features.nearest(points, 2, 1), [3, 4])
    np.testing.assert_array_equal(cycle_at_features.nearest(points, 2, 2), [0, 1, 3, 4])
    np.testing.assert_array_equal(cycle_at_features.nearest(points, 2, 9), [0, 1, 2, 3, 4])


def test_bright_targets_select_bright_faces(tmp_path):
    """First-convolution features, t-SNE and kNN on planted faces; the answer is kept and read again."""
    model, numbers = cycle_at.tiny_classifier(width=0.25), np.random.default_rng(0)

    def faces(count, level):
        return np.clip(numbers.normal(level, 12, (count, 32, 32, 3)), 0, 255).astype(np.uint8)

    target, made = faces(40, 200), np.concatenate([faces(150, 60), faces(150, 200)])
    file = tmp_path / "a" / "selected.npy"
    chosen = cycle_at_features.select(model, target, lambda: made, 4, 0, file)
    assert len(chosen) >= 4 and np.mean(chosen >= 150) > 0.9
    np.save(file, np.array([7]))
    assert cycle_at_features.select(model, target, None, 4, 0, file).tolist() == [7]
    assert cycle_at_features.first_features(model, made).shape == (300, 16 * 16)
    with pytest.raises(ValueError, match="The first maps are 3x3"):
        cycle_at_features.first_features(model, made[:, :6, :6])


def test_cosine_features_against_scipy():
    from scipy.fft import dctn

    face = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    block = dctn(face[8:16, 16:24].astype(float), norm="ortho")
    order = [(0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (0, 4)]
    wanted = np.array([block[u, v] for u, v in order])
    found = cycle_at_features.cosine_features(np.repeat(face[None, :, :, None], 3, -1))
    assert found.shape == (1, 640)
    np.testing.assert_allclose(found[0, 10 * 10 : 11 * 10], wanted / np.linalg.norm(wanted), atol=1e-4)


def test_the_machine_tells_stripes_apart():
    numbers, rows = np.random.default_rng(0), np.arange(64) // 4 % 2
    stripes = np.stack([np.broadcast_to(200 * rows[:, None], (64, 64)), np.broadcast_to(200 * rows, (64, 64))])
    labels = np.arange(40) % 2
    faces = np.clip(stripes[labels][..., None] + numbers.normal(0, 30, (40, 64, 64, 3)), 0, 255).astype(np.uint8)
    named = cycle_at_features.machine(faces[:20], labels[:20], faces[20:], 0)
    np.testing.assert_array_equal(named, labels[20:])


@pytest.mark.parametrize("level, share", [(200, 0.5), (20, 1.0)])
def test_told_apart_with_a_planted_judge(monkeypatch, tmp_path, level, share):
    """A judge that calls bright faces the wild: bright ones are taken for it, dark ones never."""

    class Judge:
        def classify(self, x):
            bright = tf.reduce_mean(x, (1, 2, 3)) > 0.5
            return tf.stack([tf.cast(~bright, tf.float32), tf.cast(bright, tf.float32)], -1)

    seen = {}

    def train(learn, sides, seed, place):
        seen.update(sides=sides, counts=[sum(r.expression == side for r in learn) for side in sides])
        return Judge()

    monkeypatch.setattr(cycle_at_pictures, "train_judge", train)
    wild = [Record(np.full((16, 16, 3), 200, np.uint8), "anger", info={"framed": True})] * 3
    faces = np.full((5, 16, 16, 3), level, np.uint8)
    judge = cycle_at_pictures.domain_judge(faces, wild, 0, tmp_path)
    assert cycle_at_pictures.told_apart(judge, faces, np.stack([r.image for r in wild])) == share
    assert seen == {"sides": ("these faces", "the wild"), "counts": [5, 3]}
