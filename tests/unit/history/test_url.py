from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.history.url import DatabaseLocation, parse


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///disk/h.db", "/disk/h.db"),
        ("sqlite:////disk/h.db", "/disk/h.db"),
        ("sqlite:///disk/my%20own/../h.db", "/disk/h.db"),
        ("/disk/h.db", "/disk/h.db"),
        ("/disk/100%20.db", "/disk/100%20.db"),
        ("~/h.db", "/home/ada/h.db"),
        ("sqlite:///~/h.db", "/home/ada/h.db"),
        ("sqlite://~/h.db", "/home/ada/h.db"),
    ],
)
def test_files_of_sqlite(url: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    found = parse(url)
    assert (found.kind, found.file, str(found)) == ("sqlite", Path(file), file)


def test_without_a_url_it_is_a_file_of_the_users_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert parse("") == DatabaseLocation(kind="sqlite", file=Path("/s/ocicaliban/history.db"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db/history", "postgresql://db/history"),
        ("postgres://ada@db:5433/history", "postgresql://ada@db:5433/history"),
        ("postgresql://ada:hush@db/history", "postgresql://ada:****@db/history"),
        ("postgresql://ada:hush@one:1,two:2/history", "postgresql://ada:****@one:1,two:2/history"),
        ("postgresql://ada:hush@[::1]:5432/history", "postgresql://ada:****@[::1]:5432/history"),
        ("postgresql:///history?host=/run/pg&password=hush", "postgresql:///history?host=/run/pg&password=****"),
        ("postgresql://:hush@db", "postgresql://:****@db"),
        ("postgresql:///history?sslpassword=hush", "postgresql:///history?sslpassword=****"),
        ("postgresql:///history?sslpassword=12&hush", "postgresql:///history?sslpassword=****"),
    ],
)
def test_servers(url: str, shown: str) -> None:
    found = parse(url)
    assert found.kind == "postgresql" and str(found) == shown and "hush" not in repr(found)
    assert found.url.startswith("postgresql://")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ada:hush@db/history", "cannot be in mysql://"),
        ("history.db", "is not the absolute path of a file"),
        ("sqlite://", "is not the absolute path of a file"),
        ("sqlite:///disk/", "is not the absolute path of a file"),
        ("sqlite://:memory:", "is not the absolute path of a file"),
        ("sqlite:///h.db?mode=ro", "is not the absolute path of a file"),
        ("postgresql://ada:hush/word@db/history", "is not valid"),
        ("postgresql://ada:12/hush@db/history", "is not valid"),
        ("postgresql://ada:hush#word@db/history", "is not valid"),
        ("postgresql://ada:hush@db:port/history", "is not valid"),
        ("postgresql://ada:hush%zz@db/history", "is not valid"),
        ("postgresql://ada:hush word@db/history", "is not valid"),
        ("postgresql://ada:hush@[db/history", "is not valid"),
        ("host=db password=hush", "is not the absolute path of a file"),
        ("host=db password='hu\\'sh hush'", "is not the absolute path of a file"),
        ("ada:hush@db/history", "is not the absolute path of a file"),
        ("postgresql:/ada:hush@db/history", "is not the absolute path of a file"),
        ("postgresql//ada:hush@db/history", "is not the absolute path of a file"),
        ("sqlite://ada:hush@db/history", "is not the absolute path of a file"),
        ("postgresql://ada:12#hush@db/history", "is not valid"),
        ("postgresql://ada:12?hush@db/history", "is not valid"),
        ("postgresql://ada:12/hush@hush:hush@db/history", "is not valid"),
        # The library would look for the host "hush@db", and say so.
        ("postgresql://ada:12@hush@db/history", "is not valid"),
        ("postgresql://ada@corp:hush@db/history", "is not valid"),
        ("postgresql://:hush@hush@db,other/history?sslmode=require", "is not valid"),
    ],
)
def test_what_is_no_history(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(url)
    assert "postgresql://USER" in caught.value.hint
    assert "hush" not in f"{caught.value}{caught.value.hint}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_no_password_is_ever_shown(password: str) -> None:
    secret = f"<{password}>"
    found = parse(f"postgresql://ada:{quote(secret, safe='')}@db/history")
    for shown in (str(found), repr(found), found.without_secrets(f"{secret} {quote(secret, safe='')} {found.url}")):
        assert secret not in shown and quote(secret, safe="") not in shown
    # One that was not written with % forms is not shown either.
    try:
        shown = str(parse(f"postgresql://ada:{secret}@db/history"))
    except UsageError as fault:
        shown = f"{fault}{fault.hint}"
    assert secret not in shown


@pytest.mark.parametrize("form", ["postgresql:///h?password={}", "postgresql:///h?host=/run&sslpassword={}"])
def test_a_password_among_the_settings_is_not_shown_either(form: str) -> None:
    found = parse(form.format("h%20%40u"))
    assert found.without_secrets("it was 'h @u', h%20%40u") == "it was '****', ****"


def test_looking_at_the_history_is_what_loads_a_database() -> None:
    told = "import sys, ocicaliban.history.access; print(sorted({'peewee', 'psycopg', 'sqlite3'} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", told), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
