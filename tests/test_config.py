"""The settings: what is read, and what an operator is told about every mistake."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picoauth import Config, ConfigError, Seconds, Secret, described, load, parse
from picoauth.addresses import Proxies
from picoauth.banner import bound
from picoauth.config import KERNEL, table
from picoauth.settings import LoginSettings, ThrottleSettings, TokenSettings
from tests.asgi import EXAMPLES

BASE = Path("/srv/picoauth")
TABLES: dict[str, Any] = {
    "tokens": TokenSettings,
    "logins": LoginSettings,
    "throttle": ThrottleSettings,
}
URL = "must be a URL such as https://auth.example.com, in lower case"
PORT = "must be without :%s, which browsers leave out"
ENDING = "must end without a slash, and have no user, query or fragment"
ORIGIN = "must be an origin such as https://example.com, in lower case"
HOST = "must be a name such as auth.example.com, without scheme, port and path"
NETWORK = 'must be an address, a network such as 10.0.0.0/8, or "unix"'
ADDRESS = "must be an address such as unix:/run/picoauth.sock or tcp:127.0.0.1:8100"
SECRET = 'must be { env = "NAME" } or { file = "path" }'


def problems(text: str, base: Path = BASE) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, base)
    return list(raised.value.problems)


def with_plugins(text: str) -> str:
    return f'plugins = ["password"]\n{text}'


def test_least_settings() -> None:
    """One line is enough: the rest has defaults, and the secret is a file beside the settings."""
    config = parse("plugins = []", BASE)
    assert Config(plugins=(), secret=config.secret).tokens == config.tokens
    assert (Secret("file /srv/picoauth/picoauth.secret"),) == config.secret
    assert ((), "picoauth.db", ("unix:picoauth.sock",), BASE, {}) == (
        config.plugins,
        config.database,
        config.bind,
        config.base,
        config.tables,
    )


def test_everything() -> None:
    """Every setting of the server is taken as it is written."""
    config = parse(
        """
        plugins = ["password", "totp"]
        public_url = "https://auth.example.com"
        bind = ["unix:/run/picoauth.sock", "tcp:[::1]:8100"]
        admin_bind = ["tcp:127.0.0.1:8101"]
        socket_mode = "0600"
        socket_group = "www-data"
        database = "libsql://db.example.com"
        secret = [{ env = "NEW" }, { file = "old.secret" }]
        trusted_proxies = ["unix", "10.0.0.0/8", "::1"]
        allowed_hosts = ["Auth.example.org", "10.1.2.3", "::2"]
        cors_origins = ["https://app.example.com", "http://localhost:3000"]
        ignore_factors = ["sms"]
        [tokens]
        audience = "api"
        access_life = "5m"
        [password]
        register = false
        """,
        BASE,
    )
    assert ("password", "totp") == config.plugins
    assert (Secret("env NEW"), Secret("file /srv/picoauth/old.secret")) == config.secret
    assert Seconds(300) == config.tokens.access_life
    assert "api" == config.audience
    assert {"password": {"register": False}} == config.tables
    assert config.hosts == {
        "auth.example.com",
        "auth.example.org",
        "10.1.2.3",
        "::2",
        "127.0.0.1",
        "localhost",
        "::1",
    }
    assert [
        "unix:/run/picoauth.sock",
        "tcp:[::1]:8100",
        "tcp:127.0.0.1:8101",
        0o600,
        "www-data",
    ] == [*bound(config).public, *bound(config).admin, bound(config).socket_mode, bound(config).socket_group]  # fmt: skip


def test_audience_is_the_issuer_by_default() -> None:
    """`aud` is `public_url` where nothing else is set."""
    assert "http://127.0.0.1:8100" == parse("plugins = []", BASE).audience


def test_sockets_count_from_the_file() -> None:
    """A relative path of a socket counts from the settings file."""
    assert ["unix:/srv/picoauth/picoauth.sock"] == bound(parse("plugins = []", BASE)).public


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("plugin = 1", 'plugin: is unknown, did you mean "plugins"?'),
        ("colour = 1", "colour: is unknown."),
        ('public_url = "auth.example.com"', f"public_url: {URL}."),
        ('public_url = "ftp://example.com"', f"public_url: {URL}."),
        ('public_url = "https://"', f"public_url: {URL}."),
        ('public_url = "https://["', f"public_url: {URL}."),
        ('public_url = "https://a.example:http"', f"public_url: {URL}."),
        ('public_url = "https://a.example:99999"', f"public_url: {URL}."),
        ('public_url = "https://Auth.example"', f"public_url: {URL}."),
        ('public_url = "HTTPS://auth.example"', f"public_url: {URL}."),
        ('public_url = "https://b\u00fccher.example"', f"public_url: {URL}."),
        ('public_url = "https://a.example/ b"', f"public_url: {URL}."),
        ('public_url = "https://a.example\\n"', f"public_url: {URL}."),
        ('public_url = "https://a.example/"', f"public_url: {ENDING}."),
        ('public_url = "https://a.example?"', f"public_url: {ENDING}."),
        ('public_url = "https://a.example?x=1"', f"public_url: {ENDING}."),
        ('public_url = "https://a.example#x"', f"public_url: {ENDING}."),
        ('public_url = "https://:hunter2@a.example"', f"public_url: {ENDING}."),
        ('public_url = "https://a.example:443"', f"public_url: {PORT % 443}."),
        ('public_url = "http://localhost:80/x"', f"public_url: {PORT % 80}."),
        (
            'public_url = "http://a.example"',
            "public_url: must begin with https:// (http:// is for loopback only).",
        ),
        ("bind = []", "bind: must have at least 1 item."),
        ('bind = "unix:a"', "bind: must be a list."),
        ('bind = ["unix:a", "8100"]', f"bind[1]: {ADDRESS}."),
        ('bind = ["unix:"]', f"bind[0]: {ADDRESS}."),
        ('bind = ["tcp:127.0.0.1"]', f"bind[0]: {ADDRESS}."),
        ('bind = ["unix:a\\u0000b"]', "bind[0]: must not have a NUL."),
        ('admin_bind = ["tcp:x"]', f"admin_bind[0]: {ADDRESS}."),
        ("socket_mode = 0o660", "socket_mode: must be a text."),
        ('socket_mode = "66"', "socket_mode: must have at least 3 characters."),
        ('socket_mode = "00660"', "socket_mode: must have at most 4 characters."),
        ('socket_mode = "0888"', 'socket_mode: must be an octal number such as "0660".'),
        ('socket_group = ""', "socket_group: must have at least 1 character."),
        ('database = ""', "database: must have at least 1 character."),
        ('secret = "hunter2"', f"secret: {SECRET}."),
        ("secret = []", "secret: must have at least 1 item."),
        ('secret = [{ env = "A" }, 3]', f"secret: {SECRET}."),
        ('secret = { env = "" }', f"secret: {SECRET}."),
        ('secret = { file = "a\\u0000" }', f"secret: {SECRET}."),
        ('secret = { env = "A", file = "b" }', f"secret: {SECRET}."),
        ("secret = { env = 3 }", f"secret: {SECRET}."),
        ('trusted_proxies = ["unix", "10.0.0.1/8"]', f"trusted_proxies[1]: {NETWORK}."),
        ('trusted_proxies = ["proxy"]', f"trusted_proxies[0]: {NETWORK}."),
        ('allowed_hosts = ["https://a.example"]', f"allowed_hosts[0]: {HOST}."),
        ('allowed_hosts = ["a.example:8100"]', f"allowed_hosts[0]: {HOST}."),
        ('allowed_hosts = ["*"]', f"allowed_hosts[0]: {HOST}."),
        ('cors_origins = ["*"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["null"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://["]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://a.example/"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://a.example:443"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["http://a.example:80"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://u@a.example"]', f"cors_origins[0]: {ORIGIN}."),
        ('cors_origins = ["https://A.example"]', f"cors_origins[0]: {ORIGIN}."),
        ("tokens = 3", "tokens: must be a table."),
        ("[[tokens]]\nidle = 60", "tokens: must be a table."),
        (
            '[tokens]\nalgorithm = "none"',
            '[tokens].algorithm: must be one of "ES256", "ES512", "EdDSA", "HS256".',
        ),
        ('[tokens]\naccess_life = "1h"', "[tokens].access_life: must be at most 900 seconds."),
        ("[tokens]\nwindow = -1", "[tokens].window: must be at least 0 seconds."),
        ('[tokens]\nidle = "99d99h"', '[tokens].idle: must be a number of seconds, or a text such as "10m", "24h" or "14d".'),
        ("[tokens]\nidel = 60", '[tokens].idel: is unknown, did you mean "idle"?'),
        ("[logins]\nflow_tries = 0", "[logins].flow_tries: must be at least 1."),
        ("[throttle]\nfailures = 1e3", "[throttle].failures: must be a whole number."),
        (
            "[token]\nidle = 60",
            (
                "[token]: is for a plugin that is not listed: add it to `plugins`, "
                'or remove the table, did you mean "tokens"?'
            ),
        ),
        (
            "[totp]\ndigits = 6",
            "[totp]: is for a plugin that is not listed: add it to `plugins`, or remove the table.",
        ),
    ],
)  # fmt: skip
def test_one_mistake(line: str, problem: str) -> None:
    """Each mistake is one sentence that says where it is and what belongs there."""
    assert [problem] == problems(with_plugins(line))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "plugins: is missing."),
        ('plugins = "password"', "plugins: must be a list."),
        ('plugins = ["password", 3]', "plugins[1]: must be a text."),
        ('plugins = ["totp", "password", "totp"]', 'plugins: names "totp" twice.'),
        *(
            (f"plugins = [{json.dumps(name)}]", 'plugins[0]: must be a name such as "password".')
            for name in ("", "Password", "-x", "x-", "x--y", "9x", "../x", "x_y", "x\n", "p\u00e4x")
        ),
    ],
)
def test_the_list_of_plugins(line: str, problem: str) -> None:
    """Names of plugins are input like any other, and none is listed twice."""
    assert [problem] == problems(line)


def test_a_table_is_not_blamed_for_a_broken_list() -> None:
    """While nobody knows what is listed, no table is said to be unlisted."""
    assert ["plugins: must be a list."] == problems('plugins = "totp"\n[totp]\ndigits = 6')


def test_every_mistake_at_once() -> None:
    """An operator mends a file once, not mistake by mistake."""
    text = "plugin = []\nbind = [1]\ndatabase = 3\n[tokens]\nidel = 3\n[smtp]\nport = 25"
    assert [
        'plugin: is unknown, did you mean "plugins"?',
        "plugins: is missing.",
        "bind[0]: must be a text.",
        "database: must be a text.",
        '[tokens].idel: is unknown, did you mean "idle"?',
    ] == problems(text)
    assert [
        "colour: is unknown.",
        "[sms]: is for a plugin that is not listed: add it to `plugins`, or remove the table.",
        "[totp]: is for a plugin that is not listed: add it to `plugins`, or remove the table.",
    ] == problems(with_plugins("colour = 3\n[totp]\n[sms]"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plugins = [", "Invalid value (at end of document)"),
        ("x = 1\nx = 2\n", "Cannot overwrite a value (at line 2, column 6)"),
        (f"x = {'9' * 5000}", "Exceeds the limit (4300 digits) for integer string conversion"),
        (f"x = {'[' * 5000}", "maximum recursion depth exceeded"),
    ],
)
def test_no_toml(text: str, problem: str) -> None:
    """What is no TOML, or a number or a nesting without end, is told with its place."""
    [sentence] = problems(text)
    assert sentence.startswith(f"picoauth.toml is not valid TOML: {problem}")


def test_load(tmp_path: Path) -> None:
    """A file's paths count from where it is."""
    path = tmp_path / "picoauth.toml"
    path.write_text("plugins = []", encoding="utf-8")
    assert tmp_path == load(path).base


