"""The database's URL: which are taken, and how a password is hidden."""

from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy import make_url

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
    "url", ["postgresql://u:secret", "postgresql://u:secret/d", "postgresql://u:1secret/d"]
)
def test_a_password_without_a_host_is_hidden_too(url: str) -> None:
    assert redacted(url).startswith("postgresql://u:***")
    assert "secret" not in redacted(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:horse@staple@h/d", "%40"),
        ("postgresql://u@h:54x32/d", "a port from 1 to 65535"),
        ("postgresql://u@h:/d", "a port"),
        ("postgresql://u@[::1]:0/d", "a port"),
        ("postgresql://u:secret", "user:password@"),
        ("postgresql://u@h1:5432,h2:54x32/d", "a port from 1 to 65535"),
        ("postgresql://u@h1,h2:/d", "a port from 1 to 65535"),
        ("postgresql://u@/d?host=h1,h2&port=1,0", "a port from 1 to 65535"),
        ("postgresql://u@/d?host=h1,h2,h3&port=1,2", "as many in port="),
        ("postgresql://u@h1,,h2/d", "a host before and after"),
        ("postgresql://u@h1,h2/d?host=h3", "in one place"),
        ("postgresql://u@h1/d?host=h2,h3", "in one place"),
        ("postgresql://u@h1,h2/d?port=5433", "in one place"),
        ("postgresql://u@h1,h2/d?load_balance_hosts=random", "no load_balance_hosts"),
    ],
)
def test_a_url_that_cannot_be_right_says_what_is_expected(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        normalised(url)
    assert not any(part in str(caught.value) for part in ("horse", "staple", "secret"))


@pytest.mark.parametrize("host", ["h:5432", "[::1]", "[::1]:5432", ""])
def test_a_port_may_be_given_or_not(host: str) -> None:
    assert normalised(f"postgresql://u@{host}/d").endswith(f"u@{host}/d")


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


PRIMARY = "target_session_attrs=read-write"


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("u@h1,h2/d", f"u@/d?host=h1,h2&port=5432,5432&{PRIMARY}"),
        ("u:p@h1:5433,h2/d", f"u:p@/d?host=h1,h2&port=5433,5432&{PRIMARY}"),
        ("h1,h2:5433/d?sslmode=require", f"/d?host=h1,h2&port=5432,5433&{PRIMARY}&sslmode=require"),
        ("u@[::1]:5433,[::2]/d", f"u@/d?host=::1,::2&port=5433,5432&{PRIMARY}"),
        ("u@%2Frun%2Fa,h2/d", f"u@/d?host=/run/a,h2&port=5432,5432&{PRIMARY}"),
        ("u@/d?host=h1,h2&port=5433", f"u@/d?host=h1,h2&port=5433,5433&{PRIMARY}"),
        ("u@/d?port=1,2&host=h1%2Ch2", f"u@/d?host=h1,h2&port=1,2&{PRIMARY}"),
        ("h1,h2/d?target_session_attrs=any", "/d?host=h1,h2&port=5432,5432&target_session_attrs=any"),
    ],
)
def test_of_several_hosts_the_primary_is_used_and_libpq_and_sqlalchemy_read_them_alike(
    url: str, full: str
) -> None:
    found = normalised(f"postgresql://{url}")
    assert found == f"postgresql+psycopg2://{full}"
    assert normalised(found) == found
    asked = make_url(found).get_dialect()().create_connect_args(make_url(found))[1]
    assert asked == parse_dsn(f"postgresql://{full}")


@pytest.mark.parametrize("place", ["h1:1,h2:2/d", "/d?host=h1,h2&port=1,2"])
def test_a_password_before_several_hosts_is_hidden(place: str) -> None:
    url = normalised(f"postgresql://u:secret@{place}")
    assert has_password(url)
    assert redacted(url).startswith("postgresql+psycopg2://u:***@/d?host=h1,h2&port=1,2")


@pytest.mark.parametrize(
    "url",
    ["", "h/d", "mysql://h/d", "postgresql+asyncpg://h/d", "sqlite://", "sqlite:///a.db", "sqlite:////"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:////absolute"):
        normalised(url)
