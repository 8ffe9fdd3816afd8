"""The place of a person on one screen: which section has the keys, which row is chosen, what is in sight.

It owns how sections share the height of a screen. It never paints.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from tuned.tunectl.top.paper import Row, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line of the screen."""

    text: str
    is_chosen: bool = False
    is_dim: bool = False


@dataclass(slots=True)
class _Spot:
    """The place in one section."""

    index: int = 0
    key: Hashable = None
    #: The first line in sight.
    offset: int = 0
    #: How many lines are in sight.
    room: int = 1
    is_at_end: bool = True


@dataclass(slots=True)
class Place:
    focus: int = 0
    _sections: Sequence[Section] = ()
    _spots: dict[int, _Spot] = field(default_factory=dict)

    def take(self, sections: Sequence[Section]) -> None:
        """Rows may have come, gone and moved: the chosen one stays chosen as long as it is there."""
        self._sections = sections
        self.focus = min(self.focus, len(sections) - 1)
        for number, section in enumerate(sections):
            spot = self._spots.setdefault(number, _Spot())
            keys = [row.key for row in section.rows]
            if spot.key is not None and spot.key in keys:
                spot.index = keys.index(spot.key)
            self._choose(number, spot.index)

    @property
    def chosen(self) -> Row | None:
        section = self._sections[self.focus] if self._sections else None
        if section is None or section.is_text or not section.rows:
            return None
        return section.rows[self._spots[self.focus].index]

    def turn(self, step: int) -> None:
        """To the next section, or to the one before."""
        if self._sections:
            self.focus = (self.focus + step) % len(self._sections)

    def move(self, step: int) -> None:
        if not self._sections:
            return
        spot = self._spots[self.focus]
        if self._sections[self.focus].is_text:
            end = max(0, len(self._sections[self.focus].rows) - spot.room)
            spot.offset = min(end, max(0, spot.offset + step))
            spot.is_at_end = spot.offset == end
        else:
            self._choose(self.focus, spot.index + step)

    def page(self, step: int) -> None:
        if self._sections:
            self.move(step * max(1, self._spots[self.focus].room - 1))

    def lines(self, height: int) -> list[Shown]:
        """The sections as so many lines at most."""
        needs = [bool(each.head) + sum(len(row.lines) for row in each.rows) for each in self._sections]
        gaps = max(0, len(needs) - 1)
        shares = shared(needs, [each.least for each in self._sections], height - gaps)
        shown: list[Shown] = []
        for number, (section, share) in enumerate(zip(self._sections, shares, strict=True)):
            shown += [Shown(text="")] if number else []
            shown += self._section(number, section, share)
        return shown[:height]

    def _choose(self, number: int, index: int) -> None:
        rows, spot = self._sections[number].rows, self._spots[number]
        spot.index = min(max(0, index), max(0, len(rows) - 1))
        spot.key = rows[spot.index].key if rows else None

    def _section(self, number: int, section: Section, share: int) -> list[Shown]:
        if share <= 0:
            return []
        spot = self._spots[number]
        lines = [(line, index) for index, row in enumerate(section.rows) for line in row.lines]
        room = share - 1 if section.head else share
        is_cut = len(lines) > room
        # The last line says then how much more there is.
        spot.room = max(1, room - 1 if is_cut else room)
        self._bring_into_sight(section, spot, lines)
        has_keys = number == self.focus and not section.is_text
        seen = lines[spot.offset : spot.offset + spot.room]
        shown = [Shown(text=section.head)] if section.head else []
        chosen = next((place for place, (_, index) in enumerate(lines) if index == spot.index), None)
        for place, (line, _) in enumerate(seen, spot.offset):
            shown.append(Shown(text=line, is_chosen=has_keys and place == chosen))
        if is_cut and seen:
            first, last = seen[0][1] + 1, seen[-1][1] + 1
            shown.append(Shown(text=f"  {first} to {last} of {len(section.rows)}", is_dim=True))
        return shown[:share]

    def _bring_into_sight(self, section: Section, spot: _Spot, lines: Sequence[tuple[str, int]]) -> None:
        end = max(0, len(lines) - spot.room)
        if section.is_text:
            spot.offset = end if section.follows and spot.is_at_end else min(spot.offset, end)
            return
        places = [place for place, (_, index) in enumerate(lines) if index == spot.index]
        if places:
            spot.offset = max(spot.offset, places[-1] + 1 - spot.room)
            spot.offset = min(spot.offset, places[0])
        spot.offset = min(spot.offset, end)


def shared(needs: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Each gets its least first, then the first ones all that they need, then the others."""
    shares: list[int] = []
    for need, at_least in zip(needs, least, strict=True):
        shares.append(max(0, min(need, at_least, room - sum(shares))))
    for number, need in enumerate(needs):
        shares[number] += max(0, min(need - shares[number], room - sum(shares)))
    return shares