def test_load_names_the_file(tmp_path: Path) -> None:
    """A file of another name is called by its name."""
    path = tmp_path / "other.toml"
    path.write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path} is not valid TOML: ")


@pytest.mark.parametrize(
    ("name", "option"), [("picoauth.toml", ""), ("x.toml", "--config x.toml ")]
)
def test_load_without_a_file(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file: how to write one, and how to name another."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load(Path(name))
    assert str(raised.value) == (
        f"There is no {name}: write one with `picoauth {option}init`, or name another with --config."
    )


def test_load_what_is_no_file(tmp_path: Path) -> None:
    """A folder, or bytes that are no text: one sentence."""
    with pytest.raises(ConfigError) as raised:
        load(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path} cannot be read: Is a directory. Mend that, or name another with --config."
    )
    path = tmp_path / "latin.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(raised.value) == f"{path} is not UTF-8: write it again, as a text."


def test_load_what_begins_with_a_mark(tmp_path: Path) -> None:
    """Editors of Windows write a byte order mark."""
    path = tmp_path / "marked.toml"
    path.write_bytes(b'\xef\xbb\xbfplugins = ["password"]\n')
    assert ("password",) == tuple(load(path).plugins)


@dataclass(frozen=True)
class Mail:
    """The table of a plugin, with types that only settings have."""

    host: str = described("Where the mail goes.", least=1)
    password: Secret | None = described("What is needed there.", default=None)
    spool: Path = described("Where it waits.", default=Path("spool"))


