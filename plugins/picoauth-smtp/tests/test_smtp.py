"""Mail by real servers over TLS: what arrives, what is refused, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import base64
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from mailservers import (
    DEAF,
    HANG,
    ONCE,
    PASSWORD,
    RESET,
    USER,
    MailServer,
    mail_server,
)

from picoauth import Auth, ConfigError, Message, Unavailable, Undeliverable, parse
from picoauth.testing import Clock, serving
from picoauth_fetch.testing import Authority
from picoauth_smtp import SmtpPlugin
from picoauth_smtp.mailer import Patience
from picoauth_smtp.verdicts import judging

ANN = Message(
    id="0123456789",
    to="ann@example.com",
    subject="Hello Ann",
    text="Hello Ann,\n\nopen https://auth.example.org/#token=abc to go on.\n",
    html='<p>Hello Ann, <a href="https://auth.example.org/#token=abc">go on</a>.</p>\n',
    expires_at=2_000_000_000,
)
BOB = replace(ANN, id="9876543210", to="bob@example.com", subject="Hello Bob")
STEPS = ("CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END")
LATE = "the mail server does not answer in time"
BROKEN = "the mail server broke off the connection"
NO_TLS = "the mail server offers no STARTTLS, and nothing is sent without TLS"


@asynccontextmanager
async def mailing(folder: Path, host: str, more: str = "") -> AsyncIterator[SmtpPlugin]:
    """The plugin, while its server runs."""
    plugin = started(folder, f'host = "{host}"\nsender = "Auth <auth@example.org>"\n{more}')
    async with plugin.running():
        yield plugin
    await plugin.auth.database.close()


def started(folder: Path, lines: str) -> SmtpPlugin:
    """The plugin as a server makes it at its start."""
    settings = parse(f'plugins = ["smtp"]\n[smtp]\n{lines}', folder)
    return Auth(settings, clock=Clock()).plugin(SmtpPlugin)


def known(folder: Path, certificates: Authority) -> str:
    """Settings of who has a name and a password there, and trusts the authority of the test."""
    (folder / "smtp.password").write_text(PASSWORD + "\n", encoding="utf-8")
    return (
        f'ca = "{certificates.ca}"\nusername = "{USER}"\npassword = {{ file = "smtp.password" }}\n'
    )


@pytest.fixture
async def there(certificates: Authority) -> AsyncIterator[MailServer]:
    """A server with STARTTLS that wants a login."""
    async with mail_server(starttls=certificates.context(), auth_required=True) as there:
        yield there


@pytest.fixture
async def plugin(
    there: MailServer, tmp_path: Path, certificates: Authority
) -> AsyncIterator[SmtpPlugin]:
    host = f"localhost:{there.port}"
    async with mailing(tmp_path, host, known(tmp_path, certificates)) as plugin:
        yield plugin


async def refused(plugin: SmtpPlugin, message: Message = ANN) -> str:
    """Why a message is not sent: its kind, and a sentence that tells nothing of anybody."""
    with pytest.raises((Unavailable, Undeliverable)) as caught:
        await plugin.delivering.send(message)
    error, said = caught.value, str(caught.value)
    assert (None, True) == (error.__cause__, error.__suppress_context__ or not error.__context__)
    assert [] == [word for word in (message.to, PASSWORD, USER, "hunter2") if word in said]
    return f"{type(error).__name__}: {said}"


async def test_mail(plugin: SmtpPlugin, there: MailServer) -> None:
    """It arrives with the headers that it needs and no others, in both forms, over TLS."""
    await plugin.delivering.send(ANN)
    [envelope], [mail] = there.got, there.mails
    assert ("auth@example.org", ["ann@example.com"]) == (envelope.mail_from, envelope.rcpt_tos)
    headers = {
        "From": "Auth <auth@example.org>",
        "To": "ann@example.com",
        "Subject": "Hello Ann",
        "Message-ID": "<0123456789@example.org>",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
    }
    assert headers == {name: mail[name] for name in headers}
    assert {*headers, "Date", "Content-Type"} == set(mail.keys())
    assert plugin.auth.now() == parsedate_to_datetime(mail["Date"]).timestamp()
    assert "multipart/alternative" == mail.get_content_type()
    parts = [(part.get_content_type(), part.get_content()) for part in mail.iter_parts()]
    assert ANN.html is not None
    crlf = [text.replace("\n", "\r\n") for text in (ANN.text, ANN.html)]
    assert parts in (
        [("text/plain", ANN.text), ("text/html", ANN.html)],
        [("text/plain", crlf[0]), ("text/html", crlf[1])],
    )
    assert ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"] == there.said


async def test_mail_without_html(plugin: SmtpPlugin, there: MailServer) -> None:
    """It is plain text."""
    await plugin.delivering.send(replace(ANN, html=None))
    assert "text/plain" == there.mails[0].get_content_type()


async def test_implicit_tls(tmp_path: Path, certificates: Authority) -> None:
    """TLS from the first byte, and no STARTTLS."""
    more = known(tmp_path, certificates) + 'tls = "implicit"'
    async with (
        mail_server(implicit=certificates.context(), auth_require_tls=False) as there,
        mailing(tmp_path, f"localhost:{there.port}", more) as plugin,
    ):
        await plugin.delivering.send(ANN)
        assert ["EHLO", "AUTH", "MAIL", "RCPT", "DATA"] == there.said
        assert [ANN.subject] == [mail["Subject"] for mail in there.mails]


async def test_plain_on_loopback(tmp_path: Path, certificates: Authority) -> None:
    """A relay on the same machine is asked for no certificate, even if it has one."""
    for options in ({}, {"tls_context": certificates.context("mx.test")}):
        async with (
            mail_server(**options) as there,
            mailing(tmp_path, f"127.0.0.1:{there.port}") as plugin,
        ):
            await plugin.delivering.send(ANN)
            assert ["EHLO", "MAIL", "RCPT", "DATA"] == there.said


async def test_starttls_on_loopback(tmp_path: Path, certificates: Authority) -> None:
    """It is used where the settings say so, by the address in the certificate."""
    more = f'tls = "starttls"\nca = "{certificates.ca}"'
    async with (
        mail_server(starttls=certificates.context()) as there,
        mailing(tmp_path, f"127.0.0.1:{there.port}", more) as plugin,
    ):
        await plugin.delivering.send(ANN)
        assert ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA"] == there.said


async def test_starttls_is_not_offered(tmp_path: Path, certificates: Authority) -> None:
    """Nothing is sent, and least of all the password."""
    async with (
        mail_server(auth_require_tls=False) as there,
        mailing(tmp_path, f"localhost:{there.port}", known(tmp_path, certificates)) as plugin,
    ):
        assert f"Unavailable: {NO_TLS}" == await refused(plugin)
        assert (["EHLO"], 0) == (there.said, there.logins)


async def test_starttls_is_stripped(plugin: SmtpPlugin, there: MailServer) -> None:
    """Somebody on the way takes the offer out, or answers that there is none just now."""
    there.offering = lambda line: "STARTTLS" not in line
    assert f"Unavailable: {NO_TLS}" == await refused(plugin)
    there.offering = lambda _: True
    for answer, said in (
        ("454 4.7.0 not now", "the mail server puts STARTTLS off (454 4.7.0)"),
        ("502 no such command", "the mail server refuses STARTTLS (502)"),
    ):
        there.script["STARTTLS"] = answer
        assert f"Unavailable: {said}" == await refused(plugin)
    assert (set(), 0) == ({*there.said} - {"EHLO", "STARTTLS"}, there.logins)


async def test_offers_before_tls_count_for_nothing(plugin: SmtpPlugin, there: MailServer) -> None:
    """A login that only somebody on the way offered is not made."""
    there.offering = lambda line: "AUTH" not in line
    there.script["EHLO"] = f"{ONCE}250-mx.test\r\n250-AUTH PLAIN\r\n250 STARTTLS"
    assert (
        "Unavailable: the mail server offers no login by password (PLAIN or LOGIN)"
        == await refused(plugin)
    )
    assert ["EHLO", "STARTTLS", "EHLO"] == there.said


TRUST = "Unavailable: the mail server has a certificate that is not trusted: "
BAD = {
    "wrong name": (
        (("mail.example.org",), 0),
        f"{TRUST}Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    "expired": ((("localhost",), 30), f"{TRUST}certificate has expired"),
    "of the future": ((("localhost",), -30), f"{TRUST}certificate is not yet valid"),
}


@pytest.mark.parametrize("way", ["starttls", "implicit"])
@pytest.mark.parametrize("what", [*BAD, "unknown issuer"])
async def test_bad_certificate(
    tmp_path: Path, certificates: Authority, what: str, way: str
) -> None:
    """No mail, no password; and a sentence that says what is wrong with it."""
    if what in BAD:
        (names, age), said = BAD[what]
        context = certificates.context(*names, age=age)
    else:
        other = tmp_path / "other"
        other.mkdir()
        context, said = (
            Authority(other).context(),
            f"{TRUST}unable to get local issuer certificate",
        )
    more = known(tmp_path, certificates) + f'tls = "{way}"'
    options = {"starttls": context} if way == "starttls" else {"implicit": context}
    async with (
        mail_server(**options) as there,
        mailing(tmp_path, f"localhost:{there.port}", more) as plugin,
    ):
        assert said == await refused(plugin)
        assert ([], 0) == ([c for c in there.said if c not in ("EHLO", "STARTTLS")], there.logins)


async def test_system_certificates(
    plugin: SmtpPlugin, monkeypatch: pytest.MonkeyPatch, certificates: Authority, tmp_path: Path
) -> None:
    """Without `ca` it is the system's that are trusted, and they do not know the test's."""
    host = plugin.settings.host
    more = known(tmp_path, certificates).partition("\n")[2]
    async with mailing(tmp_path, host, more) as other:
        assert (await refused(other)).startswith(TRUST)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    async with mailing(tmp_path, host, more) as other:
        await other.delivering.send(ANN)


async def test_no_tls_where_it_is_expected(tmp_path: Path, certificates: Authority) -> None:
    """A port that speaks in clear first, taken for one with TLS from the start."""
    more = f'tls = "implicit"\nca = "{certificates.ca}"'
    async with (
        mail_server() as there,
        mailing(tmp_path, f"localhost:{there.port}", more) as plugin,
    ):
        said = "Unavailable: the mail server cannot be spoken to over TLS"
        assert said == await refused(plugin)


ANSWERS = {
    (
        "CONNECT",
        "421 4.3.2 busy",
    ): "Unavailable: the mail server puts the connection off (421 4.3.2)",
    ("CONNECT", "554 not you"): "Unavailable: the mail server refuses the connection (554)",
    ("EHLO", "421 busy"): "Unavailable: the mail server puts the connection off (421)",
    ("EHLO", "550 not you"): "Unavailable: the mail server refuses the connection (550)",
    ("EHLO", "hello"): "Unavailable: the mail server does not answer as SMTP has it",
    ("AUTH", "535 5.7.8 wrong: hunter2 hunter2"): (
        "Unavailable: the mail server refuses user name and password (535 5.7.8)"
    ),
    ("AUTH", "454 4.7.0 not now"): (
        "Unavailable: the mail server puts user name and password off (454 4.7.0)"
    ),
    ("MAIL", "451 4.3.0 later"): "Unavailable: the mail server puts the sender off (451 4.3.0)",
    (
        "MAIL",
        "550 no auth@example.org here",
    ): "Unavailable: the mail server refuses the sender (550)",
    ("MAIL", "553 5.1.8 who?"): "Unavailable: the mail server refuses the sender (553 5.1.8)",
    ("MAIL", "421 4.7.0 too many"): "Unavailable: the mail server puts the sender off (421 4.7.0)",
    ("RCPT", "550 5.1.1 <ann@example.com> is nobody"): (
        "Undeliverable: the mail server refuses the recipient (550 5.1.1)"
    ),
    ("RCPT", "550 ann@example.com is nobody"): (
        "Undeliverable: the mail server refuses the recipient (550)"
    ),
    ("RCPT", "553 5.1.3 no address"): (
        "Undeliverable: the mail server refuses the recipient (553 5.1.3)"
    ),
    ("RCPT", "450 4.2.0 <ann@example.com>: greylisted"): (
        "Unavailable: the mail server puts the recipient off (450 4.2.0)"
    ),
    ("RCPT", "421 bye"): "Unavailable: the mail server puts the recipient off (421)",
    ("RCPT", "252 perhaps"): "Unavailable: the mail server does not answer as SMTP has it",
    ("RCPT", "554 5.7.1 <ann@example.com>: relay access denied"): (
        "Unavailable: the mail server refuses the recipient (554 5.7.1)"
    ),
    ("RCPT", "530 log in first"): "Unavailable: the mail server refuses the recipient (530)",
    ("RCPT", "553 5.1.8 <auth@example.org>: sender rejected"): (
        "Unavailable: the mail server refuses the recipient (553 5.1.8)"
    ),
    ("RCPT", "503 5.5.1 need MAIL"): (
        "Unavailable: the mail server refuses the recipient (503 5.5.1)"
    ),
    ("DATA", "452 4.3.1 full"): "Unavailable: the mail server puts the message off (452 4.3.1)",
    ("DATA", "554 5.6.0 no"): "Undeliverable: the mail server refuses the message (554 5.6.0)",
    ("DATA", "250 already?"): "Unavailable: the mail server does not answer as SMTP has it",
    ("END", "451 4.3.0 later"): "Unavailable: the mail server puts the message off (451 4.3.0)",
    ("END", "554 5.6.0 no"): "Undeliverable: the mail server refuses the message (554 5.6.0)",
    ("END", "552 5.3.4 too long"): "Undeliverable: the mail server refuses the message (552 5.3.4)",
    ("END", "550 5.7.1 spam?"): "Unavailable: the mail server refuses the message (550 5.7.1)",
    ("END", "999 what"): "Unavailable: the mail server does not answer as SMTP has it",
}


@pytest.mark.parametrize(("step", "answer"), list(ANSWERS))
async def test_answers(plugin: SmtpPlugin, there: MailServer, step: str, answer: str) -> None:
    """What an operator can mend is tried again; what nobody can, is not. The next mail goes."""
    there.script[step] = answer
    assert ANSWERS[step, answer] == await refused(plugin)
    there.script.clear()
    await plugin.delivering.send(BOB)
    assert [BOB.subject] == [mail["Subject"] for mail in there.mails]


@pytest.mark.parametrize("step", STEPS)
async def test_tarpit(plugin: SmtpPlugin, there: MailServer, step: str) -> None:
    """A server that never answers is left after a while, wherever that happens."""
    there.script[step] = HANG
    plugin.delivering.patience = Patience(work=0.3)
    assert f"Unavailable: {LATE}" == await refused(plugin)
    there.script.clear()
    plugin.delivering.patience = Patience()
    await plugin.delivering.send(BOB)
    assert [BOB.subject] == [mail["Subject"] for mail in there.mails]


@pytest.mark.parametrize("step", STEPS)
async def test_reset(plugin: SmtpPlugin, there: MailServer, step: str) -> None:
    """A connection that breaks, also within the message: it is tried again, on another one."""
    there.script[step] = RESET
    assert f"Unavailable: {BROKEN}" == await refused(plugin)
    there.script.clear()
    await plugin.delivering.send(BOB)
    assert [BOB.subject] == [mail["Subject"] for mail in there.mails]


async def test_refused_connection(plugin: SmtpPlugin, there: MailServer) -> None:
    """Nobody listens there; later somebody does."""
    await there.stop()
    assert "Unavailable: the mail server refuses connections" == await refused(plugin)
    await there.start()
    await plugin.delivering.send(ANN)
    assert 1 == len(there.mails)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "has a name that cannot be looked up"),
        (OSError(101, "Network is unreachable"), "cannot be reached"),
    ],
)
async def test_unreachable(error: OSError, said: str) -> None:
    """What only a network of another kind would show."""
    with pytest.raises(Unavailable, match=f"^the mail server {said}$"), judging("the connection"):
        raise error


async def test_one_connection(plugin: SmtpPlugin, there: MailServer) -> None:
    """Fifty messages at once go over one connection, one after the other, each once."""
    messages = [
        replace(ANN, id=f"{n}", to=f"ann{n}@example.com", subject=f"{n}") for n in range(50)
    ]
    await asyncio.gather(*(plugin.delivering.send(message) for message in messages))
    assert (1, 1) == (there.connections, there.logins)
    got = [(e.rcpt_tos[0], m["Subject"]) for e, m in zip(there.got, there.mails, strict=True)]
    assert sorted((m.to, m.subject) for m in messages) == sorted(got)


async def test_restart_between_two(plugin: SmtpPlugin, there: MailServer) -> None:
    """A server that was started anew is found again, without a failure."""
    await plugin.delivering.send(ANN)
    await there.stop()
    await there.start()
    await plugin.delivering.send(BOB)
    assert (2, 2) == (there.connections, len(there.mails))


@pytest.mark.parametrize("answer", ["421 4.7.0 enough for now", RESET, HANG])
async def test_kept_connection_is_gone(plugin: SmtpPlugin, there: MailServer, answer: str) -> None:
    """That is noticed before the message, which goes over a new one."""
    await plugin.delivering.send(ANN)
    plugin.delivering.patience = Patience(probe=0.1)
    there.script["MAIL"] = ONCE + answer
    await plugin.delivering.send(BOB)
    assert (2, 2) == (there.connections, len(there.mails))


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled(plugin: SmtpPlugin, there: MailServer, step: str) -> None:
    """Nothing of a message that was given up is met by the next one."""
    there.script[step] = HANG
    sending = asyncio.create_task(plugin.delivering.send(ANN))
    await there.reaches(step)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert plugin.delivering.kept is None
    there.script.clear()
    await plugin.delivering.send(BOB)
    assert [BOB.subject] == [mail["Subject"] for mail in there.mails]


async def test_cancelled_while_writing(plugin: SmtpPlugin, there: MailServer) -> None:
    """What is still to be written is not: in order it would be finished, and the message arrive."""
    there.script["DATA"] = ONCE + DEAF
    long = replace(ANN, text="all work and no play\n" * 500_000)
    sending = asyncio.create_task(plugin.delivering.send(long))
    await there.reaches("DATA")
    while not written(plugin):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    there.at("HEARING").set()
    await there.reaches("LOST")
    assert (True, False) == (b"From: " in there.heard, there.heard.endswith(b"\r\n.\r\n"))
    await plugin.delivering.send(BOB)
    assert [BOB.subject] == [mail["Subject"] for mail in there.mails]


def written(plugin: SmtpPlugin) -> bool:
    """The message is encrypted, and with the transport, which cannot get rid of it."""
    client = plugin.delivering.kept
    assert client is not None
    below = client.transport._ssl_protocol._transport  # type: ignore[union-attr]
    size: int = below.get_write_buffer_size()
    return size > 1_000_000


def text_of(mail: object) -> str:
    part = mail.get_body(("plain",))  # type: ignore[attr-defined]
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


async def test_cancelled_at_random(plugin: SmtpPlugin, there: MailServer) -> None:
    """Of a hundred at once, every third given up, each that was not arrives once, and as it is."""
    messages = [
        replace(ANN, id=f"{n}", to=f"ann{n}@example.com", subject=f"{n}") for n in range(100)
    ]
    tasks = [asyncio.create_task(plugin.delivering.send(message)) for message in messages]
    for turns, task in enumerate(tasks[::3]):
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(None), asyncio.CancelledError} == {type(result) for result in results}
    got = [(e.rcpt_tos[0], m["Subject"]) for e, m in zip(there.got, there.mails, strict=True)]
    assert {f"ann{subject}@example.com" for _, subject in got} == {to for to, _ in got}
    sent = [m.subject for m, result in zip(messages, results, strict=True) if result is None]
    assert [1] * len(sent) == [[s for _, s in got].count(subject) for subject in sent]


async def test_waiting_in_vain(plugin: SmtpPlugin, there: MailServer) -> None:
    """Who waits for a server that is slow with another message tries again later."""
    there.script["RCPT"] = HANG
    first = asyncio.create_task(plugin.delivering.send(ANN))
    await there.reaches("RCPT")
    plugin.delivering.patience = Patience(turn=0.05)
    said = "Unavailable: the mail server is busy with the messages before"
    assert said == await refused(plugin, BOB)
    first.cancel()
    there.script.clear()
    plugin.delivering.patience = Patience()
    await plugin.delivering.send(BOB)


async def test_refused_address_keeps_the_connection(plugin: SmtpPlugin, there: MailServer) -> None:
    """Strangers' addresses do not make it connect anew each time."""
    for _ in range(3):
        there.script["RCPT"] = f"{ONCE}550 5.1.1 nobody"
        assert (await refused(plugin)).startswith("Undeliverable")
        await plugin.delivering.send(BOB)
    assert (1, 3) == (there.connections, len(there.mails))


