"""Python objectives that are forked from a process which imported them once, and the pool of such ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import textwrap
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.daemon import all_processes, environment_of, is_alive
from tests.integration.trial.starting import run_with
from tests.integration.trial.trees import cgroup_root, double_fork, pid_in
from tests.waiting import until_async
from tuned.disk.files import make_directory
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Cause, Ending, Failure
from tuned.experiment.experiment import Experiment, parse
from tuned.trial import preforks, programs
from tuned.trial.cgroup import Root
from tuned.trial.evaluation import Site
from tuned.trial.fork_servers import ForkServer, ForkServers, Unforkable
from tuned.trial.launch import Launch
from tuned.worker.forkserver import TRIALS

pytestmark = pytest.mark.usefixtures("_subreaper")

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 99\n'


#: A timeout within which an interpreter has begun and runs the objective, on a busy machine too.
LONG_ENOUGH_TO_BEGIN = 8.0


class Host:
    """One Python objective on one host."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.directory, self.site = directory, site
        self.env = ""
        self._server: ForkServer | None = None

    def write(self, body: str) -> None:
        (self.directory / "train.py").write_text(f"import os, sys\n{textwrap.dedent(body)}")

    @property
    def experiment(self) -> str:
        objective = f'[objective]\npython = "train:objective"\npath = "{self.directory}"\n'
        return f'name = "exp"\n{objective}env = {{ {self.env} }}\n{SPACE}'

    @property
    def server(self) -> ForkServer:
        if self._server is None:
            experiment = parse(self.experiment.encode(), "exp.toml")
            program = programs.server_program(experiment, self.site.host, self.site.state.trials)
            assert program is not None
            self._server = ForkServer(program)
        return self._server

    def launch(self, x: int = 0, timeout_seconds: float | None = 60) -> Launch:
        experiment = parse(self.experiment.encode(), "exp.toml")
        point = experiment.space.point({"x": x})
        claim = uuid.uuid4().hex
        work = self.directory / f"work-{x}"
        make_directory(work, 0o700)
        return Launch(
            argv=programs.command(experiment, point),
            environment=programs.environment(
                experiment, point, trial=x, host="h", slot=0, attempt=1, point_directory=work
            ),
            workdir=work,
            log=self.log(x),
            timeout_seconds=timeout_seconds,
            objectives=1,
            pattern=None,
            is_objective=True,
            mark=f"{self.site.state.installation_id}/{claim}",
            cgroups=self.site.cgroups,
        )

    def log(self, x: int = 0) -> Path:
        return self.directory / f"{x}.log"

    async def run(self, x: int = 0, timeout_seconds: float | None = 60) -> Ending:
        return await run_with(self.launch(x, timeout_seconds), self.server.start)

    async def value(self, x: int = 0) -> float:
        ending = await self.run(x)
        assert ending.values is not None, (ending, self.log(x).read_text())
        return ending.values[0]

    async def failure(self, x: int = 0, timeout_seconds: float | None = 60) -> Failure:
        ending = await self.run(x, timeout_seconds)
        assert ending.failure is not None, ending
        return ending.failure

    def imports(self) -> list[str]:
        """The processes that imported the module, if it says so."""
        return (self.directory / "imports").read_text().split()


COUNTED = """
with open(os.path.join(os.path.dirname(__file__), "imports"), "a") as file:
    print(os.getpid(), file=file)
"""


