"""report.html: one file that asks for nothing, escapes names, shows no face that it may not, says what is missing."""

import html
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from experiments.run.page import beside, build, charts, faces, markup, numbers, runs
from fer_tf import catalogue, predictions
from fer_tf.records import Record

from .conftest import a_run, history, listed, trainings

EVIL = "<script>alert(1)</script>"


class Read(HTMLParser):
    """What a browser sees: texts, elements with their attributes; fails where an element is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.elements = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in markup.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that has ended; its pictures are not looked for."""
    return a_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Looking for a run's pictures gives none, and is kept: [wanted of each time]."""
    asked = []
    monkeypatch.setattr(faces, "thumbnails", lambda flags, wanted: asked.append(wanted) or {})
    return asked


def read(folder, **options):
    """The page of a run, as a browser sees it."""
    return Read(build.write(folder, **options).read_text(encoding="utf-8"))


def test_the_page_asks_nothing_of_the_network(whole):
    page = read(whole)
    assert not page.of("script") and not page.of("link") and not page.of("iframe") and not page.of("a")
    assert all(image["src"].startswith("data:image/") for image in page.of("img"))
    policy = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    text = (whole / "report.html").read_text()
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert "prefers-color-scheme: dark" in text


def test_the_page_says_what_was_run(whole):
    page = read(whole)
    for said in ("python -m experiments.toy --rate=0.1", "abc123", "a toaster", "1 min 11 s", "rendered", "24 in all"):
        assert said in page.text, said
    fold = json.loads((whole / "folds.json").read_text())["folds"][0]
    assert f"0 12 12 12 6 {fold['sha256'][:16]}" in page.text and "toy" in page.text[:20]
    assert "rendered; 2 folds; 2 seeds, 2 folds" in page.text and "What is missing" not in page.text


def test_the_page_has_the_figures_of_metrics_json(whole):
    told, page = json.loads((whole / "metrics.json").read_text()), read(whole)
    for method in told["methods"].values():
        one = method["last"]["micro"]
        assert f"{100 * one['fold_mean']:.2f} ± {100 * one['fold_std']:.2f} {100 * one['pooled']:.2f}" in page.text
    ours = told["paired"]["Ours"]["micro"]
    low, high = (f"{100 * end:+.2f}" for end in ours["interval"])
    assert f"{100 * ours['difference']:+.2f} points of micro accuracy, 95 % over people {low} to {high}" in page.text
    assert f"Ours, beside Base: cannot be told from chance : {ours['why']}" in page.text
    assert "4 pairs of trainings that differ are too few" in ours["why"]
    assert f"seed 1, fold 0 {100 * ours['pairs']['values'][2]:+.2f}" in page.text


def test_a_gain_is_called_one(tmp_path):
    records = listed()
    page = read(a_run(tmp_path, made=trainings(records, seeds=range(4), better=9), seeds=range(4)))
    assert "Ours, beside Base: gains . +33.33 points" in page.text
    assert page.of("span")[0] == {"class": "gains"}


def test_every_name_is_escaped(tmp_path):
    records = [
        Record(
            r.image,
            r.expression,
            subject=f"{r.subject}{EVIL}",
            sequence='"><img src=x onerror=alert(1)>',
            frame=r.frame,
        )
        for r in listed()
    ]
    made = [
        {**m, "methods": {f"{name} & <b>{EVIL}": v for name, v in m["methods"].items()}}
        for m in trainings([Record(r.image, r.expression, subject=r.subject[:3], frame=r.frame) for r in records])
    ]
    for m in made:
        for epochs in m["methods"].values():
            own = epochs["last"].records
            epochs["last"].records = [
                Record(r.image, r.expression, subject=f"{r.subject}{EVIL}", sequence='"><img onerror=x>', frame=r.frame)
                for r in own
            ]
    folder = a_run(tmp_path / "a<i>&amp;", made=made, flags={"note": EVIL}, command=EVIL, hardware='" onload="x')
    history(folder / "run0" / "fold0" / "base", **{f"{EVIL}_loss": [3, 2, 1]})
    Image.new("L", (4, 4)).save(folder / "tsne<script>.png")
    page = read(folder)
    assert {tag for tag, _ in page.elements} <= {
        "html", "head", "meta", "title", "style", "body", "main", "section", "details", "summary", "h1", "h2", "h3",
        "p", "div", "span", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "code", "strong",
        "br", "figure", "figcaption", "img", "svg", "text", "line", "circle", "polyline",
    }  # fmt: skip
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for said in (f"p00{EVIL}", f"Ours & <b>{EVIL}", "a<i>&amp;", "tsne<script>.png", '" onload="x'):
        assert " ".join(said.split()) in page.text, said


