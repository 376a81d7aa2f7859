"""Names of repositories: what the user may write, and what becomes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.errors import UsageError
from ocicaliban.registry.reference import check_tag, image_name, parse_repository


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("ghcr.io/me/digits", "ghcr.io/me/digits"),
        ("ghcr.io/me/", "ghcr.io/me/NAME"),
        ("docker://ghcr.io/me/digits", "ghcr.io/me/digits"),
        ("localhost:5000", "localhost:5000/NAME"),
        ("localhost/x", "localhost/x"),
        ("[::1]:5000/x", "[::1]:5000/x"),
        ("docker.io/digits", "docker.io/library/digits"),
        ("europe-west4-docker.pkg.dev/my-project/research", "europe-west4-docker.pkg.dev/my-project/research/NAME"),
        ("us-docker.pkg.dev/my-project/research/digits", "us-docker.pkg.dev/my-project/research/digits"),
        ("europe-docker.pkg.dev/example.com/project/r", "europe-docker.pkg.dev/example.com/project/r"),
    ],
)  # fmt: skip
def test_a_repository_is_taken_as_it_is_and_a_place_of_many_images_gets_the_projects_name(
    text: str, whole: str
) -> None:
    assert str(parse_repository(text, "name")) == whole.replace("NAME", "name")


def test_the_users_own_repository_holds_for_all_projects() -> None:
    assert str(parse_repository("ghcr.io/me", "digits", prefix=True)) == "ghcr.io/me/digits"


@pytest.mark.parametrize(
    "text",
    ["me/digits", "", "/x", "ghcr.io/Me/x", "ghcr.io/me/x:v1", "ghcr.io/me/x@sha256:00", "ghcr.io/a//../b", "a b.c/x",
     "us-docker.pkg.dev/project", "a..b/x", "x" * 64 + ".com/y", "localhost:99999/x", "ghcr.io/" + "a/" * 140],
)  # fmt: skip
def test_what_is_no_repository_is_told_with_a_remedy(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_repository(text, "name")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["https://me:hush@ghcr.io/x", "me:hush@ghcr.io/x"])
def test_a_password_in_a_name_is_not_printed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_repository(text, "name")
    assert "hush" not in caught.value.message + caught.value.hint


def test_a_folder_without_letters_is_no_fault_where_the_image_has_a_name() -> None:
    assert str(parse_repository("ghcr.io/me/x", "проект")) == "ghcr.io/me/x"
    with pytest.raises(UsageError, match="проект"):
        parse_repository("ghcr.io", "проект")


def test_an_image_that_must_have_a_name_has_one() -> None:
    with pytest.raises(UsageError, match="does not name an image"):
        parse_repository("ghcr.io/me/")


def test_googles_registries_are_known() -> None:
    assert parse_repository("us-docker.pkg.dev/p/r/n").is_google and parse_repository("eu.gcr.io/p/n").is_google
    assert not parse_repository("docker.pkg.dev.example.com/p/r/n").is_google


@given(st.text(max_size=200))
def test_any_folders_name_gives_a_repository_or_an_error(folder: str) -> None:
    try:
        name = image_name(folder)
    except UsageError:
        return
    assert parse_repository(f"ghcr.io/{name}").path == name


@pytest.mark.parametrize(
    ("folder", "name"), [("My Project", "my-project"), ("digits_2", "digits-2"), ("-x-", "x"), ("Übung 1", "ubung-1")]
)
def test_the_image_is_called_as_the_projects_folder(folder: str, name: str) -> None:
    assert image_name(folder) == name


def test_a_tag_is_checked() -> None:
    assert check_tag("v1.2") == "v1.2"
    for tag in ("", "-x", "a b", "a/b", "x" * 129):
        with pytest.raises(UsageError):
            check_tag(tag)
