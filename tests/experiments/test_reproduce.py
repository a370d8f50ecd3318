"""`experiments.reproduce`: its tables against the commands that they name, and what it makes of planted results."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import cycle_at, de_gan, ed2l, gcnet, grid, reproduce
from experiments.parts.de_gan import networks
from experiments.parts.reproduce import papers, step, table
from experiments.run import command_line
from fer_tf import locks, metrics

STEPS = [(name, one.name) for name, make in papers.PAPERS.items() for one in make().steps]
COUNTS = {
    "ia_gen": {"Table I": 8, "Table II": 9, "Table III": 6, "Table IV": 7},
    "de_gan": {"Table 1": 8, "Table 2": 7, "Table 3": 8},
    "ed2l": {"Table 2": 10, "Table 3": 9, "Table 4": 10, "Table 5": 10},
    "gcnet": {"Table II": 14, "Table III": 9, "Table IV": 14, "Table V": 13, "Table VI": 14},
    "cycle_at": {"Table 2": 5, "Table 3": 3, "Table 5": 5, "Table 6": 5, "Table 7": 6, "Table 8": 4},
}
"""Rows of each printed table with accuracies."""


@pytest.fixture
def said(capsys):
    """`said(*words)`: (exit code, output, errors) of the command in this process."""

    def run(*words):
        code = 0
        try:
            command_line.main(reproduce.Settings, reproduce.run, ["reproduce", *words])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


class Grid:
    """Stands for the process of a step: keeps the command lines, and leaves planted results behind."""

    def __init__(self):
        self.lines, self.fails = [], ()

    def __call__(self, line):
        self.lines.append(list(line))
        flags = dict(word.removeprefix("--").partition("=")[::2] for word in line[1:])
        folder = Path(flags["workdir"])
        if folder.name in self.fails:
            return 3
        folder.mkdir(parents=True, exist_ok=True)
        if "out" in flags:
            Path(flags["out"]).write_text("weights")
        else:
            plant(folder, ["Baseline", "ED2L"])
        return 0

    @property
    def names(self):
        """Of the work folders, in the order in which they were begun."""
        return [Path(word.partition("=")[2]).name for line in self.lines for word in line if "--workdir=" in word]


@pytest.fixture
def fake(monkeypatch):
    made = Grid()
    monkeypatch.setattr(reproduce, "execute", made)
    return made


def plant(folder, methods, right=((3, 4), (2, 2), (2, 4), (2, 2)), classes=("anger", "fear")):
    """metrics.json and folds.json of two runs of two folds, in each of which so many are named right.

    All of a fold show fear but one; the wrong answers are of fear.
    """
    pairs = []
    for good, count in right:
        labels = np.array([0] + [1] * (count - 1))
        wrong = np.arange(count) >= good
        pairs.append({"last": (labels, np.where(wrong, 1 - labels, labels))})
    made = {name: metrics.summarize(pairs, classes) for name in methods}
    folds = [{"run": i // 2, "fold": i % 2, "test": count} for i, (_, count) in enumerate(right)]
    metrics.write_metrics(folder / "metrics.json", {"folds": folds, "methods": made})
    dealt = {"folds": [{"subjects": ["S1", "S2"]}, {"subjects": ["S3"]}, {"subjects": ["S4"]}]}
    (folder / "folds.json").write_text(json.dumps(dealt))


def settings_of(paper, name, tmp_path):
    """The experiment's settings of a step, read by the command line that is run."""
    made = papers.PAPERS[paper]()
    places = {data: str(tmp_path / data) for one in made.steps for data in one.known - {"folder"}}
    chosen = step.Chosen(places, "paper")
    run = reproduce.Run(reproduce.Settings(paper=paper, workdir=str(tmp_path / "w")), made, chosen, {})
    line = run.line(made.step(name))
    if line[0] == "experiments.grid":
        return grid.experiment_of(grid.Settings(**command_line.given(grid.Settings, line)))[1]
    kind = importlib.import_module(line[0]).Settings
    return kind(**command_line.given(kind, line))