@pytest_asyncio.fixture(params=["best-effort", "cgroup"])
async def host(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    """Once with each isolation. No process is left in the end."""
    place: AbstractContextManager[tuple[Root | None, str]] = nullcontext((None, uuid.uuid4().hex))
    with (
        cgroup_root() if request.param == "cgroup" else place as (cgroups, _),
        StateDirectory.open(tmp_path / "state") as state,
    ):
        site = Site(host="h", state=state, cgroups=cgroups, grace_seconds=0)
        host = Host(tmp_path, site)
        yield host
        await host.server.end()
        assert left(state.installation_id) == []
        if cgroups is not None:
            assert list(cgroups.path.glob(f"{state.installation_id}*")) == []


def left(installation_id: str) -> list[int]:
    mark = f"TUNED_MARK={installation_id}/".encode()
    return [pid for pid in all_processes() if any(v.startswith(mark) for v in environment_of(pid))]


# One import, many processes


async def test_the_module_is_imported_once_and_each_trial_is_a_process_of_its_own(host: Host) -> None:
    host.write(f"{COUNTED}\ndef objective(trial): return os.getpid()")
    pids = [await host.value(x) for x in range(5)]
    pids += await asyncio.gather(*(host.value(x) for x in range(5, 8)))
    [imported] = host.imports()
    assert len({*pids, float(imported)}) == 9


async def test_a_trial_is_a_child_of_ours_with_a_session_and_a_group_of_its_own(host: Host) -> None:
    host.write("""
        def objective(trial):
            assert os.getsid(0) == os.getpid()
            print(open("/proc/self/cgroup").read())
            return os.getppid()
    """)
    assert await host.value() == os.getpid()
    if host.site.cgroups is not None:
        assert f"/trials/{host.site.state.installation_id}-" in host.log().read_text()


async def test_a_trial_has_its_own_environment_and_directory_and_no_input(host: Host) -> None:
    host.write("""
        import json
        def objective(trial):
            print(json.dumps(dict(os.environ)))
            assert sys.stdin.read() == ""
            assert os.path.basename(os.getcwd()) == f"work-{trial.number}"
            return trial.suggest_int("x", 0, 99) + trial.number
    """)
    host.env = 'OURS = "set"'
    await host.value(3)
    launch = host.launch(7)
    ending = await run_with(launch, host.server.start)
    assert ending.values == (14.0,), host.log(7).read_text()
    found = json.loads(host.log(7).read_text().splitlines()[0])
    assert found == {**launch.environment, "TUNED_MARK": launch.mark}


async def test_a_trial_shows_its_own_mark_to_whoever_looks_for_it(host: Host) -> None:
    host.write("""
        def objective(trial):
            shown = open("/proc/self/environ").read().split("\\0")
            marks = [each for each in shown if each.startswith("TUNED_MARK=")]
            assert marks == ["TUNED_MARK=" + os.environ["TUNED_MARK"]]
            return 1
    """)
    assert await host.value() == 1.0


async def test_the_module_sees_the_experiments_environment_when_it_is_imported(host: Host) -> None:
    host.env = 'THREADS = "3"'
    host.write("SEEN = os.environ['THREADS']\ndef objective(trial): return float(SEEN)")
    assert await host.value() == 3.0


async def test_a_trial_holds_no_descriptor_of_the_daemon_or_of_other_trials(host: Host) -> None:
    host.write("""
        def objective(trial):
            return sum(os.path.exists(f"/proc/self/fd/{n}") for n in range(3, 100))
    """)
    # One is the socket of its own reports.
    assert [await host.value(x) for x in range(3)] == [1.0] * 3


async def test_what_the_import_prints_is_in_the_log_of_the_trial_that_needed_it(host: Host) -> None:
    host.write("print('imported')\nsys.stdout.write('no end')\ndef objective(trial): print('run'); return 1")
    await host.value(0)
    await host.value(1)
    assert host.log(0).read_text().startswith("imported\nno endrun\n")
    assert host.log(1).read_text().startswith("run\n")


async def test_random_numbers_differ_between_trials(host: Host) -> None:
    host.write("""
        import random
        import numpy
        def objective(trial):
            trial.set_user_attr("drawn", [random.random(), numpy.random.random()])
            return 1
    """)
    drawn = [json.loads((await host.run(x)).user_attrs["drawn"]) for x in range(2)]
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


# How it ends


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os._exit(3)", Failure(cause=Cause.EXIT, message="exit status 3", detail={"status": 3})),
        ("sys.exit(4)", Failure(cause=Cause.EXIT, message="exit status 4", detail={"status": 4})),
        ("sys.exit('bad')", Failure(cause=Cause.EXIT, message="exit status 1: bad", detail={"status": 1})),
        (
            "raise ValueError('no data')",
            Failure(cause=Cause.EXIT, message="exit status 1: ValueError: no data", detail={"status": 1}),
        ),
        (
            "import ctypes; ctypes.string_at(0)",
            Failure(cause=Cause.SIGNAL, message="killed by SIGSEGV", detail={"signal": "SIGSEGV"}),
        ),
    ],
)
async def test_what_ends_one_trial_hurts_no_other(host: Host, body: str, expected: Failure) -> None:
    host.write(f"{COUNTED}\ndef objective(trial):\n    if trial.number == 0: {body}\n    return 1")
    assert await host.value(1) == 1.0
    assert await host.failure(0) == expected
    assert await host.value(2) == 1.0
    assert len(host.imports()) == 1


