"""``python -m tuned`` is the daemon."""

from tuned.daemon.main import main

main()
