"""GCNet's three generators alone, on people they never saw: giving a face back, and its neutral (Figs. 9 and 10).

    python -m experiments.gcnet_generators --preset=quick

For Conv.AE, Conv.VAE and DCGAN (Fig. 7): one is trained to give its input back, one to give the neutral face of the
same person, without classification. Held-out people: the pictures of Figs. 9 and 10, and what they show in numbers, the
distance to the wanted face and whether it is still the person.

One CPU core (Xeon with AMX), seed 0, `quick` (half the channels, fold 0), 19 minutes beside other work; L1, SSIM, and
dlib's distance to the input, which is 0.59 between two people:

    reconstructed: Conv.AE 0.078, 0.714, 0.40   Conv.VAE 0.139, 0.209, 0.59   DCGAN 0.127, 0.338, 0.54
    disentangled:  Conv.AE 0.121, 0.361, 0.53   Conv.VAE 0.140, 0.188, 0.58   DCGAN 0.128, 0.301, 0.55

As in the paper, both others lose the person and Conv.AE keeps who it is best (Fig. 10); it does not close every mouth.
Unlike the paper, Conv.VAE gives back worse than DCGAN: after twelve epochs its faces are still blurred. `paper` has not
been run.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_tf import faces, figures, metrics, pipeline, records
from fer_tf.models import gcnet

from .parts.gcnet import net
from .run import command_line, data, fitting, jobs, provenance, regeneration, report, settings, work
from .run.settings import setting

PRESETS = {
    "paper": {"folds": 10, "epochs": 100, "views": 1, "only_folds": "0"},
    "quick": {"only_folds": "0", "epochs": 12, "views": 1, "width": 0.5},
    "smoke": {
        "folds": 2, "epochs": 1, "batch_size": 4, "max_steps": 2, "width": 0.0625, "max_subjects": 4, "views": 1,
        "only_folds": "0",
    },
}  # fmt: skip
RATES = {"conv_ae": 1.0, "conv_vae": 5.0, "dcgan": 10.0}
"""Base learning rates at which means over the pixels teach each of them; the printed 0.001 leaves a decoder grey."""

TASKS = {"image": ("reconstructed", "fig9"), "reference": ("disentangled", "fig10")}
"""Target of a generator -> (what is made, the picture's file)."""


@settings.command(PRESETS)
class Settings(net.Net, settings.Views, settings.Folds):
    """The generators', and what every run has."""

    batch_size: int = 64
    classes: str = "eight"
    fold_order: str = "strided"
    generators: tuple[str, ...] = setting(tuple(gcnet.FIG_7), "Which generators; unet, too.")
    rate: float | None = setting(None, "Base learning rate; when left out, each generator's own (`RATES`).", low=0)


class HeldOut(NamedTuple):
    """Held-out people who have a neutral face.

    Attributes:
      images: (N, 64, 64, 1) float32 in [0, 1], test views.
      neutral: of the same people, alike.
      people: (N,) str.
      shown: (N,) str, their expressions.
    """

    images: np.ndarray
    neutral: np.ndarray
    people: np.ndarray
    shown: np.ndarray


def build(settings: Settings, generator: str, target: str) -> gcnet.Autoencoder:
    """A compiled generator."""
    model = gcnet.Autoencoder(
        generator=generator, target=target, width=settings.width, padding=settings.padding, seed=settings.seed
    )
    model.compile(**gcnet.optimizers(model, RATES[generator] if settings.rate is None else settings.rate))
    return model


def train(
    settings: Settings,
    generator: str,
    target: str,
    learn: Sequence[records.Record],
    classes: tuple[str, ...],
    place: Path,
) -> gcnet.Autoencoder:
    """A generator trained on these people for one target."""
    strategy = fitting.setup(settings, settings.seed)
    pairs, _ = records.neutral_pairs(learn, classes)
    pairs = pairs if target == "reference" else {"image": pairs["image"]}
    batches = data.batches(settings, learn, classes, gcnet, settings.seed, True, pairs=pairs)
    make = functools.partial(build, settings, generator, target)
    return fitting.fit_and_test(settings, make, batches, None, place, strategy).model


def held_out_faces(listed: Sequence[records.Record], classes: tuple[str, ...]) -> HeldOut:
    """Their test views.

    Raises:
      ValueError: nobody has a neutral face.
    """
    pairs, _ = records.neutral_pairs(listed, classes)
    kept = [(i, j) for i, j in zip(pairs["image"], pairs["reference"], strict=True) if j >= 0]
    if not kept:
        raise ValueError("Nobody of the held-out people has a neutral face to compare with: give another --only_folds.")
    cut = (np.stack([pipeline.face(listed[i], gcnet.TEMPLATE) for i in column]) for column in zip(*kept, strict=True))
    images, neutral = (np.asarray(gcnet.views.test_view(x), np.float32) / 255 for x in cut)
    people, shown = (np.array([getattr(listed[i], name) for i, _ in kept]) for name in ("subject", "expression"))
    return HeldOut(images, neutral, people, shown)


def drawn(held_out: HeldOut) -> list[int]:
    """One expressive face of each of the first six people, another expression each: rows of `held_out`."""
    expressive = held_out.shown != "neutral"
    own = [np.flatnonzero((held_out.people == p) & expressive) for p in records.subject_order(held_out.people)[:6]]
    return [int(rows[(5 * n + 2) % len(rows)]) for n, rows in enumerate(own) if len(rows)]


def measure(made: np.ndarray, wanted: np.ndarray, images: np.ndarray, same: np.ndarray, where: Any) -> dict[str, float]:
    """L1 and SSIM of made faces to wanted ones, and dlib's distance to the input beside that to other people.

    Args:
      made, wanted, images: (N, 64, 64, 1) float32 in [0, 1].
      same: (N, N) bool, which inputs show one person.
      where: the face's box, for the embedding; None without the extra `landmarks`.
    """
    measures = {"l1": float(np.abs(made - wanted).mean()), "ssim": regeneration.ssim(made, wanted)}
    if where is not None:
        real, own = (
            np.array([faces.embedding(np.round(255 * f).astype(np.uint8), box=where) for f in part])
            for part in (images, made)
        )
        between = np.linalg.norm(real[:, None] - real[None], axis=-1)[~same]
        kept = metrics.identity_preservation(np.linalg.norm(own - real, axis=-1), between)
        measures |= {"identity": kept["same"], "two_people": kept["between"]}
    return measures


def compare(
    settings: Settings, learn: Sequence[records.Record], held_out: HeldOut, target: str, folder: Path
) -> tuple[dict[str, gcnet.Autoencoder], dict[str, dict[str, float]]]:
    """Trains every generator for one target, draws its picture.

    Returns:
      ({generator: model}, {generator: measures of 200 held-out faces}).
    """
    word, file = TASKS[target]
    wanted = held_out.images if target == "image" else held_out.neutral
    few, strong = np.random.default_rng(0).permutation(len(wanted))[:200], drawn(held_out)
    same = held_out.people[few][:, None] == held_out.people[few][None]
    where = regeneration.crop_box(faces.TEMPLATES[gcnet.TEMPLATE], 64) if faces.has_landmarks() else None
    models, table, rows, titles = {}, {}, [], []
    for name in settings.generators:
        if not jobs.wanted(folder / f"{name}_{target}"):
            continue
        model = train(settings, name, target, learn, settings.labels, folder / f"{name}_{target}")
        parts = [model(held_out.images[i : i + 256]) for i in range(0, len(wanted), 256)]
        made = np.concatenate(parts).clip(0, 1)
        measures = measure(made[few], wanted[few], held_out.images[few], same, where)
        models[name], table[name] = model, {"parameters": model.count_params(), **measures}
        neutral_made = model(held_out.neutral[strong]).numpy().clip(0, 1)
        rows += [held_out.images[strong], made[strong], held_out.neutral[strong], neutral_made]
        titles += [f"{name}: expression", word, "neutral", word]
    figures.save(figures.grid(rows, row_titles=titles), folder / f"{file}.png")
    return models, table


@work.alone
def run(settings: Settings) -> report.Results:
    """Records -> one fold -> each generator for both targets -> two pictures, one table."""
    start, classes = time.time(), settings.labels
    if unknown := [g for g in settings.generators if g not in gcnet.GENERATORS]:
        raise ValueError(f"--generators: {unknown[0]} is none of {', '.join(gcnet.GENERATORS)}.")
    if "neutral" not in classes:
        raise ValueError(f"--classes={settings.classes} lacks neutral, which the generators are to make: add it.")
    net.refuse_all_views(settings.views)
    listed = data.first_subjects(data.load(settings, classes), settings.max_subjects)
    data.refuse_undealt(settings, listed, classes)
    folder = work.folder(settings, "gcnet_generators")
    folds = data.make_folds(settings, listed, classes, folder)
    jobs.once(settings, folder, [jobs.Stage(f"{g}_{t}", "generators", settings.epochs) for t in TASKS
                                 for g in settings.generators])  # fmt: skip
    fold = folds[data.chosen_folds(settings, len(folds))[0]]
    learn, held_out = [listed[i] for i in fold.train], held_out_faces([listed[i] for i in fold.test], classes)
    models, table = {}, {}
    for target, (word, _) in TASKS.items():
        own, measures = compare(settings, learn, held_out, target, folder)
        models |= {f"{name}, {word}": model for name, model in own.items()}
        table |= {f"{name}, {word}": row for name, row in measures.items()}
    facts = provenance.facts(settings, classes, time.time() - start)
    metrics.write_metrics(folder / "metrics.json", {**facts, "generation": table})
    print(text(table) + f"\nFig. 9 and Fig. 10 are in {folder}.")
    return report.Results(folder, models=models, measures=[table])


def text(table: Mapping[str, Mapping[str, float]]) -> str:
    """The measures, one line a generator and task."""
    head = f"{'generator':28}{'parameters':>12}{'L1':>8}{'SSIM':>8}{'identity':>10}{'two people':>12}"
    lines = [head, "-" * len(head)]
    for name, row in table.items():
        distances = [f"{row[n]:.3f}" if n in row else "-" for n in ("identity", "two_people")]
        lines.append(
            f"{name:28}{row['parameters']:>12,}{row['l1']:>8.3f}{row['ssim']:>8.3f}{distances[0]:>10}{distances[1]:>12}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.main(Settings, run)