async def test_an_interrupt_ends_it_by_that_signal(host: Host) -> None:
    host.write("def objective(trial): raise KeyboardInterrupt")
    assert (await host.failure()).detail == {"signal": "SIGINT"}
    assert "KeyboardInterrupt" in host.log().read_text()


async def test_threads_are_waited_for_unless_they_are_daemons(host: Host) -> None:
    host.write("""
        import threading
        def objective(trial):
            end = threading.Event()
            threading.Thread(target=end.wait, daemon=True).start()
            late = threading.Event()
            def work():
                late.wait()
                print("worked")
            threading.Thread(target=work).start()
            threading.Timer(0.1, late.set).start()
            return 1
    """)
    assert await host.value() == 1.0
    assert "worked" in host.log().read_text()


async def test_what_the_trial_registered_runs_at_its_end_and_what_the_import_registered_does_not(
    host: Host,
) -> None:
    host.write("""
        import atexit
        atexit.register(print, "imports end", file=sys.stderr)
        def objective(trial):
            atexit.register(print, "trials end")
            return 1
    """)
    assert await host.value() == 1.0
    assert "trials end" in host.log().read_text()
    assert "imports end" not in host.log().read_text()


async def test_past_its_timeout_it_is_killed_with_its_tree(host: Host) -> None:
    file = host.directory / "pid"
    host.write(f"""
        import subprocess, time
        def objective(trial):
            subprocess.run(["sh", "-c", {double_fork(file)!r}])
            time.sleep(600)
    """)
    assert (await host.failure(timeout_seconds=LONG_ENOUGH_TO_BEGIN)).cause is Cause.TIMEOUT
    assert not is_alive(pid_in(file))


async def test_what_it_forked_without_a_new_program_is_gone_with_it(host: Host) -> None:
    # It leaves the session and loses its parents: without a group, it is known by its mark alone.
    file = host.directory / "pid"
    host.write(f"""
        import time
        def objective(trial):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open({str(file)!r} + ".new", "w") as new:
                        new.write(str(os.getpid()))
                    os.rename({str(file)!r} + ".new", {str(file)!r})
                    time.sleep(600)
                os._exit(0)
            while not os.path.exists({str(file)!r}):
                time.sleep(0.01)
            return 1
    """)
    assert await host.value() == 1.0
    assert not is_alive(pid_in(file))


async def test_a_cancelled_trial_is_gone_and_the_next_one_begins(host: Host) -> None:
    file = host.directory / "pid"
    host.write(f"""
        {COUNTED.replace(chr(10), chr(10) + "        ")}
        import time
        def objective(trial):
            if trial.number == 0:
                with open({str(file)!r}, "w") as new:
                    new.write(str(os.getpid()))
                time.sleep(600)
            return 1
    """)
    running = asyncio.create_task(host.run(0))
    pid = await asyncio.to_thread(pid_in, file)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_alive(pid)
    assert await host.value(1) == 1.0
    assert len(host.imports()) == 1


