"""The points of a space whose parameters depend on each other: counted, numbered and drawn, none twice.

Parameters are decided one after the other, parents first. All that the rest needs to know of the ones before
is a *state*: which conditions and forbidden combinations may still hold. So the points that can follow are
counted once for each parameter and state, and the values of a parameter that no condition tells apart are one
*branch*, however many they are. From the counts follow the size, the point of an index and the index of a
point. Nothing here may know Optuna or the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tuned.domain.branches import Axis, Branch, Count, Span, branches, chosen, drawn, spans, weight
from tuned.domain.conditions import Allowed, Condition, Value
from tuned.domain.precedence import ordered

if TYPE_CHECKING:
    import random

#: A structure that takes more steps to count is refused. So many take some tenths of a second.
MOST_STEPS = 200_000

#: Larger counts would only take memory: a space of so many points is treated like a continuous one.
MOST_COUNTED = 2**1024

#: Parameters times conditions: each parameter knows of each condition what it does to it.
MOST_PAIRS = 10_000_000


class TooIntricate(ValueError):
    """The points cannot be counted in a reasonable time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One parameter, as it is decided after others. Clauses are bits of a state, set while they may hold."""

    axis: Axis
    branches: tuple[Branch, ...]
    #: The clauses that must hold for the parameter to exist.
    needs: int
    #: The clauses that cannot hold if it does not exist.
    touches: int
    #: The forbidden combinations that are complete with it.
    completes: int
    #: The clauses that later parameters ask for.
    kept: int
    must_exist: bool

    def moves(self, state: int) -> Iterator[tuple[Branch | None, int]]:
        """The branches that may be taken, none if the parameter does not exist, and the states after them."""
        if self.needs & ~state:
            if not self.must_exist:
                yield None, state & ~self.touches & self.kept
            return
        for branch in self.branches:
            after = state & ~branch.kills
            if not after & self.completes:
                yield branch, after & self.kept


@dataclass(frozen=True)
class Forest:
    """The points of some parameters, of which each exists if its condition holds."""

    axes: Sequence[Axis]
    #: By parameter. One that has none always exists. They must have no cycle.
    conditions: Mapping[str, Condition]
    forbidden: Sequence[Condition]
    #: Only points count in which these parameters exist and have places in these spans.
    only: Mapping[str, Sequence[Span]] = field(default_factory=dict)

    @cached_property
    def order(self) -> tuple[Axis, ...]:
        """Parents before children. Raises ValueError if there is a cycle."""
        by_name = {axis.name: axis for axis in self.axes}
        return tuple(by_name[name] for name in ordered(list(by_name), self.conditions, self.forbidden))

    @property
    def size(self) -> Count:
        """The number of points. Raises TooIntricate."""
        return self._counts[0].get(self._start, 0)

    def at(self, index: int) -> dict[str, Value]:
        """The values of the point with this index, 0 to size - 1. The last parameter runs fastest.

        Raises ValueError if there are infinitely many points.
        """
        self._must_be_finite()
        values: dict[str, Value] = {}
        state = self._start
        for stage, rest in zip(self._stages, self._counts[1:], strict=True):
            for branch, after in stage.moves(state):
                block = _times(1 if branch is None else branch.size(stage.axis), rest.get(after, 0))
                assert block is not None
                if index < block:
                    break
                index -= block
            else:
                raise IndexError("no point has this index")
            if branch is not None:
                number, index = divmod(index, rest[after] or 1)
                values[stage.axis.name] = stage.axis.at(branch.place(number))
            state = after
        return values

    def index(self, values: Mapping[str, Value]) -> int:
        """The index of the point with these values. Raises ValueError if it is no point, or has no index."""
        self._must_be_finite()
        index, state = 0, self._start
        for stage, rest in zip(self._stages, self._counts[1:], strict=True):
            value = values.get(stage.axis.name)
            for branch, after in stage.moves(state):
                number = 0
                if branch is not None:
                    found = None if value is None else branch.number(stage.axis.place(value))
                    number = -1 if found is None else found
                follows = rest.get(after, 0)
                block = _times(1 if branch is None else branch.size(stage.axis), follows)
                assert block is not None
                assert follows is not None
                if number >= 0:
                    index += number * follows
                    break
                index += block
            else:
                raise ValueError("no point has these values")
            state = after
        return index

    def draw(self, generator: random.Random) -> dict[str, Value]:
        """The values of a random point: each parameter by its own range, without those that lead nowhere.

        Raises ValueError if there is no point.
        """
        values: dict[str, Value] = {}
        state = self._start
        for stage, rest in zip(self._stages, self._counts[1:], strict=True):
            moves = [move for move in stage.moves(state) if rest.get(move[1], 0) != 0]
            if not moves:
                raise ValueError("no point is left")
            spans = [
                (span, branch, after)
                for branch, after in moves
                if branch is not None
                for span in branch.spans
            ]
            if spans:
                weights = [weight(stage.axis, span) for span, _, _ in spans]
                index = chosen(generator, weights)
                span, _, state = spans[index]
                values[stage.axis.name] = drawn(generator, stage.axis, span)
            else:
                state = moves[0][1]
        return values

    def existence(self, name: str) -> set[bool]:
        """Whether the parameter exists: in some point, in none, or in both kinds (True and False)."""
        number = next(number for number, axis in enumerate(self.order) if axis.name == name)
        needs = self._stages[number].needs
        return {not needs & ~state for state, count in self._counts[number].items() if count != 0}

    def branch_sizes(self, name: str) -> Iterator[tuple[tuple[Span, ...], Count]]:
        """The values of a parameter, grouped by the conditions of others, and how many points have them."""
        axis = next(axis for axis in self.axes if axis.name == name)
        wanted = [condition[name] for condition in self.conditions.values() if name in condition]
        terms = [(1 << bit, spans(axis, allowed)) for bit, allowed in enumerate(wanted)]
        for branch in branches(axis, terms):
            yield branch.spans, replace(self, only={name: branch.spans}).size

    def _must_be_finite(self) -> None:
        if self.size is None:
            name = next((axis.name for axis in self.axes if axis.size is None), "")
            raise ValueError(
                f"{name} is continuous: its points have no numbers" if name else "too many points"
            )

    @cached_property
    def _clauses(self) -> list[Condition]:
        """The conditions, then the forbidden combinations."""
        return [*self.conditions.values(), *self.forbidden]

    @property
    def _start(self) -> int:
        """Everything may hold yet."""
        return (1 << len(self._clauses)) - 1

    @cached_property
    def _stages(self) -> list[_Stage]:
        if len(self.axes) * len(self._clauses) > MOST_PAIRS:
            raise TooIntricate(f"over {MOST_PAIRS} pairs of a parameter and a condition")
        needs = {name: 1 << bit for bit, name in enumerate(self.conditions)}
        terms: dict[str, list[tuple[int, Allowed]]] = defaultdict(list)
        for bit, clause in enumerate(self._clauses):
            for name, allowed in clause.items():
                terms[name].append((1 << bit, allowed))
        place = {axis.name: number for number, axis in enumerate(self.order)}
        completes: dict[int, int] = defaultdict(int)
        for bit, clause in enumerate(self.forbidden, len(self.conditions)):
            completes[max(place[name] for name in clause)] |= 1 << bit
        kept = self._start
        stages = []
        for number, axis in enumerate(self.order):
            kept &= ~(completes[number] | needs.get(axis.name, 0))
            stages.append(
                _Stage(
                    axis=axis,
                    branches=self._branches_of(axis, terms[axis.name]),
                    needs=needs.get(axis.name, 0),
                    touches=sum(bit for bit, _ in terms[axis.name]),
                    completes=completes[number],
                    kept=kept,
                    must_exist=axis.name in self.only,
                )
            )
        return stages

    def _branches_of(self, axis: Axis, terms: Sequence[tuple[int, Allowed]]) -> tuple[Branch, ...]:
        placed = [(bit, spans(axis, allowed)) for bit, allowed in terms]
        if axis.name not in self.only:
            return tuple(branches(axis, placed))
        # Values that do not count lack a bit of their own.
        inside = 1 << len(self._clauses)
        found = branches(axis, [*placed, (inside, self.only[axis.name])])
        return tuple(branch for branch in found if not branch.kills & inside)

    @cached_property
    def _counts(self) -> list[dict[int, Count]]:
        """By parameter, in order, and state: how many points can follow; one more for the end."""
        states: set[int] = {self._start}
        layers = []
        steps = 0
        for stage in self._stages:
            moves = {state: list(stage.moves(state)) for state in states}
            layers.append(moves)
            steps += sum(map(len, moves.values()))
            if steps > MOST_STEPS:
                raise TooIntricate(f"over {MOST_STEPS} steps to count its points")
            states = {after for each in moves.values() for _, after in each}
        counts: list[dict[int, Count]] = [dict.fromkeys(states, 1)]
        for stage, moves in zip(reversed(self._stages), reversed(layers), strict=True):
            rest = counts[-1]
            sizes = {id(branch): branch.size(stage.axis) for branch in stage.branches}
            counts.append(
                {
                    state: _plus(_times(sizes.get(id(branch), 1), rest[after]) for branch, after in each)
                    for state, each in moves.items()
                }
            )
        return counts[::-1]


def _times(one: Count, other: Count) -> Count:
    if one == 0 or other == 0:
        return 0
    return None if one is None or other is None else one * other


def _plus(counts: Iterable[Count]) -> Count:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total if total <= MOST_COUNTED else None
