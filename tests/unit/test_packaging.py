"""Files of the package that are for other programs name only what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.small_host import a_local, a_status
from tuned import manual
from tuned.config.settings import setting_keys
from tuned.control import metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "monitoring" / "tuned.rules.yml"
DASHBOARD = ROOT / "packaging" / "monitoring" / "grafana-dashboard.json"
ROLE = ROOT / "packaging" / "ansible" / "roles" / "tuned"
MONITOR = ROOT / "docs" / "how-to" / "monitor.md"


def samples() -> set[str]:
    """The names of all samples that a host can have."""
    text = metrics.render(a_status(), a_local(), metrics.Endings()).decode()
    return {each.name for family in text_string_to_metric_families(text) for each in family.samples}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions(node: Any) -> Iterator[str]:
    """All queries of a dashboard, wherever they stand."""
    if isinstance(node, dict):
        yield from (
            value for key, value in node.items() if key in {"expr", "query"} and isinstance(value, str)
        )
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def named(*queries: str) -> set[str]:
    return {name for query in queries for name in re.findall(r"\btuned_\w+", query)}


def test_every_metric_of_an_alert_is_one_of_the_daemons() -> None:
    found = named(*(rule["expr"] for rule in rules()))
    assert len(found) > 5
    assert found - samples() == set()


def test_every_metric_of_the_dashboard_is_one_of_the_daemons() -> None:
    found = named(*expressions(json.loads(DASHBOARD.read_text())))
    assert len(found) > 10
    assert found - samples() == set()


def test_a_metric_of_the_fleet_is_never_added_up_over_hosts() -> None:
    queries = [*(rule["expr"] for rule in rules()), *expressions(json.loads(DASHBOARD.read_text()))]
    for query in queries:
        for part in re.findall(r"(\w+(?: by \([^)]*\))? ?\()tuned_fleet_", query):
            assert part.startswith(("max by", "min by", "label_values")), query


def test_the_how_to_has_every_alert() -> None:
    documented = re.findall(r"^\| `(Tuned\w+)` \|", MONITOR.read_text(), re.MULTILINE)
    assert documented == [rule["alert"] for rule in rules()]


pages = pytest.mark.parametrize("page", manual.PAGES)


@pages
def test_a_manual_page_is_the_one_that_the_help_makes(page: str) -> None:
    text = (ROOT / page).read_text()
    assert manual.refreshed(page, text) == text


@pages
def test_a_manual_page_has_every_command_and_every_option(page: str) -> None:
    text = (ROOT / page).read_text()
    context = click.Context(manual.PAGES[page])
    for each in [context, *inner(context)]:
        assert isinstance(context.command, click.Command)
        flags = [name for parameter in each.command.params for name in parameter.opts if name.startswith("-")]
        assert [name for name in flags if f"Fl {name[1:]}" not in text] == []
        options = [parameter for parameter in each.command.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not option.help] == []


def inner(context: click.Context) -> list[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        return []
    text = (ROOT / "packaging" / "man" / "tunectl.1").read_text()
    assert [name for name in group.commands if f".It Ic {name}" not in text] == []
    return [click.Context(command, parent=context) for command in group.commands.values()]


def test_the_ansible_role_knows_which_settings_a_reload_takes_over() -> None:
    keys = setting_keys().values()
    # A table goes into one file as a whole.
    fixed = {key.name.partition(".")[0] for key in keys if not key.is_reloaded}
    reloaded = {key.name.partition(".")[0] for key in keys if key.is_reloaded} - fixed
    assert set(yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["tuned_reloaded"]) == reloaded


def test_the_ansible_role_says_of_each_variable_what_it_is() -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    documented = re.findall(r"^\| `(tuned_\w+)` \|", (ROLE / "README.md").read_text(), re.MULTILINE)
    assert documented == list(options)
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    assert defaults == {name: option["default"] for name, option in options.items() if "default" in option}
