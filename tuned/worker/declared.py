"""A parameter as the experiment file declares it, and as Optuna's distribution for an objective that asks.

It owns no rule of a space: the daemon has checked the file, and has drawn the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tuned.worker.library import optuna


@dataclass(frozen=True)
class Declared:
    """One parameter."""

    #: Its table in the file with all keys but ``when``; a step that is not set is left out.
    table: Mapping[str, Any]
    #: When it exists, for people; empty for always.
    condition: str = ""

    def distribution(self) -> Any:
        """As the database has it. Raises ModuleNotFoundError without Optuna."""
        distributions, table = optuna("distributions"), self.table
        if table["type"] == "categorical":
            return distributions.CategoricalDistribution(table["choices"])
        bounds = {**table, "high": self._reached()}
        kind = bounds.pop("type")
        named = distributions.IntDistribution if kind == "int" else distributions.FloatDistribution
        return named(**bounds)

    def _reached(self) -> int | float:
        """The highest value; Optuna warns unless a step reaches the upper bound."""
        low, high, step = self.table["low"], self.table["high"], self.table.get("step")
        if step is None:
            return float(high)
        if self.table["type"] == "int":
            return int(low + (high - low) // step * step)
        first, last, width = (Decimal(repr(each)) for each in (low, high, step))
        return float(first + (last - first) // width * width)