def test_the_worst_people_are_those_whom_the_methods_name_worst(whole):
    answers = predictions.read(whole / "predictions.npz")
    right = {
        who: [np.mean((e["last"].named == answers.label)[answers.subject == who]) for e in answers.methods.values()]
        for who in np.unique(answers.subject)
    }
    page = read(whole)
    worst = min(right, key=lambda who: (np.mean(right[who]), who))
    head = "the 12 worst of 12 people: accuracy in percent person pictures Base Ours"
    assert f"{head} {worst} 4 {100 * right[worst][0]:.2f} {100 * right[worst][1]:.2f}" in page.text


def test_pictures_are_shown_where_the_licence_lets_them_be(tmp_path, no_pictures, monkeypatch):
    uri = faces.small(np.full((8, 8, 3), 99, np.uint8))
    look = lambda flags, wanted: no_pictures.append(wanted) or dict.fromkeys(wanted, uri)  # noqa: E731
    monkeypatch.setattr(faces, "thumbnails", look)
    page = read(a_run(tmp_path / "rendered"))
    answers = predictions.read(tmp_path / "rendered" / "predictions.npz")
    wrong = {*answers.sha256[answers.methods["Base"]["last"].named != answers.label]}
    assert len(no_pictures) == 1 and {*no_pictures[0]} == {*no_pictures[0]} & wrong and len(page.of("img")) >= 10
    for name in ("ck_plus", "fer2013", "celeba", "unheard_of"):
        page = read(a_run(tmp_path / name, flags={"dataset": name}))
        assert not page.of("img") and f"The licence of {name} does not let its pictures be passed on" in page.text
        assert not read(tmp_path / name, show_pictures=True).of("img")  # it is not the user's to say
    assert len(no_pictures) == 1
    own = a_run(tmp_path / "own", flags={"dataset": "folder"})
    page = read(own)
    assert (
        not page.of("img") and "Pictures of folder are shown where --show_pictures says that they may be" in page.text
    )
    assert read(own, show_pictures=True).of("img")


@pytest.mark.parametrize(
    "flags, told, silent",
    [
        ({"dataset": "rendered", "test_on": "fer2013=/data"}, "rendered", False),
        ({"dataset": "rendered", "train_on": ["rendered/wild", "ck_plus=/data"]}, "rendered", False),
        ({"dataset": "rendered", "target": "sfew=/d", "auxiliary": ["rendered/wild"]}, "rendered", False),
        ({"dataset": "rendered", "target": "rendered/wild", "auxiliary": ["rendered/wild"]}, "rendered", True),
        ({"dataset": "prepared", "data_dir": "f.h5"}, "ck_plus", False),
        ({"dataset": "prepared", "data_dir": "f.h5"}, "rendered", True),
        ({"dataset": "prepared", "data_dir": "f.h5"}, "", False),
        ({"dataset": "rendered", "target": "prepared=f.h5"}, "rendered", False),
        ({"dataset": "prepared", "data_dir": "here.h5"}, "rendered", False),  # the file comes first
        ({"dataset": "rendered", "train_on": ["prepared=here.h5"]}, "rendered", False),
        ({}, "rendered", False),
    ],
)
def test_all_data_sets_of_a_run_have_to_let_it(monkeypatch, flags, told, silent):
    """here.h5 was made of CK+, f.h5 is gone."""
    plain = catalogue.source
    monkeypatch.setattr(catalogue, "source", lambda name, root: "ck_plus" if root == "here.h5" else plain(name, root))
    assert (faces.allowed(flags, told, True) == "") is silent


def test_every_adapter_says_what_may_be_shown():
    said = {name: catalogue.may_be_shown(name) for name in catalogue.names()}
    assert {name for name, may in said.items() if may == catalogue.YES} == {"rendered", "rendered2"}
    assert {name for name, may in said.items() if may == catalogue.ASKED} == {"folder"}
    assert said["ck_plus"] == said["fer2013"] == said["lfw"] == said["prepared"] == catalogue.NO