# When the server goes


def waiting_for(file: Path, value: str) -> str:
    """Says that it has begun, and returns the value once the file is there."""
    return f"""{COUNTED}
import time
def objective(trial):
    print("begun", flush=True)
    while not os.path.exists({str(file)!r}):
        time.sleep(0.01)
    return {value}
"""


async def test_a_killed_server_hurts_no_trial_and_the_next_one_gets_another(host: Host) -> None:
    go = host.directory / "go"
    host.write(waiting_for(go, "os.getppid()"))
    running = asyncio.create_task(host.run(0))
    await until_async(lambda: host.log().exists() and "begun" in host.log().read_text(), what="the trial")
    os.kill(int(host.imports()[0]), signal.SIGKILL)
    go.touch()
    assert (await running).values == (float(os.getpid()),)
    # Some were forked before it was killed.
    for x in range(1, 1 + TRIALS):
        assert await host.value(x) == float(os.getpid())
    assert len(host.imports()) == 2


async def test_trials_that_were_forked_in_advance_and_are_killed_are_not_used(host: Host) -> None:
    host.write("def objective(trial): return os.getpid()")
    before = set(left(host.site.state.installation_id))
    await host.value(0)
    waiting = set(left(host.site.state.installation_id)) - before
    assert len(waiting) == TRIALS
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
    await until_async(lambda: not any(map(is_alive, waiting)), what="them to be gone")
    assert await host.value(1) not in waiting


async def test_a_trial_that_has_begun_has_its_grace_while_the_next_one_is_forked(host: Host) -> None:
    told = host.directory / "told"
    host.write(f"""{COUNTED}
import signal
def objective(trial):
    if trial.number == 1:
        signal.signal(signal.SIGTERM, lambda *_: (open({str(told)!r}, "w"), sys.exit()))
        print("begun", flush=True)
        signal.pause()
    return 1
""")
    host.server.ahead = 1
    await host.value(0)
    server = int(host.imports()[0])
    os.kill(server, signal.SIGSTOP)
    running = asyncio.create_task(run_with(replace(host.launch(1), grace_seconds=60), host.server.start))
    await until_async(lambda: host.log(1).exists() and "begun" in host.log(1).read_text(), what="the trial")
    assert host.server.beginning == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told.exists()


async def test_when_its_server_ends_a_trial_goes_on(host: Host) -> None:
    go = host.directory / "go"
    host.write(waiting_for(go, "1"))
    running = asyncio.create_task(host.run(0))
    await until_async(lambda: host.log().exists() and "begun" in host.log().read_text(), what="the trial")
    await host.server.end()
    assert not is_alive(int(host.imports()[0]))
    go.touch()
    assert (await running).values == (1.0,)


async def test_a_module_that_changed_is_seen_by_the_next_server(host: Host) -> None:
    host.write("def objective(trial): return 1")
    assert await host.value(0) == 1.0
    # Of another size: Python compares that, and the time in whole seconds.
    host.write("def objective(trial): return 22")
    assert await host.value(1) == 1.0
    await host.server.end()
    assert await host.value(2) == 22.0


async def test_a_server_that_is_not_needed_ends_as_programs_do(host: Host) -> None:
    file = host.directory / "ended"
    host.write(f"""
        import atexit
        atexit.register(lambda: open({str(file)!r}, "w"))
        def objective(trial): return 1
    """)
    assert await host.value() == 1.0
    assert not file.exists()
    await host.server.end()
    assert file.exists()


# One pool for a host

COMMAND = '[objective]\ncommand = ["sh", "-c", "echo 0.5"]\n'


