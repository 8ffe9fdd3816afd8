"""``tuned-dashboard`` as a module, to be forked."""

from tuned.dashboard import main

main()
