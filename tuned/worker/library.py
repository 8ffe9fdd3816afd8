"""Optuna as the Python of an objective has it, maybe another version than ours, maybe none.

It is imported for an objective that asks for one of its objects, and never otherwise.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def optuna(part: str) -> Any:
    """A module of Optuna's package. Raises ModuleNotFoundError if this Python has none."""
    try:
        return importlib.import_module(f"optuna.{part}")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        message = f"an object of Optuna was asked for, and {sys.executable} has no module optuna"
        raise ModuleNotFoundError(message, name="optuna") from None


def imported(module: str, name: str) -> Any:
    """Its class of this name; None if nobody has imported it, so that no object of it can be there."""
    return getattr(sys.modules.get(f"optuna.{module}"), name, None)
