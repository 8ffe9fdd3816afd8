"""``tuned-dashboard`` as a module, to be forked."""

from tuned.web.main import main

if __name__ == "__main__":
    main()
