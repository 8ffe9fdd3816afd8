"""Charts as SVG, drawn by the server: a page needs no script to show them, and its style sheet colours them.

It knows numbers and their names, and no study. Every text in it may be hostile, and goes through markupsafe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from tuned.domain.counts import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Dot = tuple[float, float]

WIDTH, HEIGHT = 640, 260

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 12, 34

_TICKS = 5

#: A range over so many powers of ten is drawn by its logarithm.
_POWERS = 3.0

#: So many colours the style sheet has.
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Places numbers between two ends of the picture."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def __call__(self, number: float) -> float:
        low, high, number = (
            math.log10(each) if self.is_log else each for each in (self.low, self.high, number)
        )
        share = (number - low) / (high - low) if high > low else 0.5
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self) -> list[float]:
        if self.is_log:
            lowest, highest = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            powers = range(lowest, highest + 1, max(1, (highest - lowest) // _TICKS + 1))
            return [10.0**power for power in powers]
        step = nice_step(self.high - self.low)
        count = math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9)
        first = math.ceil(self.low / step - 1e-9) * step
        return [round(first + index * step, 12) for index in range(count + 1)]


def nice_step(span: float) -> float:
    if not span > 0:
        return 1.0
    rough = span / _TICKS
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)


def scale(numbers: Iterable[float], begin: float, end: float, *, may_be_log: bool = True) -> Scale:
    known = [each for each in numbers if math.isfinite(each)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if may_be_log and low > 0 and high / low > 10**_POWERS:
        return Scale(low, high, begin, end, is_log=True)
    if low == high:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    return Scale(low, high, begin, end)


def text_of(number: float) -> str:
    return f"{number:.4g}"


def sparkline(values: Sequence[float]) -> Markup:
    """A small curve without axes; empty for less than two values."""
    if len(values) < 2:
        return Markup()
    across, up = Scale(0, len(values) - 1, 1, 79), scale(values, 19, 1)
    path = _steps([(across(index), up(value)) for index, value in enumerate(values)])
    return Markup('<svg class="spark" viewBox="0 0 80 20" aria-hidden="true"><path d="{}"/></svg>').format(
        path
    )


def course(improvements: Sequence[Dot], last: int) -> Markup:
    """The best value so far, by the number of the trial."""
    if not improvements:
        return Markup()
    known = [*improvements, (max(last, improvements[-1][0]), improvements[-1][1])]
    frame = _Frame(
        scale((0, last or 1), _LEFT, WIDTH - _RIGHT, may_be_log=False), _upwards(y for _, y in known)
    )
    path = _steps([frame.place(dot) for dot in known])
    dots = Markup().join(
        _dot(frame.place(dot), f"trial {dot[0]:.0f}: {text_of(dot[1])}") for dot in improvements
    )
    title = f"Best value so far: {text_of(known[-1][1])} after {counted(last + 1, 'trial')}"
    return frame.svg(title, Markup('<path class="line c0" d="{}"/>').format(path) + dots, "trial", "value")


def curves(of_trials: Mapping[int, Sequence[Dot]]) -> Markup:
    """Intermediate values by step, one curve for each trial."""
    shown = {number: dots for number, dots in of_trials.items() if dots}
    if not shown:
        return Markup()
    every = [dot for dots in shown.values() for dot in dots if math.isfinite(dot[1])]
    across = scale((x for x, _ in every), _LEFT, WIDTH - _RIGHT, may_be_log=False)
    frame = _Frame(across, _upwards(y for _, y in every))
    body = Markup()
    for place, (number, dots) in enumerate(shown.items()):
        placed = [frame.place(dot) for dot in dots if math.isfinite(dot[1])]
        path = "M" + "L".join(f"{x} {y}" for x, y in placed)
        if placed:
            body += Markup('<g class="c{}"><path class="line" d="{}"/>{}</g>').format(
                place % COLOURS, path, _dot(placed[-1], f"trial {number}: {text_of(dots[-1][1])}")
            )
    return frame.svg(f"Intermediate values of {len(shown)} running trials", body, "step", "value")


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of a scatter chart, with the text that it tells."""

    x: float
    y: float
    text: str
    is_marked: bool = False


def scatter(spots: Sequence[Spot], title: str, names: tuple[str, str]) -> Markup:
    known = [each for each in spots if math.isfinite(each.x) and math.isfinite(each.y)]
    if not known:
        return Markup()
    frame = _Frame(
        scale((each.x for each in known), _LEFT, WIDTH - _RIGHT), _upwards(each.y for each in known)
    )
    body = Markup().join(
        _dot(frame.place((each.x, each.y)), each.text, is_marked=each.is_marked) for each in known
    )
    return frame.svg(title, body, *names)


