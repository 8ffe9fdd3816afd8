"""Counts as a person reads them: one of a thing is singular. It must never decide what is counted."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """The count and its thing, which is given in the singular: ``1 trial``, ``2 trials``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