class Pool:
    """The servers of a host with so many slots."""

    def __init__(self, host: Host, slots: int) -> None:
        self.host = host
        self.servers = ForkServers(slots)
        self.experiments: dict[str, Experiment] = {}
        #: Why a module cannot be forked.
        self.told: list[str] = []

    def add(self, name: str, objective: str) -> None:
        text = f'name = "{name}"\n{objective}{SPACE}'
        self.experiments[name] = parse(text.encode(), f"{name}.toml")

    def add_python(self, name: str, body: str = "return os.getppid()") -> None:
        """It notes each import in a file of its name."""
        imported = f"import os\nprint(os.getpid(), file=open({str(self.host.directory / name)!r}, 'a'))\n"
        module = f"{imported}def objective(trial): {body}\n"
        (self.host.directory / f"{name}_module.py").write_text(module)
        self.add(name, f'[objective]\npython = "{name}_module:objective"\npath = "{self.host.directory}"\n')

    async def run(self, name: str) -> Ending:
        experiment = self.experiments[name]
        launch = replace(
            self.host.launch(), argv=programs.command(experiment, experiment.space.at(0)),
            environment={
                **os.environ, "TUNED_PARAMS": '{"x": 0}', "TUNED_TRIAL": "0", "TUNED_EXPERIMENT": name,
            },
            is_objective=experiment.objective.python is not None,
        )  # fmt: skip
        program = programs.server_program(experiment, self.host.site.host, self.host.site.state.trials)
        return await run_with(launch, self.servers.start_of(name, program, self.told.append))

    def imports(self, name: str) -> list[int]:
        return [int(pid) for pid in (self.host.directory / name).read_text().split()]

    def is_warm(self, name: str) -> bool:
        return is_alive(self.imports(name)[-1])

    async def until_left(self, *names: str) -> None:
        """Until these are the modules that a process has imported."""
        known = [each for each in self.experiments if (self.host.directory / each).exists()]
        await until_async(
            lambda: [e for e in known if self.is_warm(e)] == [*names], what=f"{names} to be warm"
        )


@pytest_asyncio.fixture
async def pool(host: Host) -> AsyncIterator[Pool]:
    pool = Pool(host, slots=2)
    yield pool
    await pool.servers.close()


async def test_all_commands_have_one_process_and_as_many_copies_as_slots(pool: Pool) -> None:
    for number in range(20):
        pool.add(f"command{number}", COMMAND)
    endings = await asyncio.gather(*map(pool.run, pool.experiments))
    assert [ending.values for ending in endings] == [(0.5,)] * 20
    assert len(left(pool.host.site.state.installation_id)) <= 1 + 2
    pool.servers.keep(set())
    await until_async(lambda: not left(pool.host.site.state.installation_id), what="them to end")


async def test_there_are_as_many_warm_objectives_as_slots_and_the_one_used_longest_ago_goes(
    pool: Pool,
) -> None:
    for name in ("one", "two", "three"):
        pool.add_python(name)
    for name in ("one", "two", "one", "three"):
        assert (await pool.run(name)).failure is None
    await pool.until_left("one", "three")
    assert [len(pool.imports(name)) for name in ("one", "two", "three")] == [1, 1, 1]
    assert (await pool.run("two")).failure is None
    await pool.until_left("two", "three")
    pool.servers.resize(1)
    await pool.until_left("two")
    pool.servers.keep({"two"})
    assert (await pool.run("two")).failure is None
    assert len(pool.imports("two")) == 2


async def test_an_objective_that_a_person_replaced_is_imported_by_another_process(pool: Pool) -> None:
    for name in ("wrong", "right"):
        pool.add_python(name)
    assert (await pool.run("wrong")).failure is None
    pool.experiments["wrong"] = pool.experiments["right"]
    for _ in range(3):
        assert (await pool.run("wrong")).failure is None
    await pool.until_left("right")
    assert [len(pool.imports(name)) for name in ("wrong", "right")] == [1, 1]


