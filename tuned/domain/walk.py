"""The walk: all points of a finite space, each once, in an order that the whole fleet derives from one seed.

Owns the order only. It must never know which points are visited.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Walk:
    """A seeded permutation of 0 .. size - 1, computed place by place, so it is the same on every host.

    A Feistel network permutes the numbers of an even count of bits. If a number falls outside of the range,
    the network permutes it again until it falls inside (cycle walking, less than four times on average).
    """

    size: int
    seed: int

    ROUNDS = 6

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.size:
            raise IndexError(f"{place} is not a place of this walk")
        index = self._permute(place)
        while index >= self.size:
            index = self._permute(index)
        return index

    def __iter__(self) -> Iterator[int]:
        return (self[place] for place in range(self.size))

    def _permute(self, number: int) -> int:
        half = max(1, math.ceil((self.size - 1).bit_length() / 2))
        mask = (1 << half) - 1
        left, right = number >> half, number & mask
        for step in range(self.ROUNDS):
            left, right = right, left ^ (self._scramble(step, right, half) & mask)
        return left << half | right

    def _scramble(self, step: int, number: int, half: int) -> int:
        text = f"{self.seed}:{step}:{number}".encode()
        digest = hashlib.blake2b(text, digest_size=(half + 7) // 8).digest()
        return int.from_bytes(digest, "big")
