"""Words that everyone would try first: what decorates one, and what has one in it by chance."""

from __future__ import annotations

import pytest

from picoauth_hibp.digests import common, is_common, packed
from picoauth_hibp.words import is_made_of, of_site, of_user
from picoauth_password import PasswordContext

SITE = ["picoauth", *of_site("auth.example.com"), "Zuhause"]
USER = PasswordContext("bob_7", "ann.smith+list@mail.example.org", "Ann Smith-Jørgensen")


@pytest.mark.parametrize(
    "password",
    [
        "picoauth",
        "PicoAuth",
        "PICOAUTH2024!",
        "2024picoauth",
        "p1c0auth!",
        "P!c04uth",
        "pico\uff41\uff55\uff54\uff48",
        "my picoauth",
        "example.com",
        "ex4mp1e!!",
        "exampleexample",
        "auth.example.com",
        "zuhause1",
        "smith1999",
        "Ann Smith",
        "@nn$m1th",
        "ann.smith@mail",
        "annannann",
        "Jørgensen",
        "smith-jørgensen",
        "bob12345",
        "ann19920317",
    ],
)
def test_names(password: str) -> None:
    """A name, some names, or one with digits and signs around or in it."""
    assert is_made_of(password, [*SITE, *of_user(USER)])


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "annihilation of cats",
        "joanna99",
        "blacksmiths of Rome",
        "picoauth is my server",
        "ann83749283749283741",
        "completely",
        "mailboxes made of tin",
        "",
        "12345678",
        "!!!!!!!!",
    ],
)
def test_passwords(password: str) -> None:
    """A name within something longer makes no bad password."""
    assert not is_made_of(password, [*SITE, *of_user(USER)])


def test_nobody_known() -> None:
    """Without a word nothing is made of one."""
    assert not is_made_of("12345678", of_user(PasswordContext()))
    assert not is_made_of("ab ab ab", ["ab", "12345678", "--"])
    assert not is_made_of("12345678", ["12345678"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("auth.example.com", ["auth", "example"]),
        ("example.com", ["example"]),
        ("localhost", ["localhost"]),
        ("127.0.0.1", []),
        ("::1", []),
        ("", [""]),
    ],
)
def test_of_site(host: str, expected: list[str]) -> None:
    """The last label of a host says nothing about a site, and an address not at all."""
    assert expected == list(of_site(host))


# The commonest


@pytest.mark.parametrize(
    "password", ["password1", "PASSWORD1", "administrator", "12345678", "qwertyuiop", "Iloveyou"]
)
def test_common(password: str) -> None:
    """The commonest are known, in capitals and small letters."""
    assert is_common(password)


@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "another horse", "", "1234567"]
)
def test_uncommon(password: str) -> None:
    """Nothing else is; those with fewer than eight characters are another plugin's business."""
    assert not is_common(password)


def test_list_is_what_its_sources_say() -> None:
    """The list holds exactly the passwords of its sources that are long enough, each findable."""
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    script = Path(__file__).parent.parent / "make_common.py"
    spec = spec_from_file_location("make_common", script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    passwords = module.passwords()
    assert packed(passwords) == common()
    assert 16_293 == len(passwords) == len(common()) // 8
    assert [] == [password for password in passwords if not is_common(password)]
