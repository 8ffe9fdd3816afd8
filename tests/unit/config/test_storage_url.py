"""The database's URL: which are taken, and how a password is hidden."""

from __future__ import annotations

import pytest

from tuned.config.storage_url import has_password, normalised, redacted


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h/d",
        "postgresql://u:se@cret@h/d",
        "postgresql://u:se/cret@h/d",
        "postgresql://:secret@/d",
        "postgresql://h/d?password=secret&sslmode=require",
        "postgresql://h/d?sslmode=require&PASSWORD=secret",
        "postgresql://h/d?sslpassword=secret",
    ],
)
def test_a_password_is_found_and_hidden_wherever_a_url_may_have_it(url: str) -> None:
    assert has_password(url)
    assert "***" in redacted(url)
    assert not any(part in redacted(url) for part in ("secret", "cret", "se@", "se/"))


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@h:5432/d", "postgresql:///d?service=x", "sqlite:////a/b.db", "postgresql://h1,h2/d"],
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert not has_password(url)
    assert redacted(url) == url


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("postgres://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2://h/d"),
        ("sqlite:////a.db", "sqlite:////a.db"),
    ],
)
def test_a_url_gets_the_driver_that_is_installed(url: str, full: str) -> None:
    assert normalised(url) == full


@pytest.mark.parametrize(
    "url",
    ["", "h/d", "mysql://h/d", "postgresql+asyncpg://h/d", "sqlite://", "sqlite:///a.db", "sqlite:////"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:////absolute"):
        normalised(url)
