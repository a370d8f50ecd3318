"""Pre-trains GCNet's encoders (section IV-A): Encoder1 by giving faces back, Encoder2 by naming people.

    python -m experiments.pretrain_gcnet --stage=autoencoder --part=wild --rate=1   # --encoder1 of experiments/gcnet.py
    python -m experiments.pretrain_gcnet --stage=identify --part=wild --rate=0.03      # --encoder2

The paper does both on CASIA-WebFace. Any data set serves: the autoencoder needs faces alone, the other one people's
names, neither an expression. `--part=wild` takes 80 rendered people who are not in `lab`, where the folds are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fer_tf import catalogue, faces, pipeline, records, weights
from fer_tf.compat import PlayersModel
from fer_tf.models import gcnet

from .parts.gcnet import net
from .run import command_line, data, fitting, provenance, settings, work
from .run.settings import FEEDS, setting

PRESETS = {
    "paper": {"epochs": 30},
    "quick": {"epochs": 60},
    "smoke": {"epochs": 1, "batch_size": 8, "width": 0.0625, "max_steps": 2},
}
PARTS = {"autoencoder": "generator/encoder1", "identify": "encoder2"}
"""Stage -> the layers that are written."""


@settings.command(PRESETS)
class Settings(net.Net, settings.Training):
    """The pre-training's."""

    batch_size: int = 64
    stage: str = setting("autoencoder", "What is trained.", choices=PARTS)
    dataset: str = setting("rendered", "Which data set.", choices=catalogue.names())
    options: tuple[str, ...] = setting((), settings.OPTIONS)
    labels_: tuple[str, ...] = setting((), settings.LABELS)
    detector: str = setting("dlib", settings.DETECTOR, choices=(*faces.DETECTORS, "auto"))
    part: str = setting("lab", "Part of the rendered faces.", choices=("lab", "posed", "wild", "all"))
    classes: str | None = setting(None, "Expressions whose faces are taken; all faces, labelled or not, when left out.")
    out: str | None = setting(None, "File for the weights; in --workdir when left out.", place="path")
    strict: bool = setting(True, "A record that does not decode is an error; --strict=false leaves it out.")

    data_protocol = None
    """Nobody is held out, so no protocol deals these people."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The expressions of --classes."""
        return records.classes_of(self.classes or "")

    @property
    def data_name(self) -> str:
        """The data set that is read, or the one that a prepared file was made from."""
        return catalogue.source(self.dataset, self.data_dir)

    @property
    def trained_on(self) -> str:
        """The data set of whose people nobody may be tested afterwards: a part's, where it shares nobody with lab."""
        apart = self.dataset in catalogue.RENDERED and self.part in ("posed", "wild")
        return f"{self.dataset}/{self.part}" if apart else self.data_name


def people(settings: Settings, listed: Sequence[records.Record]) -> tuple[str, ...]:
    """The subjects, in order.

    Raises:
      ValueError: there are fewer than two.
    """
    names = tuple(records.subject_order({r.subject for r in listed if r.subject is not None}))
    if len(names) < 2:
        raise ValueError(f"--dataset={settings.dataset} names {len(names)} people: --stage=identify needs two or more.")
    return names


def build(settings: Settings, classes: tuple[str, ...]) -> PlayersModel:
    """The compiled net of --stage."""
    size = {"padding": settings.padding, "width": settings.width, "seed": settings.seed}
    if settings.stage == "identify":
        model = gcnet.GCNet(classes=classes, variant="cnn", **size)
    else:
        model = gcnet.Autoencoder(**size)
    model.compile(**gcnet.optimizers(model, settings.rate))
    return model


@work.alone
def run(settings: Settings) -> Path:
    """Trains, writes the encoder's weights with their provenance; gives their file."""
    options = {"part": settings.part} if settings.dataset in catalogue.RENDERED else {}
    listed = data.load(settings, settings.labels if settings.classes else None, **options)
    folder = work.folder(settings, f"pretrain_gcnet_{settings.stage}")
    if settings.stage == "identify":
        classes, listed = people(settings, listed), data.labelled_by_person(listed)
    else:
        classes, listed = ("face",), [replace(r, expression="face") for r in listed]
    strategy = fitting.setup(settings, settings.seed)
    batches = pipeline.batches(
        listed,
        classes=classes,
        template=gcnet.TEMPLATE,
        views=gcnet.views,
        batch_size=settings.batch_size,
        seed=settings.seed,
        strict=settings.strict,
        device=FEEDS[settings.feed],
    )
    with strategy.scope():
        model = build(settings, classes)
    fitting.fit(settings, model, batches, folder / settings.stage, strategy, epochs=settings.epochs)
    shown = f" of {len(classes)} people" if settings.stage == "identify" else ""
    about = provenance.of_weights(
        settings,
        "pretrain_gcnet",
        data=f"{settings.data_name}, {len(listed)} faces{shown}",
        datasets=[settings.trained_on],
    )
    out = Path(settings.out or folder / f"{settings.stage}.h5")
    weights.save(model, out, provenance=about, only=PARTS[settings.stage])
    print(f"{out}: {settings.stage} on {about['data']}.")
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)
