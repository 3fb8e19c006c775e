"""Sends the mails that picoauth-mail-mq put into a queue: `python consumer.py redis://127.0.0.1`."""

import os
import sys
import time
from email.message import EmailMessage
from smtplib import SMTP, SMTPDataError, SMTPNotSupportedError, SMTPRecipientsRefused
from typing import Any

import kombu

SENDER = os.environ.get("SENDER", "auth@example.org")
SERVER = os.environ.get("SMTP_HOST", "127.0.0.1"), int(os.environ.get("SMTP_PORT", "25"))
QUEUE = kombu.Queue("picoauth.mail", routing_key="picoauth.mail")


def send(mail: dict[str, Any], message: kombu.Message) -> None:
    """The broker hands a mail out again until it is acknowledged, or refused for good."""
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = SENDER, mail["to"], mail["subject"]
    letter["Message-ID"] = f"<{mail['id']}@{SENDER.rpartition('@')[2]}>"
    letter.set_content(mail["text"])
    if mail["html"]:
        letter.add_alternative(mail["html"], subtype="html")
    try:
        if mail["expires_at"] > time.time():
            with SMTP(*SERVER) as server:
                server.send_message(letter)
        message.ack()
    except (SMTPRecipientsRefused, SMTPDataError, SMTPNotSupportedError) as error:
        codes = [code for code, _ in getattr(error, "recipients", {}).values()]
        if any(str(code).startswith("4") for code in (*codes, getattr(error, "smtp_code", ""))):
            raise  # for now: the next consumer is handed it again
        sys.stderr.write(f"mail {mail['id']} is refused for good\n")
        message.reject()


with kombu.Connection(sys.argv[1]) as mq, mq.Consumer(QUEUE, callbacks=[send], accept=["json"]):
    while True:
        mq.drain_events()