@pytest.mark.parametrize("answer", ["421 bye", HANG, RESET])
async def test_reset_is_refused(plugin: SmtpPlugin, there: MailServer, answer: str) -> None:
    """Then there is a new connection; the verdict about the address stays."""
    plugin.delivering.patience = Patience(probe=0.1)
    there.script |= {"RCPT": f"{ONCE}550 5.1.1 nobody", "RSET": ONCE + answer}
    assert (await refused(plugin)).startswith("Undeliverable")
    await plugin.delivering.send(BOB)
    assert (2, 1) == (there.connections, len(there.mails))


async def test_cancelled_in_reset(plugin: SmtpPlugin, there: MailServer) -> None:
    """The connection is given up."""
    there.script |= {"RCPT": f"{ONCE}550 5.1.1 nobody", "RSET": HANG}
    sending = asyncio.create_task(plugin.delivering.send(ANN))
    await there.reaches("RSET")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await plugin.delivering.send(BOB)
    assert (2, 1) == (there.connections, len(there.mails))


async def test_idle_connection_is_closed(plugin: SmtpPlugin, there: MailServer) -> None:
    """With a good-bye; the next message opens another, and waits for no good-bye."""
    plugin.delivering.patience = Patience(idle=0)
    await plugin.delivering.send(ANN)
    await there.reaches("LOST")
    assert ("QUIT", set()) == (there.said[-1], there.open)
    there.script["QUIT"] = HANG
    there.at("QUIT").clear()
    await plugin.delivering.send(ANN)
    await there.reaches("QUIT")
    await plugin.delivering.send(BOB)
    assert (3, 3) == (there.connections, len(there.mails))