def methods_of(paper, settings):
    """{entry of metrics.json: names in it} that a run with these settings writes."""
    if paper == "ia_gen":
        return {"methods": {settings.classifier_name, "IA-gen"}}
    if paper == "de_gan":
        uses, cnns = settings.uses, settings.baselines
        return {"methods": {de_gan.networks.NAMES[u] for u in uses} | {networks.BASELINES[b] for b in cnns}}
    if paper == "ed2l":
        return {"methods": {ed2l.ROWS[row] for row in settings.rows}}
    if paper == "gcnet":
        return {"methods": {gcnet.Row.read(row, 1.0).name for row in settings.rows}}
    rows = {cycle_at.Row.read(row).name for row in settings.rows}
    return {"methods": rows, "source": {*settings.source_network}}


@pytest.mark.parametrize("paper, name", STEPS, ids=lambda value: value)
def test_the_command_of_every_row_is_one_that_its_experiment_takes(paper, name, tmp_path):
    made = papers.PAPERS[paper]()
    settings = settings_of(paper, name, tmp_path)
    rows = [row for row in made.rows if row.step == name]
    assert settings.preset == "paper" and settings.workdir == str(tmp_path / "w" / name)
    cycle, starts = paper == "cycle_at", {start.step for one in made.steps for start in one.starts.values()}
    assert rows or name in starts
    assert not rows or (settings.protocol and (cycle or "cross" in name or settings.folds == 10))
    for row in rows:
        assert row.method in methods_of(paper, settings)[row.entry], row
        assert row.measure == ("macro" if paper in ("ia_gen", "cycle_at") else "micro")
        if cycle and row.entry == "methods":
            assert {*row.printed} == {*settings.labels, "average"}
    for flag, start in made.step(name).starts.items():
        assert getattr(settings, flag) == str(tmp_path / "w" / start.step / start.path).rstrip("/.")


def test_runs_and_data_of_some_commands_are_the_papers(tmp_path):
    of = {name: settings_of("ia_gen", name, tmp_path) for name in ("ck_plus", "oulu_casia", "bu3dfe", "bu4dfe")}
    assert {name: s.runs for name, s in of.items()} == {"ck_plus": 8, "oulu_casia": 1, "bu3dfe": 10, "bu4dfe": 10}
    assert of["oulu_casia"].classifier_name == "VGG-16" and of["bu4dfe"].gan_init is None
    cross = settings_of("gcnet", "cross_raf_3", tmp_path)
    assert cross.test_on == f"raf_db={tmp_path}/raf_db"
    assert cross.train_on == (f"mmi={tmp_path}/mmi", f"oulu_casia={tmp_path}/oulu_casia")
    assert settings_of("cycle_at", "emotionet", tmp_path).t == 3


@pytest.mark.parametrize("paper", papers.PAPERS)
def test_every_row_has_its_command_or_says_why_not(paper):
    made = papers.PAPERS[paper]()
    tables = [row.table for row in made.rows]
    assert {name: tables.count(name) for name in dict.fromkeys(tables)} == COUNTS[paper]
    assert all(bool(row.step) != bool(row.why) for row in made.rows)
    assert {row.step for row in made.rows} - {""} <= {one.name for one in made.steps}
    assert len({(row.table, row.name) for row in made.rows}) == len(made.rows)
    assert all(0 < value < 100 for row in made.rows for value in row.printed.values())


def test_averages_of_cycle_at_are_those_of_their_rows():
    """Which finds a figure that was copied wrongly; six rows are printed with averages that are not quite theirs."""
    off = set()
    for row in papers.cycle_at().rows:
        *shares, average = row.printed.values()
        off |= {(row.table, row.name)} if abs(np.mean(shares) - average) > 0.011 else set()
    printed_so = {"AlexNet", "ResNet-38"}, {"Baseline", "MvDA", "GMLDA", "DS-GPLVM"}
    assert off == {("Table 2", name) for name in printed_so[0]} | {("Table 7", name) for name in printed_so[1]}


