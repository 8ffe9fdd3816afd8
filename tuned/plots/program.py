"""The program that ``tunectl plot`` starts: reads a study on standard input, and writes its plots."""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING, cast

import optuna

from tuned.errors import TunedError
from tuned.plots import page, terminal
from tuned.plots.figures import drawn
from tuned.plots.study import study_of

if TYPE_CHECKING:
    from tuned.protocol.plots import PlotRequest


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Those of plots that are new in Optuna.
    warnings.simplefilter("ignore")
    request = cast("PlotRequest", json.load(sys.stdin))
    try:
        written = _written(request)
    except TunedError as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(written)


def _written(request: PlotRequest) -> bytes:
    study = study_of(request["name"], request["study"])
    kinds = request["kinds"]
    match request["form"]:
        case "terminal":
            screen = terminal.Screen(columns=request["columns"], is_ascii=request["is_ascii"])
            return terminal.text(study, kinds, screen).encode()
        case "png":
            return page.picture(request["name"], drawn(study, kinds))
        case "html":
            return page.page(request["name"], drawn(study, kinds)).encode()


if __name__ == "__main__":
    main()