def test_grids_that_may_show_faces_go_by_the_licence(tmp_path):
    names = ("tsne.png", "heatmaps_0.png", "run0/fold0/regenerated.png", "run0/fold0/gan/samples/epoch002.png",
             "run0/fold0/gan/samples/epoch010.png", "run0/fold1/regenerated.png", "confusion_base.png",
             "run0/fold0/base/history.png")  # fmt: skip
    for dataset in ("rendered", "ck_plus"):
        folder = a_run(tmp_path / dataset, flags={"dataset": dataset})
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(folder / name)
        shown = [image["alt"] for image in read(folder).of("img")]
        if dataset == "rendered":  # the first fold's alone, and the last sample
            assert shown == ["heatmaps_0.png", "tsne.png", "run0/fold0/regenerated.png",
                             "run0/fold0/gan/samples/epoch010.png"]  # fmt: skip
        else:
            assert shown == ["tsne.png"] and "3 that may show faces are in the run's folder" in read(folder).text


def test_a_heavy_grid_is_made_smaller_and_a_broken_one_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (600, 2000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert (tmp_path / "a.png").stat().st_size > faces.HEAVY
    assert (
        faces.embedded(tmp_path / "a.png").startswith("data:image/jpeg")
        and len(faces.embedded(tmp_path / "a.png")) < 1e6
    )
    (tmp_path / "flags.json").write_text('{"dataset": "rendered"}')
    assert "b.png cannot be read" in read(tmp_path).text


def test_what_is_missing_is_named(tmp_path):
    folder = a_run(tmp_path, made=trainings(listed(), folds=(0,)))
    (folder / "run1/fold0/ours/done.json").unlink()
    history(folder / "run0/fold1/base")
    (folder / "run0/fold1/base/done.json").write_text('{"epochs": 3, "steps": 30}')
    states = {job.name: (job.state, job.said) for job in runs.read(folder).jobs}
    assert states == {
        "run0/fold0/base": ("done", "3 epochs, 30 steps"), "run0/fold0/ours": ("done", "3 epochs, 30 steps"),
        "run0/fold1/base": ("done", "3 epochs, 30 steps"), "run0/fold1/ours": ("missing", "another fold has it"),
        "run1/fold0/base": ("done", "3 epochs, 30 steps"), "run1/fold0/ours": ("stopped", "after 3 whole epochs"),
    }  # fmt: skip
    text = read(folder).text
    assert "run0/fold1/ours missing another fold has it run1/fold0/ours stopped after 3 whole epochs" in text
    assert "Trained, or begun, and not in the table: run 0, fold 1." in text
    assert "Not run: of run 1 fold 1." in text and "4 of 6 trainings are done." in text


def test_what_a_grid_knows_is_told(tmp_path):
    """A training's own files come first: what is done is done, whatever the grid last saw."""
    folder = a_run(tmp_path)
    for place in ("run0/fold0/ours", "run0/fold1/ours", "run1/fold0/ours"):
        (folder / place / "done.json").unlink()
    states = {
        "run0/fold0/ours": "failed", "run0/fold1/ours": "running", "run1/fold0/ours": "waiting",
        "run0/fold0/base": "failed", "run2/fold0/base": "left", "run2/fold1/base": "queued", "table": "failed",
    }  # fmt: skip
    listing = [
        {"place": p, "wave": "x", "state": s, "tries": 3, "lines": ["so", f"{EVIL} in {p}"]} for p, s in states.items()
    ]
    (folder / "grid.json").write_text(json.dumps({"jobs": [*listing, 5], "end": ""}))
    told = {job.name: (job.state, job.said) for job in runs.read(folder).unfinished}
    assert told == {
        "run0/fold0/ours": ("failed", "3 times"),
        "run0/fold1/ours": ("running", "when the grid last looked; after 3 whole epochs"),
        "run1/fold0/ours": ("stopped", "after 3 whole epochs"), "run2/fold0/base": ("missing", "one before it failed"),
        "run2/fold1/base": ("missing", "not begun"), "run2/fold0/ours": ("missing", "another fold has it"),
        "run2/fold1/ours": ("missing", "another fold has it"),
    }  # fmt: skip
    page = read(folder)
    assert f"the last lines of run0/fold0/ours so {EVIL} in run0/fold0/ours" in page.text
    assert f"The grid's job table failed: {EVIL} in table" in page.text and not page.of("script")
    for name in ("flags.json", "folds.json", "metrics.json", "predictions.npz"):
        (folder / name).unlink()
    assert "run0/fold0/ours failed 3 times" in read(folder).text  # no job has got so far


def test_a_run_that_was_killed_has_a_page(tmp_path):
    (tmp_path / "flags.json").write_text('{"dataset": "rendered", "runs": 1}')
    history(tmp_path / "run0/fold10/base", epochs=0)
    history(tmp_path / "run0/fold9/base")
    text = read(tmp_path).text
    assert "Nothing has been tested yet" in text and "run0/fold9/base stopped" in text
    assert text.index("fold9/base") < text.index("fold10/base")
    (tmp_path / "metrics.json").write_text("{half")
    (tmp_path / "folds.json").write_text("[]")
    (tmp_path / "predictions.npz").write_bytes(b"half")
    text = read(tmp_path).text
    assert (
        "metrics.json is damaged" in text and "folds.json is damaged" in text and "predictions.npz is damaged" in text
    )


def test_a_run_of_an_earlier_version_has_a_page_without_differences(tmp_path):
    folder = a_run(tmp_path, paired={"Ours": {"micro": 1}})
    (folder / "predictions.npz").unlink()
    page = read(folder)
    assert "Beside the baseline" not in page.text and "What is missing This run kept no predictions" in page.text
    assert "accuracy in percent" in page.text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has neither flags.json nor metrics.json: give the --workdir of a run"):
        build.write(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        build.write(tmp_path / "nothing")


def test_a_page_that_fails_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "flags.json").write_text("{}")
    build.after(tmp_path)  # nothing was tested
    assert capsys.readouterr() == ("", "") and not (tmp_path / "report.html").exists()
    build.after(tmp_path, tested=False)
    assert "report.html has it all" in capsys.readouterr().out
    a_run(tmp_path)
    build.after(tmp_path)
    assert (tmp_path / "report.html").is_file() and "report.html has it all" in capsys.readouterr().out
    monkeypatch.setattr(numbers, "about", lambda run: 1 / 0)
    build.after(tmp_path)
    said = capsys.readouterr()
    assert said.out == "" and said.err.endswith("could not be written: ZeroDivisionError: division by zero\n")


def test_curves(tmp_path):
    history(tmp_path / "a", loss=[5, 0.01, "x"], val_accuracy=[0.5, "", "nan"], seconds=[1, 2, 3])
    read_ = charts.read_history(tmp_path / "a" / "history.csv")
    assert read_["loss"] == [(1, 5), (2, 0.01)] and read_["val_accuracy"] == [(1, 0.5)]
    drawn = Read("<p>" + charts.curves([read_, read_], "a") + "</p>")
    assert len(drawn.of("polyline")) == 2 and len(drawn.of("circle")) == 2  # an accuracy of one epoch is a dot
    assert "loss (logarithmic)" in drawn.text and "val accuracy" in drawn.text
    assert charts.read_history(tmp_path / "nothing.csv") == {}


def test_round_numbers():
    assert charts.ticks(0.2, 9.7) == [2, 4, 6, 8] and charts.ticks(-1, 1, 4) == [-1, -0.5, 0, 0.5, 1]
    assert charts.ticks(3, 3) == [3] and charts.ticks(0, float("nan")) == []


def test_matrix_shows_shares_and_counts():
    drawn = Read(charts.matrix([[3, 1], [0, 0]], ["a", "b"]))
    assert drawn.text == "true \\ named a b a (4) 75 % 3 25 % 1 b (0)"
    assert [cell["style"] for cell in drawn.of("td") if "style" in cell] == [
        "background: rgba(var(--heat), 0.60)", "background: rgba(var(--heat), 0.20)"
    ]  # fmt: skip


def test_runs_beside_each_other(tmp_path):
    """The same pictures in another order; by hand: what the second run's method names right less the first's."""
    a = a_run(tmp_path / "a", made=trainings(listed(), better=0))
    b = a_run(tmp_path / "b", made=trainings(listed(), better=2, order=-1), flags={"rate": 0.2})
    path, compared = beside.write([a, b], tmp_path / "out" / "compare.html")
    assert {*compared} == {"b: Base", "b: Ours"} and compared["b: Ours"]["baseline"] == "a: Ours"
    assert compared["b: Base"]["micro"]["difference"] == 0
    right = [
        np.mean(r.methods["Ours"]["last"].named == r.label)
        for r in (predictions.read(f / "predictions.npz") for f in (a, b))
    ]
    assert compared["b: Ours"]["micro"]["difference"] == pytest.approx(right[1] - right[0]) and right[1] > right[0]
    assert compared["b: Base"]["people"] == {"count": 12, "known": True, "better": 0, "worse": 0, "equal": 12, "p": 1.0}
    page = Read(path.read_text())
    assert "--rate 0.1 0.2" in page.text and "b: Ours, beside a: Ours: cannot be told from chance" in page.text
    assert "--dataset" not in page.text.split("What differs")[1].split("What was run")[0]
    _, other = beside.write([a, b], tmp_path / "c.html", baseline="b: Ours")
    assert {*other} == {"a: Base", "a: Ours", "b: Base"} and {e["baseline"] for e in other.values()} == {"b: Ours"}
    with pytest.raises(ValueError, match="--baseline=c: Ours is none of a: Base; a: Ours; b: Base; b: Ours"):
        beside.write([a, b], tmp_path / "c.html", baseline="c: Ours")


def changed(folder, name, change):
    """The folder, with a JSON file of it changed."""
    file = folder / name
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("metrics.json", lambda m: m.update(dataset="ck_plus"), "the data set of a is rendered, of b ck_plus"),
        (
            "metrics.json",
            lambda m: m.update(classes=["anger"]),
            "the classes of a are anger, fear, sadness, of b anger",
        ),
        (
            "metrics.json",
            lambda m: m.update(seeds=[0, 5]),
            "b lacks seed 1 fold 0, seed 1 fold 1; a lacks seed 5 fold 0",
        ),
        ("metrics.json", lambda m: m.update(folds=m["folds"][:3]), "b lacks seed 1 fold 1"),
        ("metrics.json", lambda m: m.clear(), "b has not been tested yet"),
        ("folds.json", lambda f: f["folds"].pop(), "a has 2 folds, b 1"),
        (
            "folds.json",
            lambda f: f["folds"][1]["subjects"].remove("p03"),
            "fold 1 holds out p03 in a alone, nobody else in b",
        ),
        ("folds.json", lambda f: f["folds"][1].update(test=9), "of fold 1 12 pictures are held out in a, 9 in b"),
        ("folds.json", lambda f: f["folds"][0].update(train=9), "of fold 0 12 pictures are trained on in a, 9 in b"),
        (
            "folds.json",
            lambda f: f["folds"][0].update(sha256="0"),
            "fold 0 holds out other pictures of the same people",
        ),
    ],
)
def test_runs_of_other_folds_or_data_are_not_mixed(tmp_path, name, change, said):
    a, b = a_run(tmp_path / "a"), changed(a_run(tmp_path / "b"), name, change)
    with pytest.raises(ValueError) as error:
        beside.write([a, b], tmp_path / "c.html")
    assert said in str(error.value) and not (tmp_path / "c.html").exists()