def test_some_figures_are_those_of_the_papers():
    def figure(paper, table_, name):
        return next(r for r in papers.PAPERS[paper]().rows if (r.table, r.name) == (table_, name)).printed["accuracy"]

    assert figure("ed2l", "Table 3", "Ours(w.)") == 80.38 and figure("ed2l", "Table 3", "Ours(w.o.)") == 72.73
    assert figure("gcnet", "Table IV", "Ours (GCNet_S0R0)") == 76.20
    assert figure("gcnet", "Table VI", "Ours (GCNet_S1R1), CK+, on RAF") == 45.44
    assert figure("de_gan", "Table 2", "CNN (baseline)") == 58.46
    assert figure("ia_gen", "Table IV", "Ours") == 89.55


def test_without_data_it_lists(said, fake):
    code, out, _ = said("--paper=ed2l")
    assert code == 0 and fake.lines == []
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("ck_plus_fine_tuned"))
    assert lines[at] == "ck_plus_fine_tuned (needs ck_plus)"
    assert (
        "grid --experiment=ed2l --preset=paper --rows=baseline_pretrained,ed2l_pretrained --protocol=ck"
        in lines[at + 1]
    )
    assert "'--data_dir=<ck_plus>'" in lines[at + 1] and "/start_fer2013/ed2l_fer2013.h5" in lines[at + 1]
    assert [line.split() for line in lines[at + 3 : at + 5]] == [
        ["Table", "2", "Baseline(w.)", "94.50"],
        ["Table", "2", "Ours(w.)", "97.86"],
    ]
    assert "  Table 5   PPDN                                      84.59" in lines[lines.index("not run:") :]


def test_printed_stands_beside_measured(said, fake, tmp_path):
    (tmp_path / "ck").mkdir()
    code, out, errors = said("--paper=ed2l", f"--data_dir=ck_plus={tmp_path}/ck", f"--workdir={tmp_path}/w")
    assert code == 0 and fake.names == ["ck_plus"]
    text = (tmp_path / "w" / table.MARKDOWN).read_text()
    lines = text.splitlines()
    assert text in out and "rendered" not in text
    assert "| Table 2 | Baseline(w.o.) | accuracy | 94.19 | 81.25 | 23.94 | 6 | 3 | 2 | 2 |  |" in lines
    assert "| Table 2 | Ours(w.o.) | accuracy | 96.33 | 81.25 | 23.94 | 6 | 3 | 2 | 2 |  |" in lines
    row = next(line for line in lines if "| Ours(w.) | accuracy | 97.86 | not run |" in line)
    note = row.split("|")[-2].strip()
    assert note and f"{note} not run: no data: fer2013" in lines
    assert "mmi: not run: no data: mmi" in errors
    cells = {(c["table"], c["row"]): c for c in json.loads((tmp_path / "w" / table.JSON).read_text())["cells"]}
    cell = cells["Table 2", "Baseline(w.o.)"]
    assert cell["measured"] == 81.25 and cell["pooled"] == 75.0 and cell["printed"] == 94.19
    assert cells["Table 2", "DeRL"]["note"] == f"not run: {step.ANOTHER}"
    assert cells["Table 4", "Ours(w.)"]["note"] == "not run: no data: bu3dfe, fer2013"


def test_expressions_average_and_source_are_read_of_all_answers_together(tmp_path):
    plant(tmp_path, ["S2T"])
    said = table.read(tmp_path)
    said["source"] = {"alexnet": said["methods"]["S2T"]}
    row = papers.by_expression("Table 5", "AN FE Ave.", "S2T", "1 2 3", "sfew", "S2T")
    got = table.measured(row, said)
    assert [round(got[c]["measured"], 3) for c in ("anger", "fear", "average")] == [100.0, 62.5, 81.25]
    assert [got[c]["faces"] for c in ("anger", "fear", "average")] == [2, 4, 6]
    assert got["anger"]["spread"] is None and got["average"]["people"] == 3
    macro = [100 * np.mean([1, share]) for share in (2 / 3, 1, 1 / 3, 1)]
    assert got["average"]["spread"] == pytest.approx(np.std(macro, ddof=1))
    source = table.measured(row._replace(entry="source", method="alexnet"), said)
    assert source["average"]["people"] is None and source["average"]["folds"] == 1
    assert table.measured(row._replace(method="CycleAT"), said) == {}
    neutral = papers.by_expression("Table 5", "NE Ave.", "S2T", "1 2", "sfew", "S2T")
    assert [*table.measured(neutral, said)] == ["average"]


