"""Names of experiments and hosts: files, the configuration and the socket share one pattern.

It must never know which names are taken.
"""

from __future__ import annotations

import re

#: Safe as a file name and in a URL.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

NAME_EXPECTED = "1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit"
