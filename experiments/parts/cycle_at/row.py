"""What --rows of CycleAT means: a row of Tables 4 and 8, with a control of it after a colon.

S2T_att_gen:untranslated                  # the faces that this row selects, as the source has them
S2T_att_gen:untranslated:no_attention     # likewise, and nobody's attention is followed
S2T_attention@mean_square=500             # eq. (10) by another reading of its norm, with another beta
"""

from __future__ import annotations

from typing import NamedTuple

from fer_tf.models import cycle_at

ROWS = {
    "S2T": "S2T", "S2T_fine_tune": "S2T_fine-tune", "T_alone": "f_T, target alone", "T_fine_tune": "f_T, fine-tuned",
    "S2T_attention": "S2T_attention", "S2T_att_gen": "S2T_att.&gen.", "CycleAT": "CycleAT", "svm": "Multi-SVM",
    "alexnet": "AlexNet", "vgg16": "VGG-16",
}  # fmt: skip
"""Value of --rows -> its name in the table."""
GENERATED = {"S2T_att_gen": "alone", "CycleAT": "with f_W"}
"""Row that is given generated faces -> whose."""
TAUGHT = ("S2T_attention", *GENERATED)
"""Rows whose f_T follows a teacher's attention."""
UNTRANSLATED, NO_ATTENTION = "untranslated", "no_attention"
CONTROLS = {UNTRANSLATED: "untranslated", NO_ATTENTION: "no attention"}
"""What may follow a row's colon -> its name there."""


class Row(NamedTuple):
    """One classifier of the table.

    Attributes:
      text: as in --rows.
      kind: of `ROWS`.
      name: in the table.
      gan: whose faces select, of `GENERATED`; None where the target's are all.
      translated: whether those faces are given as the generator redraws them; as the source has them else.
      attention: whether eq. (10)'s last sum is there.
      at_reduction, beta: of that sum, where they are not the run's.
    """

    text: str
    kind: str
    name: str
    gan: str | None = None
    translated: bool = True
    attention: bool = False
    at_reduction: str | None = None
    beta: float | None = None

    @property
    def folder(self) -> str:
        """The name of its folder in that of its fold."""
        return self.text.translate(str.maketrans(":@=", "___"))

    @property
    def starts(self) -> bool:
        """Whether it is an f_T that --f_t_start is about."""
        return self.kind in ("T_fine_tune", *TAUGHT)

    @classmethod
    def read(cls, text: str) -> Row:
        """kind[:control][:control][@reduction[=beta]].

        Raises:
          ValueError: it is no row, or a control that this row cannot have.
        """
        rest, _, sum_ = text.partition("@")
        kind, *controls = rest.split(":")
        if kind not in ROWS:
            raise ValueError(f"{kind!r} is none of {', '.join(ROWS)}.")
        able = [UNTRANSLATED] * (kind in GENERATED) + [NO_ATTENTION] * (kind in GENERATED)
        if unknown := [c for c in controls if c not in able]:
            raise ValueError(
                f"{unknown[0]!r} is no control of {kind}: {' and '.join(CONTROLS)} are, of {' and '.join(GENERATED)}."
            )
        attention = kind in TAUGHT and NO_ATTENTION not in controls
        reduction, beta = _sum(text, sum_, attention) if "@" in text else (None, None)
        name = ", ".join([ROWS[kind], *(CONTROLS[c] for c in controls)]) + f", {sum_}" * bool(sum_)
        return cls(text, kind, name, GENERATED.get(kind), UNTRANSLATED not in controls, attention, reduction, beta)


def _sum(text: str, given: str, attention: bool) -> tuple[str, float | None]:
    """(at_reduction, beta) of what follows the @."""
    reduction, _, weight = given.partition("=")
    try:
        beta = float(weight) if "=" in given else None
    except ValueError:
        beta = -1.0
    if reduction not in cycle_at.BETAS or not attention or not 0.0 <= (beta or 0.0) < float("inf"):
        raise ValueError(
            f"{text!r}: after @ comes how attention is compared, {' or '.join(cycle_at.BETAS)}, and maybe its beta, as "
            f"in S2T_attention@norm=1; of a row that follows attention, {', '.join(TAUGHT)}."
        )
    return reduction, beta


def rows_of(texts: tuple[str, ...]) -> list[Row]:
    """Those of --rows.

    Raises:
      ValueError: none, an unknown one, or one twice.
    """
    if not texts:
        raise ValueError(f"--rows is empty: give one or more of {', '.join(ROWS)}.")
    try:
        rows = [Row.read(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"--rows={','.join(texts)}: {error}") from error
    if len({row.folder for row in rows}) < len(rows):
        raise ValueError(f"--rows={','.join(texts)} names a row twice.")
    return rows