async def test_a_process_with_a_trial_that_is_being_begun_does_not_go(pool: Pool) -> None:
    go = pool.host.directory / "go"
    pool.add_python("slow")
    module = pool.host.directory / "slow_module.py"
    module.write_text(
        f"import os, time\n{module.read_text()}while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    )
    for name in ("one", "two", "three"):
        pool.add_python(name)
    slow = asyncio.create_task(pool.run("slow"))
    await until_async((pool.host.directory / "slow").exists, what="the import to begin")
    for name in ("one", "two", "three"):
        assert (await pool.run(name)).failure is None
    await pool.until_left("slow", "three")
    go.touch()
    assert (await slow).failure is None
    assert len(pool.imports("slow")) == 1


# When the import fails


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import no_such_module", "exit status 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("print(1 / 0)", "exit status 1: ZeroDivisionError: division by zero"),
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
    ],
)
async def test_an_import_that_fails_fails_each_trial_in_its_own_log_until_it_is_mended(
    host: Host, body: str, expected: str
) -> None:
    host.write(f"{COUNTED}\n{body}\ndef objective(trial): return 1")
    for x, failure in enumerate(await asyncio.gather(*(host.failure(x) for x in range(2)))):
        assert failure.message == expected
        assert ("train.py" in host.log(x).read_text()) == ("Error" in expected)
    assert len(host.imports()) == 2
    host.write("def objective(trial): return 1")
    assert await host.value(5) == 1.0


async def test_an_import_that_hangs_is_killed_at_the_trials_timeout(host: Host) -> None:
    host.write(f"{COUNTED}\nimport time\ntime.sleep(600)")
    assert (await host.failure(timeout_seconds=LONG_ENOUGH_TO_BEGIN)).cause is Cause.TIMEOUT
    assert not is_alive(int(host.imports()[0]))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "import threading as t\nt.Thread(target=t.Event().wait, name='feeder', daemon=True).start()",
            "its import leaves threads running (feeder)",
        ),
        ("import torch", "its import initialises CUDA"),
    ],
)
async def test_a_module_that_cannot_be_forked_is_refused_with_the_reason(
    host: Host, body: str, expected: str
) -> None:
    (host.directory / "torch.py").write_text("class cuda:\n    is_initialized = staticmethod(lambda: True)\n")
    host.write(f"{body}\ndef objective(trial): return 1")
    with pytest.raises(Unforkable) as caught:
        await host.run()
    assert str(caught.value) == (
        f"each trial imports train:objective anew, because it cannot be forked: {expected}"
    )


async def test_a_server_that_does_not_answer_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preforks, "ANSWER_SECONDS", 1.0)
    body = "import time\nos.register_at_fork(before=lambda: time.sleep(600))\ndef objective(trial): return 1"
    host.write(f"{COUNTED}\n{body}")
    with pytest.raises(Unforkable, match="the process that imported it did not answer in time"):
        await host.run()
    assert not is_alive(int(host.imports()[0]))


async def test_trials_of_a_module_that_cannot_be_forked_import_it_one_by_one(pool: Pool) -> None:
    pool.add_python("threaded", "return os.getpid()")
    with (pool.host.directory / "threaded_module.py").open("a") as file:
        file.write("import threading as t\nt.Thread(target=t.Event().wait, daemon=True).start()\n")
    endings = await asyncio.gather(*(pool.run("threaded") for _ in range(3)))
    assert {(pid,) for pid in pool.imports("threaded")[-3:]} == {ending.values for ending in endings}
    assert "its import leaves threads running" in pool.told[0]
    assert len(pool.imports("threaded")) == 4


async def test_a_mark_of_another_length_lets_no_trial_begin(host: Host) -> None:
    host.write("def objective(trial): return 1")
    launch = replace(host.launch(), mark="short")
    ending = await run_with(launch, host.server.start)
    assert ending.failure is not None
    assert ending.failure.message == (
        "exit status 125: tuned: cannot begin the trial: the mark short is not as long as the server's"
    )