def test_table_of_a_plugin() -> None:
    """Secrets and paths of a plugin's table count from the file, like the server's."""
    config = parse(
        'plugins = ["post"]\n[post]\nhost = "x"\npassword = { file = "p" }\nspool = "s"', BASE
    )
    expected = Mail("x", Secret("file /srv/picoauth/p"), BASE / "s")
    assert expected == table(config, "post", Mail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["[post].host: is missing."]),
        ("post = 3", ["[post]: must be a table."]),
        (
            '[post]\npasword = "hunter2"\nspool = ""',
            [
                '[post].pasword: is unknown, did you mean "password"?',
                "[post].host: is missing.",
                "[post].spool: must be a path.",
            ],
        ),
        (
            '[post]\nhost = ""\nspool = 3\npassword = "hunter2"',
            [
                "[post].host: must have at least 1 character.",
                f"[post].password: {SECRET}.",
                "[post].spool: must be a path.",
            ],
        ),
    ],
)
def test_mistakes_in_the_table_of_a_plugin(text: str, expected: list[str]) -> None:
    """A plugin's table is checked like the server's settings, and by the same words."""
    config = parse(f'plugins = ["post"]\n{text}', BASE)
    with pytest.raises(ConfigError) as raised:
        table(config, "post", Mail)
    assert expected == list(raised.value.problems)


