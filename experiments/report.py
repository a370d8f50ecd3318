"""One page of a run, or of several beside each other: what was run, what it came to, and what can be told from chance.

    python -m experiments.report --workdir=runs/ed2l_quick                 # runs/ed2l_quick/report.html
    python -m experiments.report --compare=runs/a,runs/b,runs/c            # compare.html: b and c beside a
    python -m experiments.report --pool=runs/s0,runs/s1 --baseline=CNN     # other seeds of a, as one run; prints tables
    python -m experiments.report --workdir=runs/ed2l_quick --tensorboard --mlflow      # the same numbers there

Every run writes its page at its end; this writes it anew, also of a run that was killed. The page is one file that asks
nothing of the network. It holds no picture of a data set whose licence forbids that; --show_pictures is for your own.
--compare takes runs of the same pictures in the same folds under the same seeds, and names what differs of others; the
first one is what the others are held against, or "--baseline=a: Baseline". --pool prints how runs under other seeds, of
the same methods and held-out pictures, come out together, each method beside --baseline.
"""

from __future__ import annotations

from pathlib import Path

from fer_tf import predictions

from .run import command_line, settings, tracking
from .run.page import beside, build, pooled
from .run.settings import setting


@settings.command()
class Settings(settings.Base):
    """Which runs, and where the page goes."""

    workdir: str | None = setting(None, "Folder of a run.", place="path")
    compare: tuple[str, ...] = setting((), "Folders of runs, with commas.", place="path")
    pool: tuple[str, ...] = setting((), "Folders of runs under other seeds, with commas.", place="path")
    baseline: str = setting(
        "", "Which all others are held against: with --compare '<run>: <method>', with --pool '<method>'."
    )
    out: str | None = setting(
        None, "The file; report.html in --workdir, or compare.html here when left out.", place="path"
    )
    show_pictures: bool = setting(False, "Pictures of --dataset=folder are yours and may be on the page.")
    tensorboard: bool = setting(False, "The run's settings and figures for TensorBoard's HParams, in its tensorboard/.")
    mlflow: bool = setting(False, "The same for MLflow (extra), where MLFLOW_TRACKING_URI says.")


def run(settings: Settings) -> Path | None:
    """Writes the page; where it is asked to, gives its numbers to TensorBoard and MLflow. --pool prints alone."""
    if [bool(given) for given in (settings.workdir, settings.compare, settings.pool)].count(True) != 1:
        raise ValueError(
            "Which run? Give --workdir=<folder>, or --compare=<folder>,<folder> for several of them, or --pool."
        )
    if (settings.compare or settings.pool) and (settings.tensorboard or settings.mlflow):
        raise ValueError("--tensorboard and --mlflow take one run: give --workdir=<folder>.")
    if settings.pool:
        print(pooled.text(pooled.read(settings.pool), settings.baseline))
        return None
    if settings.compare:
        path, compared = beside.write(settings.compare, settings.out or beside.FILE, baseline=settings.baseline)
        print(predictions.table(compared))
    else:
        if settings.baseline:
            raise ValueError("--baseline goes with --compare or --pool.")
        path = build.write(settings.workdir or "", settings.out, show_pictures=settings.show_pictures)
        tracking.publish(settings.workdir or "", tensorboard=settings.tensorboard, mlflow=settings.mlflow)
    print(f"{path} is written.")
    return path


if __name__ == "__main__":
    command_line.main(Settings, run)
