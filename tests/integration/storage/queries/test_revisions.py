"""The replacements of an experiment's definition, as they are shown."""

from __future__ import annotations

from tests.factories import join, make_experiment, opened
from tuned.storage.changes import Author, replace_definition
from tuned.storage.queries.revisions import revision, revisions


def test_the_newest_replacement_comes_first_and_the_first_definition_is_none(prepared_url: str) -> None:
    with opened(prepared_url) as database:
        study_id = join(database, make_experiment()).status.study_id
        for trials in (5, 6):
            raised = make_experiment(f"[budget]\ntrials = {trials}")
            replace_definition(database, study_id, raised, Author(user="ann", host="h1"))
        with database.reading() as connection:
            found = revisions(connection, study_id)
            assert [each["revision"] for each in found] == [3, 2]
            assert found[0]["since"] >= found[1]["since"] > "2020"
            assert found[0]["changes"] == ["budget.trials: 6, was 5"]
            assert revision(connection, study_id, 2) == found[1]
            assert [revision(connection, study_id, number) for number in (1, None)] == [None, None]