async def test_end(tmp_path: Path, there: MailServer, certificates: Authority) -> None:
    """When the server stops, it says good-bye to the mail server, too."""
    host, more = f"localhost:{there.port}", known(tmp_path, certificates)
    async with mailing(tmp_path, host, more) as plugin:
        await plugin.delivering.send(ANN)
    assert "QUIT" == there.said[-1]
    async with mailing(tmp_path, host, more):
        pass
    assert 1 == there.connections


async def test_end_while_sending(plugin: SmtpPlugin, there: MailServer) -> None:
    """A message that is being sent is cut off, and would be sent again."""
    there.script["RCPT"] = HANG
    sending = asyncio.create_task(refused(plugin))
    await there.reaches("RCPT")
    await plugin.delivering.close()
    assert f"Unavailable: {BROKEN}" == await sending


async def test_letters_beyond_ascii(tmp_path: Path) -> None:
    """In subject, text, and in the address where the server takes it (RFC 6531)."""
    other = replace(
        ANN,
        to="jörg@bücher.example",
        subject="Grüße 🗝️",
        text="Grüße, Jörg\n",
        html="<p>Grüße</p>\n",
    )
    ann = replace(other, to="ann@bücher.example")
    async with (
        mail_server(enable_SMTPUTF8=True) as there,
        mailing(tmp_path, f"localhost:{there.port}") as plugin,
    ):
        await plugin.delivering.send(other)
        await plugin.delivering.send(ann)
        assert [True, False] == [envelope.smtp_utf8 for envelope in there.got]
        to = ["jörg@xn--bcher-kva.example", "ann@xn--bcher-kva.example"]
        assert to == [envelope.rcpt_tos[0] for envelope in there.got]
        assert to == [mail["To"] for mail in there.mails]
        assert [other.subject] * 2 == [mail["Subject"] for mail in there.mails]
        assert [other.text] * 2 == [text_of(mail) for mail in there.mails]
        assert there.got[1].content.isascii()  # type: ignore[union-attr]


