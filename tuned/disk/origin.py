"""The first line of an experiment file that this host has from another one.

It names that host and has a digest of the rest: a file that a person edits is this host's own from then on.
It must never take a line of a person's for its own.
"""

from __future__ import annotations

import hashlib
import re

_MARK = re.compile(
    rb"# tuned has this file from host ([A-Za-z0-9._-]{1,100}); "
    rb"edited, it is this host's own \(([0-9a-f]{64})\)\n"
)

#: A file in ``active/`` may be so much longer than one that a person drops.
LONGEST_MARK = 300


def marked(content: bytes, origin: str) -> bytes:
    """The content under a line that names the host, unless it was dropped here and ``origin`` is empty."""
    if not origin:
        return content
    digest = hashlib.sha256(content).hexdigest()
    line = f"# tuned has this file from host {origin}; edited, it is this host's own ({digest})\n"
    return line.encode() + content


def unmarked(text: bytes) -> tuple[bytes, str]:
    """The content, and the host that it is from; that is empty for one that was dropped or edited here."""
    mark = _MARK.match(text)
    if mark is None:
        return text, ""
    content = text[mark.end() :]
    is_as_given = hashlib.sha256(content).hexdigest().encode() == mark[2]
    return (content, mark[1].decode()) if is_as_given else (text, "")