def test_other_pictures_are_found_by_their_contents(tmp_path):
    """Though folds.json says the same."""
    a, b = a_run(tmp_path / "a"), a_run(tmp_path / "b", records=listed(tint=1))
    (b / "folds.json").write_bytes((a / "folds.json").read_bytes())
    with pytest.raises(ValueError, match="a and b cannot stand beside each other: they were tested on other pictures"):
        beside.write([a, b], tmp_path / "c.html")


def test_runs_without_predictions_or_too_few_are_refused(tmp_path):
    a, b = a_run(tmp_path / "a"), a_run(tmp_path / "b")
    with pytest.raises(ValueError, match="two runs or more"):
        beside.write([a])
    with pytest.raises(ValueError, match="names a run twice"):
        beside.write([a, a])
    (b / "predictions.npz").unlink()
    with pytest.raises(ValueError, match="b has kept no predictions: give its command again"):
        beside.write([a, b], tmp_path / "c.html")


def test_runs_of_one_name_have_the_folder_above(tmp_path):
    a, b = a_run(tmp_path / "x" / "toy"), a_run(tmp_path / "y" / "toy")
    assert {*beside.write([a, b], tmp_path / "c.html")[1]} == {"y/toy: Base", "y/toy: Ours"}


def test_texts_are_escaped_and_markup_is_not():
    assert markup.element("p", ["<", markup.element("b", "&"), 3, None], {"title": '"<', "id": None}) == (
        '<p title="&quot;&lt;">&lt;<b>&amp;</b>3</p>'
    )
    assert html.unescape(markup.escaped("a < b")) == "a < b"