async def test_address_that_the_server_cannot_take(plugin: SmtpPlugin, there: MailServer) -> None:
    """Nobody can send it; the others go on, over the same connection."""
    await plugin.delivering.send(ANN)
    said = "Undeliverable: the mail server takes no address of such letters (SMTPUTF8)"
    assert said == await refused(plugin, replace(ANN, to="jörg@example.com"))
    await plugin.delivering.send(BOB)
    assert (1, 2) == (there.connections, len(there.mails))


async def test_letters_after_a_restart(tmp_path: Path) -> None:
    """What a connection that is gone offered is no reason to give a mail up."""
    async with (
        mail_server(enable_SMTPUTF8=True) as there,
        mailing(tmp_path, f"localhost:{there.port}") as plugin,
    ):
        await plugin.delivering.send(ANN)
        await there.stop()
        await there.start()
        kept = plugin.delivering.kept
        while kept is not None and kept.is_connected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await plugin.delivering.send(replace(ANN, to="jörg@example.com"))
        assert 2 == len(there.mails)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@localhost",
        "<ann@example.com>",
        "Ann <ann@example.com>",
        "ann@example.com,bob@example.com",
        "ann@example.com, bob@example.com",
        "ann@example.com bob@example.com",
        "ann@example.com>\r\nRCPT TO:<bob@example.com",
        "ann@example.com\n",
        "ann\0@example.com",
        '"ann bob"@example.com',
        "ann@[127.0.0.1]",
        "ann@example.com@example.net",
        "ann\ud800@example.com",
        "ann>\u0338<\u0338bob@example.com",  # which one form of Unicode writes without brackets
        "ann\u202e@example.com",
        f"{'a' * 243}@example.com",
    ],
)
async def test_address_that_is_none(plugin: SmtpPlugin, there: MailServer, to: str) -> None:
    """It is looked at again right here (E-1), and nobody is even connected to."""
    with pytest.raises(Undeliverable, match=r"^the address is not that of one mailbox$"):
        await plugin.delivering.send(replace(ANN, to=to))
    assert 0 == there.connections


