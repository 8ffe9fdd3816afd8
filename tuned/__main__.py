"""``python -m tuned`` is the daemon."""

from tuned.cli import main

main()
