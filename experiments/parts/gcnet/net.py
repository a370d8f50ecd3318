"""What GCNet's three commands share: how wide the nets are, how they pad, how fast they learn; who has a neutral."""

from __future__ import annotations

from dataclasses import dataclass

from ...run.settings import Base, setting


@dataclass(frozen=True, kw_only=True)
class Net(Base):
    """Arguments of `gcnet.GCNet` and `gcnet.Autoencoder`, and of their optimizers."""

    padding: str = setting("same", "Of the convolutions.", choices=("same", "valid"))
    rate: float = setting(0.001, "Base learning rate.")
    width: float = setting(1.0, "Times the printed channels and units.", low=0.01)


def refuse_all_views(views: int) -> None:
    """Raises ValueError where --views asks for all views: GCNet's are drawn at random, without end."""
    if not views:
        raise ValueError("GCNet's views are drawn at random: give --views=1 or more.")