def bars(shares: Mapping[str, float], title: str) -> Markup:
    """Shares from 0 to 1, the largest first."""
    if not shares:
        return Markup()
    height = 24 * len(shares) + 8
    body = Markup()
    for place, (name, share) in enumerate(shares.items()):
        y = 24 * place + 8
        body += Markup(
            '<text class="name" x="188" y="{}">{}</text>'
            '<rect class="bar c0" x="196" y="{}" width="{}" height="14"/>'
            '<text x="{}" y="{}">{}</text>'
        ).format(
            y + 11,
            _cut(name),
            y,
            max(1, round(380 * share)),
            202 + max(1, round(380 * share)),
            y + 11,
            f"{share:.0%}",
        )
    return _svg(title, body, height)


@dataclass(frozen=True, slots=True)
class Axis:
    """One of parallel axes: a number for each line, and what is written at it."""

    name: str
    places: Sequence[float | None]
    labels: Sequence[tuple[float, str]]
    is_log: bool = False


def parallel(axes: Sequence[Axis], ranks: Sequence[float], title: str) -> Markup:
    """A line for each trial through its values; ``ranks`` from 0, the best, to 1 colour them."""
    if len(axes) < 2 or not ranks:
        return Markup()
    across = Scale(0, len(axes) - 1, 40, WIDTH - 60)
    scales = [
        Scale(min(p for p, _ in axis.labels), max(p for p, _ in axis.labels), HEIGHT - 28, 30, axis.is_log)
        for axis in axes
    ]
    body = Markup()
    # The best are drawn last, above the others.
    for line in sorted(range(len(ranks)), key=lambda each: -ranks[each]):
        dots = [
            f"{across(place)} {scales[place](value)}"
            for place, axis in enumerate(axes)
            if (value := axis.places[line]) is not None
        ]
        body += Markup('<path class="thread r{}" d="M{}"/>').format(
            min(4, int(ranks[line] * 5)), "L".join(dots)
        )
    for place, axis in enumerate(axes):
        x = across(place)
        body += Markup(
            '<path class="axis" d="M{0} 30V{1}"/><text class="middle" x="{0}" y="{2}">{3}</text>'
        ).format(x, HEIGHT - 28, 16 if place % 2 == 0 else HEIGHT - 8, _cut(axis.name, 18))
        for number, label in axis.labels:
            body += Markup('<text x="{}" y="{}">{}</text>').format(
                x + 4, scales[place](number) + 4, _cut(label, 8)
            )
    return _svg(title, body, HEIGHT)


@dataclass(frozen=True, slots=True)
class _Frame:
    across: Scale
    up: Scale

    def place(self, dot: Dot) -> Dot:
        return self.across(dot[0]), self.up(dot[1])

    def svg(self, title: str, body: Markup, x_name: str, y_name: str) -> Markup:
        axes = Markup()
        for tick in self.up.ticks():
            axes += Markup(
                '<path class="grid" d="M{} {}H{}"/><text class="end" x="{}" y="{}">{}</text>'
            ).format(_LEFT, self.up(tick), WIDTH - _RIGHT, _LEFT - 6, self.up(tick) + 4, text_of(tick))
        for tick in self.across.ticks():
            axes += Markup('<text class="middle" x="{}" y="{}">{}</text>').format(
                self.across(tick), HEIGHT - _BOTTOM + 16, text_of(tick)
            )
        axes += Markup('<text class="end" x="{}" y="{}">{}</text>').format(
            WIDTH - _RIGHT, HEIGHT - 4, _cut(x_name)
        )
        axes += Markup('<text x="4" y="{}">{}</text>').format(HEIGHT - 4, _cut(y_name))
        return _svg(title, axes + body, HEIGHT)


def _upwards(numbers: Iterable[float]) -> Scale:
    return scale(numbers, HEIGHT - _BOTTOM, _TOP)


def _svg(title: str, body: Markup, height: int) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, body
    )


def _dot(place: Dot, text: str, *, is_marked: bool = True) -> Markup:
    kind, radius = ("dot", 3.5) if is_marked else ("dot faint", 2.5)
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        kind, *place, radius, text
    )


def _steps(dots: Sequence[Dot]) -> str:
    """A path that goes on level until the next dot."""
    (x, y), *rest = dots
    return f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in rest)


def _cut(text: str, most: int = 26) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