def test_what_is_done_is_not_done_again(said, fake, tmp_path):
    (tmp_path / "ck").mkdir()
    words = ("--paper=ed2l", "--dataset=ck_plus", f"--data_dir={tmp_path}/ck", f"--workdir={tmp_path}/w")
    assert said(*words)[0] == 0 and fake.names == ["ck_plus"]
    code, out, _ = said(*words, "--engine=ray", "--resources=gpu=0.25,cpu=2")
    assert code == 0 and fake.names == ["ck_plus"] and "ck_plus: done before" in out and "| 81.25 |" in out
    said(*words, "--runs=2", "--engine=ray")
    assert fake.names == ["ck_plus"] * 2 and {"--runs=2", "--engine=ray"} <= {*fake.lines[1]}
    (tmp_path / "w/ck_plus/metrics.json").unlink()
    said(*words, "--runs=2")
    assert fake.names == ["ck_plus"] * 3


def test_starts_come_first_and_one_that_fails_stops_what_needs_it_alone(said, fake, tmp_path):
    for name in ("ck", "fer"):
        (tmp_path / name).mkdir()
    words = ("--paper=ed2l", f"--data_dir=ck_plus={tmp_path}/ck,fer2013={tmp_path}/fer", f"--workdir={tmp_path}/w")
    fake.fails = ("start_fer2013_baseline",)
    code, out, errors = said(*words, "--seed=3", "--engine=ray", "--views=1")
    assert code == 1 and fake.names == ["start_fer2013", "start_fer2013_baseline", "ck_plus"]
    assert "start_fer2013_baseline, which it starts from, failed" in errors and "| 96.33 | 81.25 |" in out
    assert fake.lines[0][0] == "experiments.pretrain_ed2l" and "--seed=3" in fake.lines[0]
    assert not {"--engine=ray", "--views=1"} & {*fake.lines[0]} and {"--engine=ray", "--views=1"} <= {*fake.lines[2]}
    fake.fails, fake.lines = (), []
    said(*words, "--seed=3", "--views=1")
    assert fake.names == ["start_fer2013_baseline", "ck_plus_fine_tuned"]
    assert f"--init={tmp_path}/w/start_fer2013/ed2l_fer2013.h5" in fake.lines[1]


def test_a_step_that_can_do_without_its_start_says_so(said, fake, tmp_path):
    (tmp_path / "ck").mkdir()
    words = ("--paper=ia_gen", f"--data_dir=ck_plus={tmp_path}/ck", f"--workdir={tmp_path}/w")
    said(*words)
    assert fake.names == ["ck_plus_from_nothing"] and not [w for w in fake.lines[0] if "gan_init" in w]
    said(*words, "--gan_init=/somewhere")
    assert fake.names[1] == "ck_plus" and "--gan_init=/somewhere" in fake.lines[1]


def test_prepared_files_and_renderings_stand_for_data_sets():
    made, places = papers.gcnet(), {"ck_plus": "/d/ck.h5", "fer2013": "/d/f.h5", "mmi": "/d/mmi"}
    words = step.words(made.step("cross_fer2013_1"), step.Chosen(places, "paper"), {})
    assert words[-3:] == ["--dataset=prepared", "--data_dir=/d/ck.h5", "--test_on=prepared/private_test=/d/f.h5"]
    own = {"folder": "/r", "celeba": "/c", "lfw": "/l", "sfew": "/s"}
    sfew = papers.cycle_at().step("sfew")
    assert "--dataset=folder" in step.words(sfew, step.Chosen(own, "paper"), {})
    assert step.missing(sfew, step.Chosen(own, "paper")) == []
    assert step.missing(sfew, step.Chosen({"celeba": "/c"}, "paper")) == ["bu3dfe", "lfw", "sfew"]