@pytest.mark.parametrize(
    "to",
    [
        "o'brien+tag@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a!%#$&*=?^`{|}~/b@example.com",
    ],
)
async def test_odd_addresses(plugin: SmtpPlugin, there: MailServer, to: str) -> None:
    """They are one mailbox, and go to the server, which knows whether it has it."""
    await plugin.delivering.send(replace(ANN, to=to))
    [found] = there.got[0].rcpt_tos
    assert to == found.replace('"', "")


@pytest.mark.parametrize(
    "odd",
    [
        {"subject": "Hello\r\nBcc: bob@example.com"},
        {"subject": "Hello\nBob"},
        {"subject": "Hello \ud800"},
        {"subject": "=?utf-8?q?Hello?=\r\nBcc: bob@example.com"},
        {"subject": "=?utf-8?q?Hello?= \ud800"},
        {"text": "Hello \ud800"},
        {"html": "Hello \ud800"},
        {"id": "1>\r\nBcc: <bob@example.com"},
    ],
    ids=str,
)
async def test_what_no_mail_can_hold(
    plugin: SmtpPlugin, there: MailServer, odd: dict[str, str]
) -> None:
    """Headers and bodies are made by an encoder, which refuses this."""
    said = "Undeliverable: the message has what no mail can hold"
    assert said == await refused(plugin, replace(ANN, **odd))
    assert 0 == there.connections


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?Hello?=",
        "=?utf-8?q?Hello=0D=0ABcc:_bob@example.com?=",
        "Hello =?utf-8?b?DQpCY2M6IGJvYkBleGFtcGxlLmNvbQ==?= Ann",
        "ü =?x " * 40,
    ],
)
async def test_subject_that_looks_encoded(
    plugin: SmtpPlugin, there: MailServer, subject: str
) -> None:
    """It arrives as it is: it was typed by people, who may hide a line break in it."""
    await plugin.delivering.send(replace(ANN, subject=subject))
    [mail] = there.mails
    assert (subject, None) == (mail["Subject"], mail["Bcc"])
    content = there.got[0].content
    assert isinstance(content, bytes)
    assert (True, True) == (content.isascii(), all(len(line) < 80 for line in content.splitlines()))


