"""The task of a Slurm job, as Slurm's variables say."""

from __future__ import annotations

import os

import pytest

from tuned.config.slurm import Task, task_of

_TASK = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "2", "SLURM_PROCID": "3"}


def test_a_process_outside_of_a_job_is_no_task() -> None:
    assert task_of({}) is None
    assert task_of({"SLURM_JOB_ID": "4711"}) is None


def test_a_task_is_named_by_its_job_step_and_rank() -> None:
    task = task_of({**_TASK, "SLURM_STEP_NUM_TASKS": "8", "SLURM_CPUS_PER_TASK": "4"})
    assert task == Task(job=4711, step=2, rank=3, tasks=8, cpus=4)
    assert (task.name, task.host) == ("4711.2.3", f"{os.uname().nodename}-4711.2.3")


def test_the_job_script_itself_is_a_task_too() -> None:
    task = task_of({"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0"})
    assert task is not None
    assert (task.name, task.tasks, task.cpus) == ("4711.batch.0", 1, None)


@pytest.mark.parametrize("text", ["", "../etc", "-1", "1.5", "²"])
def test_a_variable_that_is_no_number_is_not_followed(text: str) -> None:
    assert task_of({**_TASK, "SLURM_JOB_ID": text}) is None
