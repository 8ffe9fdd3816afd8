"""A table of the experiment file whose keys are keywords of one of Optuna's classes.

It owns what the models of samplers and pruners share. It must never import Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from tuned.config.toml import Table


class Keywords(Table):
    """The keys of one of Optuna's classes, beside a few of ours."""

    #: The thing that the class is, in messages.
    kind: ClassVar[str]
    #: Keys of ours, which Optuna's class does not get as they are.
    ours: ClassVar[frozenset[str]] = frozenset({"name"})
    #: Keywords of Optuna's class that are not offered, with the reason that a person is told.
    withheld: ClassVar[Mapping[str, str]] = {}

    @property
    def options(self) -> dict[str, Any]:
        """The keywords that the file gives, by name."""
        given = self.option_names() & self.model_fields_set
        values = {name: getattr(self, name) for name in sorted(given)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def option_names(cls) -> frozenset[str]:
        return frozenset(cls.model_fields) - cls.ours

    @classmethod
    def said_of_unknown(cls, key: str) -> str:
        return cls.withheld.get(key, f"an unknown keyword of the {cls.kind} {_name_of(cls)}")

    @classmethod
    def expected_at(cls, key: str) -> str | None:
        if key not in cls.option_names():
            return None
        # Loaded only for files that have such a problem.
        from tuned.config.schema import TomlSchema, words  # noqa: PLC0415

        return words(cls.model_json_schema(schema_generator=TomlSchema)["properties"][key])


K = TypeVar("K", bound=Keywords)


def by_name(*models: type[K]) -> Mapping[str, type[K]]:
    """The models by the one name that each allows."""
    return {_name_of(model): model for model in models}


def _name_of(model: type[Keywords]) -> str:
    name: Any = model.model_fields["name"].annotation
    return str(name.__args__[0])
