"""Python objectives: ordinary Optuna objectives, each run in a process of its own."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.integration.trial.starting import run
from tuned.domain.ending import Cause, Ending, Failure, Pruning
from tuned.experiment.experiment import parse
from tuned.trial import programs
from tuned.trial.curve import Curve, Report
from tuned.trial.keeping import Verdict
from tuned.trial.launch import Launch

pytestmark = pytest.mark.usefixtures("_subreaper")

SPACE = """
[space.x]
type = "int"
low = 0
high = 9
[space.kind]
type = "categorical"
choices = ["a", true]
"""


class Objective:
    """A module with an objective, evaluated as a trial would be."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.log = directory, directory / "output.log"

    async def run(
        self,
        body: str,
        *,
        name: str = "train:objective",
        directions: int = 1,
        curve: Curve | None = None,
        verdict: Verdict | None = None,
    ) -> Ending:
        source = f"import optuna\n{textwrap.dedent(body)}"
        (self.directory / "train.py").write_text(source)
        keys = f"directions = {['minimize'] * directions}\n"
        objective = f'[objective]\npython = "{name}"\npath = "{self.directory}"\n'
        experiment = parse(f"{keys}{objective}{SPACE}".encode(), "exp.toml")
        point = experiment.space.point({"x": 3, "kind": True})
        (self.directory / "work").mkdir(exist_ok=True)
        environment = programs.environment(
            experiment, point, trial=7, host="h", slot=0, attempt=1, point_directory=self.directory
        )
        return await run(
            Launch(
                argv=programs.command(experiment, point),
                environment={**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
                workdir=self.directory / "work",
                log=self.log,
                timeout_seconds=60,
                objectives=directions,
                pattern=None,
                is_objective=True,
                mark="test/worker",
                cgroups=None,
            ),
            curve,
            verdict=verdict,
        )

    async def failure(self, body: str, **options: str) -> Failure:
        ending = await self.run(body, **options)  # type: ignore[arg-type]
        assert ending.failure is not None, ending
        return ending.failure


@pytest.fixture
def objective(tmp_path: Path) -> Objective:
    return Objective(tmp_path)


async def test_its_parameters_are_those_of_the_point_and_its_return_is_the_value(
    objective: Objective,
) -> None:
    ending = await objective.run("""
        def objective(trial):
            assert trial.suggest_categorical("kind", ["a", True]) is True
            return trial.suggest_int("x", 0, 9) + trial.number + 0.5
    """)
    assert ending.values == (10.5,), objective.log.read_text()


async def test_its_reports_are_intermediate_values(objective: Objective) -> None:
    ending = await objective.run("""
        def objective(trial):
            for step in range(3):
                trial.report(step / 2, step)
                assert not trial.should_prune()
            return 9
    """)
    assert ending == Ending(values=(9.0,), intermediate={0: 0.0, 1: 0.5, 2: 1.0})


async def test_several_objectives_return_several_values(objective: Objective) -> None:
    ending = await objective.run("def objective(trial): return 1, 2.5", directions=2)
    assert ending.values == (1.0, 2.5)


async def test_nothing_that_is_printed_is_its_value(objective: Objective) -> None:
    ending = await objective.run("""
        import atexit, ctypes, threading

        def objective(trial):
            print('{"value": 77}')
            print("no end of line", end="")
            trial.report(0.5, 1)
            print("77")
            atexit.register(print, 78)
            threading.Timer(0.1, print, ['{"step": 3, "value": 79}']).start()
            ctypes.CDLL(None).puts(b"80")
            return 1
    """)
    assert ending == Ending(values=(1.0,), intermediate={1: 0.5})
    assert set(objective.log.read_text().split("\n")) >= {'{"value": 77}', "78", "80"}


@pytest.mark.parametrize(
    "takes",
    [
        "sys.stdout = sys.stderr = open('train.log', 'w')",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = None",
        "os.close(1); os.close(2)",
    ],
)
async def test_an_objective_that_takes_its_outputs_loses_nothing(objective: Objective, takes: str) -> None:
    body = f"import os, sys\ndef objective(trial):\n    {takes}\n    trial.report(2, 1)\n"
    ending = await objective.run(f"{body}    return 1")
    assert ending == Ending(values=(1.0,), intermediate={1: 2.0})
    failure = await objective.failure(f"{body}    raise ValueError('no such data')")
    assert (failure.cause, failure.message) == (Cause.EXIT, "exit status 1: ValueError: no such data")
    if "os.close" not in takes:
        assert "in objective" in objective.log.read_text()


async def test_an_exception_is_told_with_its_last_line(objective: Objective) -> None:
    failure = await objective.failure("def objective(trial): raise ValueError('no such data')")
    assert (failure.cause, failure.message) == (Cause.EXIT, "exit status 1: ValueError: no such data")
    assert "in objective" in objective.log.read_text()


async def test_an_objective_may_end_that_has_not_asked_yet_when_it_is_to_end(objective: Objective) -> None:
    verdict = Verdict()

    def judge(_: Report) -> None:
        verdict.give(Pruning(rule="threshold", step=1, value=4.0, bound=3.0))
        (objective.directory / "judged").touch()

    ending = await objective.run(
        """
        import pathlib, time

        def objective(trial):
            here = pathlib.Path(__file__)
            trial.report(4, 1)
            while not here.with_name("judged").exists():
                time.sleep(0.01)
            # Long enough to be killed, if anybody does that.
            time.sleep(0.2)
            here.with_name("ended").touch()
            raise optuna.TrialPruned
        """,
        curve=Curve(judge),
        verdict=verdict,
    )
    assert ending.pruning is not None
    assert (objective.directory / "ended").exists()


async def test_an_objective_that_prunes_itself_is_pruned_with_its_last_report(objective: Objective) -> None:
    ending = await objective.run("""
        def objective(trial):
            trial.report(4, 1)
            raise optuna.TrialPruned
    """)
    assert ending == Ending(values=(4.0,), is_pruned=True, intermediate={1: 4.0})
    ending = await objective.run(
        """
        def objective(trial):
            trial.report((4, 5), 1)
            raise optuna.TrialPruned
        """,
        directions=2,
    )
    assert ending == Ending(values=(4.0, 5.0), is_pruned=True, intermediate={1: 4.0})
    ending = await objective.run("def objective(trial): raise optuna.TrialPruned()")
    assert ending == Ending(is_pruned=True)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("None", "the function returned None, expected a number"),
        ("'far'", "the function returned 'far', expected a number"),
        ("(1, 2)", "the function returned 2 values, expected 1"),
        ("[None]", "the function returned [None], expected numbers"),
        ("float('nan')", "the value is NaN"),
        ("os._exit(0)", "the function ended the process before it returned"),
    ],
)
async def test_what_is_no_value_is_told(objective: Objective, returned: str, expected: str) -> None:
    failure = await objective.failure(f"import os\ndef objective(trial): return {returned}")
    assert (failure.cause, failure.message) == (Cause.NO_VALUE, expected)


