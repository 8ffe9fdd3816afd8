"""Settings as a TOML file that says the same, for people.

It must never show a password, or another secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.config.hours import Hours
from tuned.config.notify import shown_command, shown_url
from tuned.config.settings import setting_keys
from tuned.config.settings_file import quoted
from tuned.config.spans import format_span
from tuned.config.storage_url import redacted
from tuned.domain.resources import format_size

if TYPE_CHECKING:
    from tuned.config.settings import Settings

#: Addresses with secrets.
_HIDING = {"storage": redacted, "notify_url": shown_url}


def describe(settings: Settings) -> str:
    """The settings as a TOML file that says the same, but without the secrets."""
    read = ", ".join(map(str, settings.files)) or "no file: these are the defaults"
    lines = [f"# read: {read}", *(f"# warning: {warning}" for warning in settings.warnings)]
    section = ""
    for name, key in setting_keys().items():
        table, _, last = key.name.rpartition(".")
        if table != section:
            lines += ["", f"[{table}]"]
            section = table
        value = getattr(settings, name)
        lines.append(
            f"# {last}: {key.default}" if value is None else f"{last} = {describe_value(name, value)}"
        )
    return "\n".join(lines) + "\n"


def describe_value(name: str, value: object) -> str:
    """A setting as TOML writes it, without its secrets."""
    if hide := _HIDING.get(name):
        return quoted(hide(str(value)))
    if name == "control_mode":
        return f'"{value:04o}"'
    if name == "keep_size_bytes" and isinstance(value, int):
        return quoted(format_size(value))
    if isinstance(value, Hours):
        value = value.texts
    if name == "notify_command" and isinstance(value, tuple):
        value = shown_command(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, float):
        return quoted(format_span(value))
    return str(value).lower() if isinstance(value, int) else quoted(str(value))
