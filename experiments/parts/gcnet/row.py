"""What --rows of GCNet's command names: a network of Fig. 2, an option, a control; and the trainings that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fer_tf import beside
from fer_tf.models import gcnet

from ...run import jobs, students
from . import albums, controls, reference, teaching

NAMES = {"cnn": "CNN", "metric_cnn": "Metric-learning CNN"}
"""Variant -> its name in the table; the others are GCNet with the variant."""
DELTAS = {"absolute": "", "signed": " signed", "plain": " e - e_r", "both": " e beside e - e_r"}
"""Of `gcnet.DELTAS` -> what follows the variant there."""
ALBUMS = (albums.MEAN_FACE, albums.CENTRED)
"""What an album may follow."""


class Row(NamedTuple):
    """One network of the table.

    Attributes:
      variant, lambda_s: of `gcnet.GCNet`.
      generator: of `gcnet.GCNet`, or of `controls.CONTROLS`.
      name: in the table.
      pretrained: whether --encoder1 and --encoder2 count: not where it names a generator (section IV-E).
      delta: of `gcnet.GCNet`.
      album: of `albums.MEAN_FACE` and `albums.CENTRED`.
      teacher: of `teaching.TEACHERS`, where the row is a student.
      way: of `students.WAYS`, what is taken from the teacher's answers.
    """

    variant: str
    generator: str
    lambda_s: float
    name: str
    pretrained: bool = True
    delta: str = "absolute"
    album: beside.Album = beside.WHOLE
    teacher: str = ""
    way: str = ""

    @property
    def control(self) -> bool:
        """Whether real neutral faces stand for generated ones."""
        return self.generator in controls.CONTROLS

    @property
    def generates(self) -> bool:
        """Whether it has a generator."""
        return gcnet.VARIANTS[self.variant].compares and not self.control

    @property
    def has_encoder1(self) -> bool:
        """Whether that has an encoder: all of Fig. 7 have."""
        return self.generator in gcnet.FIG_7

    @property
    def again(self) -> bool:
        """Whether it is the CNN's network, tested once more."""
        return self.variant == "cnn" and self.generator in (albums.CENTRED, *controls.LESS)

    @classmethod
    def read(cls, text: str, lambda_s: float) -> Row:
        """variant[+delta][:generator or control[-album]][@weight], or cnn:taught-teacher[-dispelled or -strangers].

        Args:
          text: of --rows.
          lambda_s: the weight of eq. (6) where it has none.
        Raises:
          ValueError: it is none.
        """
        rest, _, weight = text.partition("@")
        kind, _, stands = rest.partition(":")
        variant, _, delta = kind.partition("+")
        generator, _, pictures = stands.partition("-")
        teacher, dash, way = pictures.partition("-")
        taught = generator == teaching.TAUGHT and teacher in teaching.TEACHERS and dash + way in students.WAYS
        if kind == "cnn" and taught and not weight:
            name = f"{NAMES['cnn']}, {teaching.WORDS[teacher]}{students.WAYS[dash + way]}"
            return cls("cnn", "conv_ae", lambda_s, name, teacher=teacher, way=dash + way)
        try:
            number, album = float(weight) if weight else lambda_s, beside.Album.read(pictures)
        except ValueError:
            number, album = -1.0, beside.WHOLE
        if number < 0 or not fits(variant, delta, generator) or (pictures and generator not in ALBUMS):
            raise ValueError(
                f"--rows: {text!r} is no network: give {', '.join(gcnet.VARIANTS)}, with one of "
                f"{', '.join(gcnet.GENERATORS)} after a colon and a weight of eq. (6) after @: S1R1:conv_vae@0.1. "
                f"Controls have {' or '.join(controls.CONTROLS)} after the colon of S0R0, S1R0, S0R1 or S1R1, which "
                f"may have {' or '.join([*DELTAS][1:])} after a plus: S0R0+plain:neutral; or are "
                f"{', '.join(f'cnn:{name}' for name in (albums.CENTRED, *controls.LESS))}. An album follows "
                f"{' or '.join(ALBUMS)} after a minus, as -4 or -2kinds. A student is "
                f"{' or '.join(f'cnn:{teaching.TAUGHT}-{name}' for name in teaching.TEACHERS)}, and may end in "
                f"{' or '.join([*students.WAYS][1:])}."
            )
        words = controls.LESS if variant == "cnn" else controls.CONTROLS
        words = {**words, albums.CENTRED: "centred by person"}
        parts = [NAMES.get(variant, f"GCNet {variant}") + DELTAS[delta or "absolute"]]
        parts += [words.get(generator, generator), str(album), f"lambda_s {weight}" if weight else ""]
        name, pretrained = ", ".join(filter(None, parts)), generator not in gcnet.FIG_7
        return cls(variant, generator or "conv_ae", number, name, pretrained, delta or "absolute", album)


def fits(variant: str, delta: str, generator: str) -> bool:
    """Whether there is such a network; delta and generator are empty where a row names none."""
    if variant not in gcnet.VARIANTS or (delta or "absolute") not in DELTAS:
        return False
    if generator == albums.CENTRED or (variant == "cnn" and generator in controls.LESS):
        return variant == "cnn" and not delta
    if delta or generator in controls.CONTROLS:
        return gcnet.VARIANTS[variant].compares and generator in ("", *gcnet.GENERATORS, *controls.CONTROLS)
    return generator in ("", *gcnet.GENERATORS)


def stage_name(text: str) -> str:
    """The folder of a network of --rows in that of its fold."""
    return text.replace(":", "_").replace("+", "_")


def stages_of(settings: Any, rows: Sequence[Row]) -> list[jobs.Stage]:
    """The trainings of a fold: each network's, behind its teacher's, or its generator's with --generator_epochs."""
    stages = []
    for text, row in zip(settings.rows, rows, strict=True):
        if row.again:
            continue
        place, first = Path(stage_name(text)), ()
        if settings.generator_epochs and row.generates:
            first = (reference.place_of(place).name,)
            stages.append(jobs.Stage(*first, "generators", settings.generator_epochs))
        if row.teacher:
            first = (stage_name(teaching.TEACHERS[row.teacher]),)
        stages.append(jobs.Stage(place.name, "networks", students.epochs_of(settings, bool(row.teacher)), first))
    return stages