@pytest.mark.parametrize("end", ["\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r"])
async def test_smuggled_message(plugin: SmtpPlugin, there: MailServer, end: str) -> None:
    """A text that looks like the end of the message and the next commands stays a text."""
    text = f"Hello{end}MAIL FROM:<eve@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n..\r\n."
    await plugin.delivering.send(replace(ANN, text=text, html=None))
    await plugin.delivering.send(BOB)
    assert [["ann@example.com"], ["bob@example.com"]] == [e.rcpt_tos for e in there.got]
    wanted = [line for line in text.replace("\r", "\n").split("\n") if line]
    assert wanted == [line for line in text_of(there.mails[0]).split("\n") if line]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_ways_to_log_in(tmp_path: Path, certificates: Authority, mechanism: str) -> None:
    """Either is enough."""
    [other] = {"PLAIN", "LOGIN"} - {mechanism}
    async with (
        mail_server(
            starttls=certificates.context(), auth_required=True, auth_exclude_mechanism=[other]
        ) as there,
        mailing(tmp_path, f"localhost:{there.port}", known(tmp_path, certificates)) as plugin,
    ):
        await plugin.delivering.send(ANN)
        assert (1, 1) == (there.logins, len(there.mails))


async def test_wrong_password(tmp_path: Path, there: MailServer, certificates: Authority) -> None:
    """It is tried once, since servers lock out who fails often; and the mail is not lost."""
    more = known(tmp_path, certificates)
    (tmp_path / "smtp.password").write_text("wrong", encoding="utf-8")
    async with mailing(tmp_path, f"localhost:{there.port}", more) as plugin:
        said = "Unavailable: the mail server refuses user name and password (535 5.7.8)"
        assert said == await refused(plugin)
        assert 1 == there.logins


