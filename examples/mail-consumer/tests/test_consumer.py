"""What becomes of a mail that is not taken: none is lost for now, and none holds others up."""

from __future__ import annotations

import runpy
import smtplib
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

import kombu
import pytest
from kombu.transport.memory import Channel

CONSUMER = Path(__file__).parents[1] / "consumer.py"
BROKER = "memory://"
QUEUE = kombu.Queue("picoauth.mail", routing_key="picoauth.mail")
REFUSED = (550, b"5.1.1 nobody here has that name")
LATER = (450, b"4.2.0 try later")


class Ended(BaseException):
    """The mail server was handed the last mail, and ends the consumer."""


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker in memory, with nothing in it, that hands out again what nobody acknowledged."""
    monkeypatch.setattr(Channel, "queues", {})
    monkeypatch.setattr(Channel, "do_restore", True)


def put(*names: str, life: int = 600) -> None:
    with kombu.Connection(BROKER) as broker, broker.Producer() as producer:
        for name in names:
            text = {"subject": "Hello", "text": "Hello", "html": None}
            mail = {"id": name, "to": f"{name}@example.com", "expires_at": time.time() + life}
            producer.publish(
                {**text, **mail}, routing_key=QUEUE.name, declare=[QUEUE], serializer="json"
            )


def taken() -> list[str]:
    """Whose mails are in the queue still."""
    found = []
    with kombu.Connection(BROKER) as broker:
        queue = QUEUE(broker.channel())
        while message := queue.get(accept=["json"]):
            message.ack()
            found.append(message.payload["id"])
    return found


def consume(
    monkeypatch: pytest.MonkeyPatch, verdicts: Mapping[str, Exception] | None = None
) -> list[str]:
    """Run the consumer until it is handed the mail `last`; answers whose mails were sent."""
    sent: list[str] = []

    class Smtp:
        def __init__(self, *_: Any) -> None:
            pass

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def send_message(self, letter: EmailMessage) -> None:
            name = letter["To"].partition("@")[0]
            if name == "last":
                raise Ended
            if verdict := (verdicts or {}).get(name):
                raise verdict
            sent.append(name)

    monkeypatch.setattr(smtplib, "SMTP", Smtp)
    monkeypatch.setattr(sys, "argv", [str(CONSUMER), BROKER])
    with suppress(Ended):
        runpy.run_path(str(CONSUMER))
    return sent


def test_mails_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the consumer did not come to the end of stays in the queue."""
    put("ann", "bob", "last")
    assert ["ann", "bob"] == consume(monkeypatch)
    assert ["last"] == taken()


@pytest.mark.parametrize(
    "verdict",
    [
        smtplib.SMTPRecipientsRefused({"bob@example.com": REFUSED}),
        smtplib.SMTPRecipientsRefused({}),  # the address is none that a mail can go to
        smtplib.SMTPDataError(554, b"5.7.1 this is spam"),
        smtplib.SMTPNotSupportedError("SMTPUTF8 not supported by server"),
    ],
    ids=["recipient", "no recipient", "mail", "address beyond ASCII"],
)
def test_refused_for_good(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: Exception
) -> None:
    """The others are sent; the log names the mail, and no address."""
    put("bob", "ann", "last")
    assert ["ann"] == consume(monkeypatch, {"bob": verdict})
    assert ["last"] == taken()
    assert "mail bob is refused for good\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    "verdict",
    [
        smtplib.SMTPRecipientsRefused({"bob@example.com": LATER}),
        smtplib.SMTPDataError(*LATER),
        smtplib.SMTPServerDisconnected("gone"),
        smtplib.SMTPSenderRefused(*REFUSED, "auth@example.org"),  # the operator's to mend
    ],
    ids=["recipient", "mail", "server", "sender"],
)
def test_refused_for_now(monkeypatch: pytest.MonkeyPatch, verdict: smtplib.SMTPException) -> None:
    """It stays in the queue for the next consumer, which sends it."""
    put("bob")
    with pytest.raises(type(verdict)):
        consume(monkeypatch, {"bob": verdict})
    put("last")
    assert ["bob"] == consume(monkeypatch)
    assert ["last"] == taken()


def test_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that no longer works is not sent."""
    put("bob", life=-1)
    put("ann", "last")
    assert ["ann"] == consume(monkeypatch)
    assert ["last"] == taken()
