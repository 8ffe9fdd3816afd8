"""Begins a program of this folder in any Python: ``PYTHON bootstrap.py PROGRAM ARGUMENT...``.

That Python is shown our package by its place: nothing of ours is installed there, and none of our libraries
can be imported there. Without a program, it tells by its version that our programs can run there.

It must itself be understood by every Python, because one that is too old is told so here.
"""

import sys

if __name__ == "__main__":
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 9):  # noqa: UP036 (people have older ones)
        sys.exit("found Python " + version + ", expected CPython 3.9 or newer")
    if sys.implementation.name != "cpython":
        sys.exit("found " + sys.implementation.name + " " + version + ", expected CPython 3.9 or newer")

    import importlib.util
    from pathlib import Path

    here = Path(__file__).resolve().parent
    # As with -m: an objective is not to import what is beside us. With PYTHONSAFEPATH it cannot.
    if Path(sys.path[0]).resolve() == here:
        sys.path[0] = str(Path.cwd())
    package = here.parent
    spec = importlib.util.spec_from_file_location(
        "tuned", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    # Another Python has bytecode of its own, and our package is not the place for it.
    is_writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules["tuned"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["tuned"])
    from tuned.worker import objective, warm_objective

    sys.dont_write_bytecode = is_writing
    programs = {"objective": objective.main, "warm_objective": warm_objective.main}
    if sys.argv[1:]:
        programs[sys.argv[1]](sys.argv[2:])
    else:
        sys.stdout.write(version.rpartition(".")[0] + "\n")