async def test_nothing_is_logged(
    plugin: SmtpPlugin, there: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither password nor address, at any level, whatever goes wrong."""
    caplog.set_level("DEBUG")
    for step in STEPS:
        there.script[step] = f"{ONCE}550 5.1.1 {ANN.to} {PASSWORD}"
        await refused(plugin)
    await plugin.delivering.send(ANN)
    text = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("mail."))
    encoded = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    assert [] == [word for word in (ANN.to, PASSWORD, encoded) if word in text]


async def test_nothing_is_connected_at_the_start(tmp_path: Path) -> None:
    """A mail server that is down keeps no server from starting, or from stopping."""
    lines = 'plugins = ["password", "smtp"]\n[smtp]\nhost = "localhost:1"\nsender = "a@example.org"'
    async with serving(tmp_path, lines) as server:
        assert 200 == (await server.get("/health-check")).status_code


def test_library_is_loaded_late() -> None:
    """What does not send does not load it: commands, and a server before its first mail."""
    script = "import sys, picoauth_smtp; sys.exit('aiosmtplib' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", script], check=False).returncode


async def test_doctor(plugin: SmtpPlugin, there: MailServer) -> None:
    """Everything but a mail is tried; what fails is said in a sentence."""
    assert None is await plugin.look()
    assert ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "QUIT"] == there.said
    for step, answer, said in (
        ("CONNECT", RESET, "broke off the connection"),
        ("AUTH", "535 5.7.8 no", "refuses user name and password (535 5.7.8)"),
        ("MAIL", "553 5.7.1 not yours", "refuses the sender (553 5.7.1)"),
    ):
        there.script = {step: answer}
        whole = (
            f"No mail can be sent, since the mail server {said}: see to that server, and to [smtp]."
        )
        assert whole == await plugin.look()
    there.script.clear()
    there.offering = lambda line: "STARTTLS" not in line
    assert (
        f"No mail can be sent, since {NO_TLS}: see to that server, and to [smtp]."
        == await plugin.look()
    )
    assert 0 == len(there.mails)


@pytest.mark.parametrize("step", ["CONNECT", "MAIL", "QUIT"])
async def test_doctor_waits_for_nobody(
    plugin: SmtpPlugin, there: MailServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It gives up in time; a missing good-bye is no fault."""
    monkeypatch.setattr("picoauth_smtp.server.FAREWELL", 0.05)
    if step != "QUIT":
        monkeypatch.setattr(SmtpPlugin, "EXAMINED", 0.3)
    there.script[step] = HANG
    late = f"No mail can be sent, since {LATE}: see to that server, and to [smtp]."
    assert (None if step == "QUIT" else late) == await plugin.look()
    await there.reaches("LOST")


@pytest.mark.parametrize(
    ("host", "tls", "clear"),
    [
        ("mail.example.org", "auto", False),
        ("mail.example.org:25", "none", True),
        ("192.0.2.1", "none", True),
        ("localhost:25", "none", False),
        ("127.0.0.1:25", "auto", False),
    ],
)
async def test_doctor_looks_at_tls(tmp_path: Path, host: str, tls: str, clear: bool) -> None:  # noqa: FBT001
    """Mails in clear over a network are worth a warning."""
    said = (
        "Mails, with their links, go to the mail server in clear: leave out "
        'tls = "none", or take a server on this machine.'
    )
    async with mailing(tmp_path, host, f'tls = "{tls}"') as plugin:
        assert (said if clear else None) == await plugin.look_at_tls()
        checks = {check.name: (check.live, check.level) for check in plugin.checks()}
        assert {"smtp": (False, "warning"), "smtp-tls": (False, "warning")} == checks


HOST = "must be a name such as mail.example.org, or one with a port: mail.example.org:465"
SENDER = "must be an address such as auth@example.org, or Name <auth@example.org>"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "mail example",
        "mail.example.org:",
        "mail.example.org:smtp",
        "mail.example.org:0",
        "mail.example.org:70000",
        "smtp://mail.example.org",
        "mail.example.org/",
        "user@mail.example.org",
        "mail..example.org",
        "mail.example.org.",
        "::1",
        "[::1",
        "bücher.example",
        "mail\\r\\nexample",
    ],
)
async def test_wrong_host(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        started(tmp_path, f'host = "{host}"\nsender = "auth@example.org"')
    assert f"[smtp].host: {HOST}." == str(caught.value)


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "auth",
        "auth@localhost",
        "Auth auth@example.org",
        "Auth <auth@example.org",
        "<auth@example.org>, <b@example.org>",
        "Auth\\r\\nBcc: <b@example.org>",
        "jörg@example.org",
        "Eve <x> <auth@example.org>",
    ],
)
async def test_wrong_sender(tmp_path: Path, sender: str) -> None:
    with pytest.raises(ConfigError) as caught:
        started(tmp_path, f'host = "localhost"\nsender = "{sender}"')
    assert f"[smtp].sender: {SENDER}." == str(caught.value)


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        ("auth@example.org", "auth@example.org"),
        ("<auth@example.org>", "auth@example.org"),
        ("Our Club <auth@example.org>", "Our Club <auth@example.org>"),
        ('\\"Club, Our\\" <auth@example.org>', '"Club, Our" <auth@example.org>'),
        ("Bücher <auth@bücher.example>", "Bücher <auth@xn--bcher-kva.example>"),
    ],
)
async def test_senders(tmp_path: Path, sender: str, shown: str) -> None:
    """Names of all kinds; a domain is the one that is looked up."""
    plugin = started(tmp_path, f'host = "localhost"\nsender = "{sender}"')
    assert shown == str(plugin.sender)
    await plugin.auth.database.close()


