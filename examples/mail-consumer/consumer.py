"""Sends the mails that picoauth-mail-mq put into a queue: `python consumer.py redis://127.0.0.1`."""

from __future__ import annotations

import os
import smtplib
import sys
from email.message import EmailMessage
from typing import Any

import kombu

SENDER = os.environ.get("SENDER", "auth@example.org")


def send(mail: dict[str, Any], message: kombu.Message) -> None:
    """The broker hands a mail out again until it is acknowledged, so that none is lost."""
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = SENDER, mail["to"], mail["subject"]
    letter["Message-ID"] = f"<{mail['id']}@{SENDER.rpartition('@')[2]}>"
    letter.set_content(mail["text"])
    if mail["html"]:
        letter.add_alternative(mail["html"], subtype="html")
    with smtplib.SMTP(
        os.environ.get("SMTP_HOST", "127.0.0.1"), int(os.environ.get("SMTP_PORT", "25"))
    ) as server:
        server.send_message(letter)
    message.ack()


with kombu.Connection(sys.argv[1]) as connection:
    queue = kombu.Queue("picoauth.mail", routing_key="picoauth.mail")
    with connection.Consumer(queue, callbacks=[send], accept=["json"]):
        while True:
            connection.drain_events()