def test_secret_from_a_file(tmp_path: Path) -> None:
    """A file's content, without the line's end; and where it is, to look at its mode."""
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2\n")
    secret = Secret(f"file {path}")
    assert (b"hunter2", path) == (secret.read(), secret.path)


def test_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable's content; it has no path, and its representation does not show it."""
    monkeypatch.setenv("PICOAUTH_TEST", "hunter2")
    secret = Secret("env PICOAUTH_TEST")
    assert (b"hunter2", None) == (secret.read(), secret.path)
    assert "Secret('env PICOAUTH_TEST')" == repr(secret)


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_secret_that_is_missing(content: bytes | None, tmp_path: Path) -> None:
    """Nothing is no secret, nor is an empty line."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        Secret(f"file {path}").read()
    assert str(raised.value) == (
        f"The secret from file {path} is missing or empty: provide it there."
    )
    assert "PICOAUTH_NOT_SET" not in os.environ
    with pytest.raises(ConfigError) as raised:
        Secret("env PICOAUTH_NOT_SET").read()
    assert str(raised.value) == (
        "The secret from env PICOAUTH_NOT_SET is missing or empty: provide it there."
    )


def test_secret_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in the place of a file is told."""
    with pytest.raises(ConfigError) as raised:
        Secret(f"file {tmp_path}").read()
    assert str(raised.value) == f"The secret file {tmp_path} cannot be read: Is a directory."


MARK = "hunter2-correct-horse"
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["https://[", "tcp:x:99999", "unix:", "0888", "a\0b", "99d", "::1%eth0", MARK, f"https://{MARK}@x"]
)  # fmt: skip
values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, date | time | datetime):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


PLACES: list[tuple[str, ...]] = [
    *((name,) for name in [*sorted(KERNEL), "password", "other"]),
    *((name, field.name) for name, kind in TABLES.items() for field in fields(kind)),
]


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), max_size=4))
def test_any_value_at_any_setting(settings: list[tuple[tuple[str, ...], Any]]) -> None:
    """Settings, or sentences of one line that repeat no value: never anything else."""
    whole: dict[str, Any] = {"plugins": ["password"]}
    for place, value in settings:
        if len(place) == 1:
            whole[place[0]] = value
        elif isinstance(whole.setdefault(place[0], {}), dict):
            whole[place[0]][place[1]] = value
    text = "".join(f"{name} = {toml(value)}\n" for name, value in whole.items())
    for problem in mistakes(text):
        assert problem.isprintable()
        assert problem != "nothing was said"
        assert MARK not in problem or f"{MARK}: is unknown" in problem


def mistakes(text: str) -> list[str]:
    """What is wrong; where nothing is, the settings have to be of use."""
    try:
        config = parse(text, BASE)
    except ConfigError as error:
        return list(error.problems) or ["nothing was said"]
    assert config.hosts
    assert bound(config).public
    assert Proxies.of(config) == Proxies.of(config)
    return []