TOGETHER = "[smtp]: username and password go together: write both, or neither."
CLEAR = (
    "[smtp]: no password goes over a connection without TLS: "
    'leave out username and password, or tls = "none".'
)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('username = "auth"', TOGETHER),
        ('password = { env = "NOWHERE" }', TOGETHER),
        ('username = "auth"\npassword = { env = "NOWHERE" }\ntls = "none"', CLEAR),
        (
            'username = "auth"\npassword = { env = "NOWHERE" }',
            "The secret from env NOWHERE is missing or empty: provide it there.",
        ),
        (
            'password = "hunter2"',
            '[smtp].password: must be { env = "NAME" } or { file = "path" }.',
        ),
        (
            'ca = "none.pem"',
            "[smtp].ca: {folder}/none.pem cannot be read as certificates: name a file in PEM.",
        ),
        (
            'ca = "odd.pem"',
            "[smtp].ca: {folder}/odd.pem cannot be read as certificates: name a file in PEM.",
        ),
        (
            'tls = "plain"',
            '[smtp].tls: must be one of "auto", "implicit", "starttls", "none".',
        ),
    ],
)
async def test_mistakes(tmp_path: Path, lines: str, said: str) -> None:
    """Each is said at the start, in a sentence."""
    (tmp_path / "odd.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        started(tmp_path, f'host = "localhost"\nsender = "auth@example.org"\n{lines}')
    assert said.replace("{folder}", str(tmp_path)) == str(caught.value)


@pytest.mark.parametrize(
    ("host", "address", "mode", "with_password"),
    [
        ("mail.example.org", ("mail.example.org", 587), "starttls", "starttls"),
        ("Mail.Example.org:465", ("mail.example.org", 465), "implicit", "implicit"),
        ("mail.example.org:25", ("mail.example.org", 25), "starttls", "starttls"),
        ("192.0.2.1:25", ("192.0.2.1", 25), "starttls", "starttls"),
        ("localhost:25", ("localhost", 25), "none", "starttls"),
        ("127.0.0.5", ("127.0.0.5", 587), "none", "starttls"),
        ("[::1]:25", ("::1", 25), "none", "starttls"),
        ("localhost:465", ("localhost", 465), "implicit", "implicit"),
        ("localhost.example.org", ("localhost.example.org", 587), "starttls", "starttls"),
    ],
)
async def test_way_to_the_server(
    tmp_path: Path, host: str, address: tuple[str, int], mode: str, with_password: str
) -> None:
    """The port says how it is encrypted; only loopback is not, and even there no password is."""
    async with mailing(tmp_path, host) as plugin:
        assert (address, mode) == (plugin.settings.address, plugin.settings.mode)
    (tmp_path / "smtp.password").write_text(PASSWORD, encoding="utf-8")
    more = f'username = "{USER}"\npassword = {{ file = "smtp.password" }}'
    async with mailing(tmp_path, host, more) as plugin:
        assert with_password == plugin.settings.mode