def test_on_rendered_faces_the_printed_figures_are_left_out(said, fake, tmp_path):
    code, out, _ = said("--paper=ed2l", "--dataset=rendered", "--preset=smoke", f"--workdir={tmp_path}/w")
    assert code == 0 and fake.names == ["ck_plus"]  # four data sets, one command
    assert fake.lines[0][1:-1] == ["--experiment=ed2l", "--preset=smoke", "--rows=baseline,ed2l", "--dataset=rendered"]
    assert "| Table 5 | Ours(w.o.) | accuracy | other data | 81.25 | 23.94 |" in out and "85.21" not in out
    assert "Rendered faces were tested" in out
    made = json.loads((tmp_path / "w" / table.JSON).read_text())
    assert made["rendered"] and all(cell["printed"] is None for cell in made["cells"])


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "--paper is left out; give one of ia_gen"),
        (("--paper=ed3l",), "--paper=ed3l: there is none"),
        (("--paper=ed2l", "--only=ck"), "'ck' is none of start_fer2013,"),
        (("--paper=ed2l", "--data_dir=/x"), "of which data set? Give it as in ck_plus=/x"),
        (("--paper=ed2l", "--data_dir=sfew=/x"), "sfew is no data set of this paper's tables, which are on bu3dfe"),
        (("--paper=ed2l", "--data_dir=mmi=/nowhere"), "nothing is at /nowhere"),
        (("--paper=ed2l", "--data_dir=mmi="), "the place is left out"),
        (("--paper=ed2l", "--dataset=sfew"), "--dataset=sfew is no data set of this paper's tables"),
        (("--paper=ed2l", "--rows=ed2l"), "--rows=ed2l: the tables say that"),
        (("--paper=ed2l", "ck_plus"), "Unknown argument 'ck_plus'"),
        (("--paper=ed2l", "--preset=slow"), "<paper|quick|smoke>"),
    ],
)
def test_bad_input_is_one_sentence(said, fake, words, sentence):
    code, _, errors = said(*words)
    assert code == 1 and fake.lines == [] and sentence in errors and errors.count("\n") == 1


def test_data_for_no_row_is_a_sentence(said, fake, tmp_path):
    code, _, errors = said("--paper=ed2l", f"--data_dir=fer2013={tmp_path}", f"--workdir={tmp_path}/w")
    assert code == 1 and fake.lines == [] and "No row can be run: ck_plus: no data: ck_plus" in errors.splitlines()[-1]


def test_two_calls_do_not_share_a_folder(said, fake, tmp_path):
    with locks.alone(tmp_path):
        code, _, errors = said("--paper=ed2l", "--dataset=rendered", f"--workdir={tmp_path}")
    assert code == 1 and fake.lines == [] and str(tmp_path) in errors and errors.count("\n") == 1


def test_flags_of_the_grid_are_known():
    own = {f.name for f in dataclasses.fields(grid.Settings)} - {"flags", "experiment", "dry_run", "watch"}
    assert own == {*reproduce.OF_GRID}


@pytest.mark.slow
def test_a_row_of_rendered_faces_runs(said, tmp_path):
    words = ("--paper=ed2l", "--dataset=rendered", "--preset=smoke", "--only=ck_plus", f"--workdir={tmp_path}/w")
    code, out, _ = said(*words)
    assert code == 0 and "| Table 2 | Ours(w.o.) | accuracy | other data | " in out
    cells = json.loads((tmp_path / "w" / table.JSON).read_text())["cells"]
    cell = next(c for c in cells if c["row"] == "Ours(w.o.)" and c["table"] == "Table 2")
    said_ = json.loads((tmp_path / "w/ck_plus/metrics.json").read_text())["methods"]["ED2L"]["last"]["micro"]
    assert cell["measured"] == pytest.approx(100 * said_["fold_mean"]) and cell["people"] == 4 and cell["folds"] == 2
    code, out, _ = said(*words)
    assert code == 0 and "done before" in out
