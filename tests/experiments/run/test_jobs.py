"""--job: one training of a run in the shared work folder, beside others; who may be there at once."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from experiments.run import jobs, settings, work
from fer_tf import locks

STAGES = (
    jobs.Stage("net", "nets", 4),
    jobs.Stage("gan", "GANs", 5, ("net",)),
    jobs.Stage("judge", "test", None, ("gan", "source")),
)
OF_RUN = (jobs.Stage("source", "source", 2),)


def given(job="", runs=2):
    return SimpleNamespace(job=job, runs=runs, max_steps=9)


def listing(folder, numbers=(0, 3), **options):
    with pytest.raises(jobs.Listed) as ended:
        jobs.pairs(given("list"), folder, numbers, STAGES, OF_RUN, **options)
    return ended.value.listing


def done(place):
    place.mkdir(parents=True, exist_ok=True)
    (place / "done.json").write_text('{"epochs": 99, "steps": 1}')


def test_the_jobs_of_a_run(tmp_path):
    found = listing(tmp_path)
    assert found.folder == tmp_path and [job.place for job in found.jobs] == [
        *("run0/source", "run0/fold0/net", "run0/fold0/gan", "run0/fold0/judge"),
        *("run0/fold3/net", "run0/fold3/gan", "run0/fold3/judge"),
        *("run1/source", "run1/fold0/net", "run1/fold0/gan", "run1/fold0/judge"),
        *("run1/fold3/net", "run1/fold3/gan", "run1/fold3/judge"),
    ]
    judge = found.jobs[-1]
    assert judge == ("run1/fold3/judge", "test", None, 9, ("run1/fold3/net", "run1/fold3/gan", "run1/source"))
    assert found.jobs[5] == ("run0/fold3/gan", "GANs", 5, 9, ("run0/fold3/net",))
    assert [*tmp_path.iterdir()] == []


def test_without_a_job_everything_is_wanted(tmp_path):
    with jobs.apart():
        assert jobs.pairs(given(), tmp_path, (0, 3), STAGES, OF_RUN) == [(0, 0), (0, 3), (1, 0), (1, 3)]
        assert jobs.pairs(given("table"), tmp_path, (0, 3), STAGES, OF_RUN) == [(0, 0), (0, 3), (1, 0), (1, 3)]
        assert jobs.wanted(tmp_path / "run0/fold0/net")
        with jobs.training(given(), tmp_path / "run0/fold0/net"):
            pass


def test_a_job_is_its_own_fold_and_what_is_before_it(tmp_path):
    with jobs.apart():
        assert jobs.pairs(given("run1/fold3/judge"), tmp_path, (0, 3), STAGES, OF_RUN) == [(1, 3)]
        wanted = [job.place for job in listing(tmp_path).jobs if jobs.wanted(tmp_path / job.place)]
        assert wanted == ["run1/source", "run1/fold3/net", "run1/fold3/gan", "run1/fold3/judge"]
        own = given("run1/fold3/judge")
        for place in ("run1/source", "run1/fold3/net"):
            with (
                pytest.raises(ValueError, match=f"^--job=run1/fold3/judge comes after {place}, which is not done.$"),
                jobs.training(own, tmp_path / place),
            ):
                raise AssertionError
            done(tmp_path / place)
            with jobs.training(own, tmp_path / place):
                pass
        with (
            pytest.raises(ValueError, match="has no need of run0/fold0/net"),
            jobs.training(own, tmp_path / "run0/fold0/net"),
        ):
            raise AssertionError
        trained = []
        with pytest.raises(jobs.Ended), jobs.training(own, tmp_path / "run1/fold3/judge"):
            trained.append(True)
        assert trained
    assert jobs.wanted(tmp_path / "run0/fold0/net")


def test_a_job_of_the_whole_run_is_trained_with_its_first_fold(tmp_path):
    with jobs.apart():
        assert jobs.pairs(given("run1/source"), tmp_path, (0, 3), STAGES, OF_RUN) == [(1, 0)]
        assert not jobs.wanted(tmp_path / "run1/fold0/net") and jobs.wanted(tmp_path / "run1/source")


def test_what_is_no_job(tmp_path):
    with pytest.raises(ValueError, match="--job=run0/fold1/net is none of this run's: it has run0/fold0/net, run0/"):
        jobs.pairs(given("run0/fold1/net"), tmp_path, (0,), STAGES[:2])
    for job in ("list", "run0/fold0/net"):
        with (
            pytest.raises(ValueError, match="not made of jobs that could be shared out"),
            jobs.training(given(job), tmp_path),
        ):
            raise AssertionError


def test_a_run_without_folds(tmp_path):
    assert jobs.once(given(), tmp_path, STAGES[:2], "all") == tmp_path / "all"
    with pytest.raises(jobs.Listed) as ended:
        jobs.once(given("list"), tmp_path, STAGES[:2])
    assert [(job.place, job.after) for job in ended.value.listing.jobs] == [("net", ()), ("gan", ("net",))]


@settings.command({"quick": {}})
class Toy(settings.Folds):
    """Nothing of its own."""


class Runs:
    """A command whose trainings write done.json, and what happens within them."""

    def __init__(self, folder):
        self.folder, self.within, self.trained = folder, contextlib.nullcontext, []
        self.run = work.alone(self.plain)

    def plain(self, given):
        folder = work.folder(given, "toy")
        for run, number in jobs.pairs(given, folder, (0, 1), STAGES[:2]):
            for name in ("net", "gan"):
                place = folder / f"run{run}/fold{number}/{name}"
                if not jobs.wanted(place):
                    continue
                with jobs.training(given, place):
                    if not (place / "done.json").is_file():
                        self.trained.append(place.relative_to(folder).as_posix())
                        self.within()
                        done(place)
        return "table"

    def __call__(self, **more):
        return self.run(Toy(workdir=self.folder, **more))


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "w")


def test_jobs_then_the_table(runs):
    """Each trains its own; the command after them trains nothing."""
    listed = runs(job="list")
    assert not runs.folder.exists()  # nothing is written
    places = [job.place for job in listed.jobs]
    for place in places:
        assert runs(job=place) is None
    assert runs.trained == places == [f"run0/fold{n}/{name}" for n in (0, 1) for name in ("net", "gan")]
    assert runs(job="table") == runs() == "table" and runs.trained == places
    assert json.loads((runs.folder / "flags.json").read_text()) == settings.bound(Toy())
    assert not [*runs.folder.rglob(locks.NAME)]


def test_a_listing_refuses_other_settings_and_may_be_of_other_hardware(runs):
    runs()
    (runs.folder / "run0/fold0/net/checkpoint").mkdir()
    (runs.folder / "run0/fold0/net/checkpoint/checkpoint").write_text("")
    file = runs.folder / "flags.json"
    begun = json.loads(file.read_text())
    file.write_text(json.dumps({**begun, "precision": "mixed_float16"}))
    assert len(runs(job="list").jobs) == 4  # --precision=auto came to another one where jobs are run
    with pytest.raises(ValueError, match="--precision=mixed_float16, and now --precision=float32"):
        runs(job="list", precision="float32")
    with pytest.raises(ValueError, match="--seed=0, and now --seed=1"):
        runs(job="list", seed=1)


def test_two_jobs_at_once_and_nobody_else(runs, capsys):
    """While a job is trained: another one may be, the same one and the command as a whole may not."""
    seen = {}

    def within():
        runs.within = contextlib.nullcontext
        seen["same"] = runs(job="run0/fold0/net")
        seen["other"] = runs(job="run0/fold1/net")
        for whole in ("", "table"):
            with pytest.raises(locks.InUse, match=f"{runs.folder} is in use by process"):
                runs(job=whole)

    runs.within = within
    assert runs(job="run0/fold0/net") is None
    assert seen == {"same": jobs.BUSY, "other": None} and runs.trained == ["run0/fold0/net", "run0/fold1/net"]
    assert "run0/fold0/net is in use by process" in capsys.readouterr().err


def test_no_job_beside_the_command_as_a_whole(runs):
    seen = []
    runs.within = lambda: seen.append(runs(job="run0/fold1/gan"))
    assert runs() == "table"
    assert seen == [jobs.BUSY] * 4


def test_a_grid_s_folder_is_its_jobs_and_its_table_s(runs):
    runs.folder.mkdir()
    with locks.alone(runs.folder / jobs.GRID):
        with pytest.raises(locks.InUse, match=f"{runs.folder} is in use by process .* or give another --workdir"):
            runs()
        assert runs(job="run0/fold0/net") is None
        assert runs(job="table") == "table"
    assert runs() == "table" and runs.trained.count("run0/fold0/net") == 1