async def test_a_value_may_be_the_number_of_another_library(objective: Objective) -> None:
    body = "import numpy as np\ndef objective(trial): return"
    assert (await objective.run(f"{body} np.float32(0.5)")).values == (0.5,)
    assert (await objective.run(f"{body} np.array(1), np.int64(2)", directions=2)).values == (1.0, 2.0)


async def test_a_module_has_the_arguments_of_a_script_without_any(objective: Objective) -> None:
    ending = await objective.run("""
        import argparse, sys
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=3)
        args = parser.parse_args()

        def objective(trial):
            assert sys.argv == [__file__]
            return args.epochs
    """)
    assert ending.values == (3.0,)


async def test_a_stop_of_the_search_is_told_however_the_trial_ends(objective: Objective) -> None:
    body = "def objective(trial):\n    trial.study.stop()\n"
    assert await objective.run(f"{body}    return 1") == Ending(values=(1.0,), stops_search=True)
    ending = await objective.run(f"{body}    raise ValueError")
    assert ending.stops_search


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trian:objective", "there is no module trian in {here} nor among what is installed"),
        ("train.inner:objective", "there is no module train.inner in {here} nor"),
        ("train:objectiv", "there is no objectiv in {here}/train.py"),
    ],
)
async def test_an_objective_that_is_not_there_is_told(objective: Objective, name: str, expected: str) -> None:
    failure = await objective.failure("def objective(trial): return 1", name=name)
    assert expected.format(here=objective.directory) in failure.message
    assert "Traceback" not in objective.log.read_text()


async def test_it_imports_what_lies_beside_it(objective: Objective) -> None:
    (objective.directory / "model.py").write_text("VALUE = 6\n")
    ending = await objective.run("import model\ndef objective(trial): return model.VALUE")
    assert ending.values == (6.0,)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            "trial.suggest_float('z', 0, 1)",
            "no parameter 'z' in the experiment file, which declares x, kind",
        ),
        (
            "trial.suggest_int('x', 0, 8)",
            "x: the objective asks for high = 8, the experiment file says high = 9",
        ),
        (
            "trial.suggest_int('x', 1, 9, step=2)",
            "x: the objective asks for low = 1, step = 2, the experiment file says low = 0, step = 1",
        ),
        (
            "trial.suggest_float('x', 0, 9)",
            'x: the objective asks for type = "float", the experiment file says type = "int"',
        ),
        (
            "trial.suggest_categorical('kind', ['a', None])",
            'asks for choices = ["a", null], the experiment file says choices = ["a", true]',
        ),
    ],
)
async def test_what_is_asked_for_otherwise_than_declared_is_told(
    objective: Objective, call: str, expected: str
) -> None:
    failure = await objective.failure(f"def objective(trial): return {call}")
    assert failure.message.startswith("exit status 1: ValueError: ")
    assert expected in failure.message


async def test_its_parameters_are_there_before_they_are_asked_for(objective: Objective) -> None:
    ending = await objective.run("""
        def objective(trial):
            assert trial.params == {"x": 3, "kind": True}
            return trial.params["x"]
    """)
    assert ending.values == (3.0,)


async def test_its_user_attributes_are_told(objective: Objective) -> None:
    ending = await objective.run("""
        def objective(trial):
            trial.set_user_attr("epochs", [1, "ä"])
            return len(trial.user_attrs["epochs"])
    """)
    assert ending == Ending(values=(2.0,), user_attrs={"epochs": r'[1, "\u00e4"]'})


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("('HOST', 1)", "ValueError: cannot set a user attribute: found HOST, expected another name"),
        (
            "('a', 'x' * 70000)",
            "cannot set user attribute a: found 70025 bytes as JSON, expected at most 65536",
        ),
        ("('a', {1, 2})", "TypeError: Object of type set is not JSON serializable"),
    ],
)
async def test_a_user_attribute_that_cannot_be_is_told(
    objective: Objective, call: str, expected: str
) -> None:
    failure = await objective.failure(f"def objective(trial): trial.set_user_attr{call}")
    assert expected in failure.message


async def test_a_module_that_the_objective_wants_is_told_with_who_wants_it(objective: Objective) -> None:
    failure = await objective.failure("import no_such_module\ndef objective(trial): return 1")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in failure.message
    assert "train.py" in objective.log.read_text()
