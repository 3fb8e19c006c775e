"""Mailers that break a promise fail the contract that names it; the kit's keeps them all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, default
from typing import Any

import pytest

from picoauth import Auth, Mailer, Message, NoSettings, Unavailable, Undeliverable
from picoauth.testing import MailPlugin
from picoauth.testing.contracts import Arrived, MailerContract
from tests.mutants import fails, run


class TestCaptured(MailerContract):
    """The kit's own."""

    @pytest.fixture
    def mailer(self, auth: Auth) -> Mailer:
        return MailPlugin(auth, "captured-mail", NoSettings())

    async def arrived(self, mailer: MailPlugin) -> Sequence[Arrived]:
        return [
            Arrived(id=m.id, to=[m.to], subject=m.subject, text=m.text, html=m.html)
            for m in mailer.sent
        ]

    @pytest.fixture
    def down(self, mailer: MailPlugin) -> Mailer:
        mailer.refusal = Unavailable("not now")
        return mailer


class Wire:
    """Writes mails as they go over the wire, and hands them over one after the other."""

    def __init__(self) -> None:
        self.got: list[tuple[Sequence[str], bytes]] = []
        self.up = True
        self.turn = asyncio.Lock()

    async def send(self, message: Message) -> None:
        if not self.up:
            raise Unavailable("the connection was refused")
        to, raw = self.recipients(message), self.raw(message)
        if any(not c.isascii() for each in to for c in each):
            raise Undeliverable("the server takes no such address")
        if "refused@example.com" in to:
            raise Undeliverable("the mailbox was refused")
        await self.hand_over(to, raw)

    async def hand_over(self, to: Sequence[str], raw: bytes) -> None:
        async with self.turn:
            await asyncio.sleep(0)
            self.got.append((to, raw))

    def recipients(self, message: Message) -> Sequence[str]:
        if set(message.to) & set('\r\n\0 ,;<>"') or "@" not in message.to:
            raise Undeliverable("this is no mailbox")
        return [message.to]

    def raw(self, message: Message) -> bytes:
        mail = EmailMessage(policy=SMTP)
        try:
            mail["Subject"] = message.subject
            mail["To"] = message.to
            mail["Message-ID"] = f"<{self.id(message)}@auth.example.org>"
        except ValueError as error:
            raise Undeliverable("a header has several lines") from error
        mail.set_content(message.text)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
        return mail.as_bytes()

    def id(self, message: Message) -> str:
        if not message.id.isalnum():
            raise Undeliverable("the id is none")
        return message.id


def read(to: Sequence[str], raw: bytes) -> Arrived:
    """A mail as whoever gets it reads it."""
    mail: Any = BytesParser(policy=default).parsebytes(raw)
    html = mail.get_body(("html",))
    return Arrived(
        id=str(mail["Message-ID"]).strip("<>").partition("@")[0],
        to=[*to, *(str(mail["Bcc"]).split() if "Bcc" in mail else ())],
        subject=str(mail["Subject"]),
        text=mail.get_body(("plain",)).get_content(),
        html=html and html.get_content(),
        headers=mail.keys(),
    )


class OfWire(MailerContract):
    async def arrived(self, mailer: Wire) -> Sequence[Arrived]:
        return [read(to, raw) for to, raw in mailer.got]


class Plain(Wire):
    """Writes headers as they come."""

    def raw(self, message: Message) -> bytes:
        head = f"Message-ID: <{message.id}@x>\r\nSubject: {message.subject}\r\n\r\n"
        return (head + message.text).encode()


class PlainId(Wire):
    """Writes one of them as it comes."""

    def raw(self, message: Message) -> bytes:
        fine = Message(**{**vars(message), "id": "1"})
        return super().raw(fine).replace(b"<1@auth", f"<{message.id}@auth".encode())


class Listed(Wire):
    """Tells by a header which template it was."""

    def raw(self, message: Message) -> bytes:
        return f"X-Template: {message.template}\r\n".encode() + super().raw(message)


class Spoken(Wire):
    """Tells by a header which language it is in."""

    def raw(self, message: Message) -> bytes:
        return f"Content-Language: {message.language}\r\n".encode() + super().raw(message)


class Tagged(Wire):
    """Tells values by headers."""

    def raw(self, message: Message) -> bytes:
        more = "".join(f"X-Value: {value}\r\n" for value in message.values.values())
        return more.encode() + super().raw(message)


class Splitting(Wire):
    """Takes a list of addresses."""

    def recipients(self, message: Message) -> Sequence[str]:
        if set(message.to) & set("\r\n\0"):
            raise Undeliverable("this is no mailbox")
        return message.to.replace(";", ",").replace(" ", "").split(",")


class Naming(Wire):
    """Takes a display name."""

    def recipients(self, message: Message) -> Sequence[str]:
        if "<" in message.to and "\r" not in message.to:
            return [message.to.partition("<")[2].strip(">")]
        return super().recipients(message)


class Copying(Wire):
    """Keeps the mailboxes of the mail before."""

    seen: tuple[str, ...] = ()

    def recipients(self, message: Message) -> Sequence[str]:
        self.seen = tuple({*self.seen, *super().recipients(message)})
        return self.seen


class LowerCase(Wire):
    """Takes it that no mailbox has capitals."""

    def recipients(self, message: Message) -> Sequence[str]:
        return [each.lower() for each in super().recipients(message)]


class Transliterating(Wire):
    """Sends to who is spelt nearly so."""

    def recipients(self, message: Message) -> Sequence[str]:
        return [each.replace("ä", "a") for each in super().recipients(message)]


class Ascii(Wire):
    """Has no other letters in a text."""

    def raw(self, message: Message) -> bytes:
        text = message.text.encode("ascii", "replace").decode()
        return super().raw(Message(**{**vars(message), "text": text}))


class AsciiSubject(Wire):
    """Has no other letters in a subject."""

    def raw(self, message: Message) -> bytes:
        subject = message.subject.encode("ascii", "replace").decode()
        return super().raw(Message(**{**vars(message), "subject": subject}))


class Short(Wire):
    """Cuts long lines."""

    def raw(self, message: Message) -> bytes:
        text = "\n".join(line[:998] for line in message.text.split("\n"))
        return super().raw(Message(**{**vars(message), "text": text}))


class Stuffing(Wire):
    """Doubles a dot, and does not take it back."""

    def raw(self, message: Message) -> bytes:
        text = message.text.replace("\n.", "\n..")
        return super().raw(Message(**{**vars(message), "text": text}))


class Ending(Wire):
    """Ends where a line has a dot alone."""

    def raw(self, message: Message) -> bytes:
        text = message.text.partition("\n.\n")[0]
        return super().raw(Message(**{**vars(message), "text": text}))


class Mbox(Wire):
    """Takes every mail for one in a file of mails."""

    def raw(self, message: Message) -> bytes:
        text = f"\n{message.text}".replace("\nFrom ", "\n>From ")[1:]
        return super().raw(Message(**{**vars(message), "text": text}))


class Trimming(Wire):
    """Takes away what is at the ends of lines."""

    def raw(self, message: Message) -> bytes:
        text = "\n".join(line.strip() for line in message.text.split("\n"))
        return super().raw(Message(**{**vars(message), "text": text}))


class TextAlone(Wire):
    """Leaves the HTML out."""

    def raw(self, message: Message) -> bytes:
        return super().raw(Message(**{**vars(message), "html": None}))


class Doubling(Wire):
    """Makes HTML of the text where there is none."""

    def raw(self, message: Message) -> bytes:
        html = message.html or f"<pre>{message.text}</pre>"
        return super().raw(Message(**{**vars(message), "html": html}))


class Numbering(Wire):
    """Makes ids of its own."""

    def id(self, message: Message) -> str:
        return f"{len(self.got)}"


class OneId(Wire):
    """Takes the subject for the id."""

    def id(self, message: Message) -> str:
        return message.subject.replace(" ", "")


class Swallowing(Wire):
    """Does not tell that it could not send."""

    async def send(self, message: Message) -> None:
        with suppress(Unavailable, Undeliverable):
            await super().send(message)


class Giving(Wire):
    """Gives up for good where another try might do."""

    async def send(self, message: Message) -> None:
        try:
            await super().send(message)
        except Unavailable as error:
            raise Undeliverable("down") from error


class Telling(Wire):
    """Tells the address in what it says about a failure."""

    async def send(self, message: Message) -> None:
        try:
            await super().send(message)
        except (Unavailable, Undeliverable) as error:
            raise type(error)(f"{message.to}: {error}") from error


class Trying(Wire):
    """Asks for another try where none will do."""

    async def send(self, message: Message) -> None:
        try:
            await super().send(message)
        except Undeliverable as error:
            raise Unavailable("refused") from error


class Shared(Wire):
    """Has one place for what is being sent."""

    async def hand_over(self, to: Sequence[str], raw: bytes) -> None:
        self.now = (to, raw)
        await asyncio.sleep(0)
        self.got.append(self.now)


class Twice(Wire):
    """Sends again at once."""

    async def hand_over(self, to: Sequence[str], raw: bytes) -> None:
        await super().hand_over(to, raw)
        await super().hand_over(to, raw)


class Stuck(Wire):
    """Does not let go of its connection when it is cancelled."""

    async def hand_over(self, to: Sequence[str], raw: bytes) -> None:
        if self.turn.locked():
            raise Unavailable("the connection is in use")
        await self.turn.acquire()
        self.got.append((to, raw))
        await asyncio.sleep(0)
        self.turn.release()


BCC = "ann\r\nBcc: eve@example.com"
UNICODE, DOTS = {"name": "unicode"}, {"name": "dots"}
MAILERS: Sequence[tuple[str, Mapping[str, Any], type[Wire]]] = [
    ("test_text_and_html_arrive", UNICODE, Ascii),
    ("test_text_and_html_arrive", UNICODE, TextAlone),
    ("test_text_and_html_arrive", UNICODE, Doubling),
    ("test_text_and_html_arrive", UNICODE, Twice),
    ("test_text_and_html_arrive", {"name": "blank lines"}, Trimming),
    ("test_text_and_html_arrive", DOTS, Stuffing),
    ("test_text_and_html_arrive", {"name": "smuggling"}, Ending),
    ("test_text_and_html_arrive", {"name": "from"}, Mbox),
    ("test_text_and_html_arrive", {"name": "long line"}, Short),
    ("test_text_and_html_arrive", {"name": "codes"}, TextAlone),
    ("test_text_and_html_arrive", {"name": "boundaries"}, TextAlone),
    ("test_text_and_html_arrive", {"name": "link"}, TextAlone),
    ("test_subject_arrives", {"subject": "Grüße 🗝️ 山田"}, AsciiSubject),
    ("test_sent_twice_is_one_mail", {}, Numbering),
    ("test_sent_twice_is_one_mail", {}, OneId),
    ("test_sent_twice_is_one_mail", {}, Twice),
    ("test_goes_to_one", {"to": "Ann+x.y@xn--bcher-kva.example"}, LowerCase),
    ("test_goes_to_one", {"to": "ann@example.com"}, Copying),
    ("test_goes_to_one_or_nobody", {"to": "änn@example.com"}, Transliterating),
    ("test_address_that_is_none", {"to": "ann@example.com,eve@example.com"}, Splitting),
    ("test_address_that_is_none", {"to": "ann@example.com, eve@example.com"}, Splitting),
    ("test_address_that_is_none", {"to": "ann@example.com;eve@example.com"}, Splitting),
    ("test_address_that_is_none", {"to": "Ann <eve@example.com>"}, Naming),
    ("test_address_that_is_none", {"to": BCC}, Telling),
    ("test_address_that_is_none", {"to": BCC}, Swallowing),
    ("test_address_that_is_none", {"to": BCC}, Trying),
    ("test_member_that_would_be_a_header", {"member": "subject", "value": BCC}, Plain),
    ("test_member_that_would_be_a_header", {"member": "id", "value": BCC}, PlainId),
    ("test_member_that_would_be_a_header", {"member": "template", "value": BCC}, Listed),
    ("test_member_that_would_be_a_header", {"member": "language", "value": BCC}, Spoken),
    ("test_member_that_would_be_a_header", {"member": "values", "value": BCC}, Tagged),
    ("test_mailbox_that_is_refused", {}, Swallowing),
    ("test_mailbox_that_is_refused", {}, Telling),
    ("test_mailbox_that_is_refused", {}, Trying),
    ("test_other_side_is_down", {}, Swallowing),
    ("test_other_side_is_down", {}, Giving),
    ("test_other_side_is_down", {}, Telling),
    ("test_fifty_at_once", {}, Shared),
    ("test_fifty_at_once", {}, Twice),
    ("test_fifty_at_once", {}, Stuck),
    ("test_cancelled_in_mid_send", {}, Stuck),
    ("test_cancelled_in_mid_send", {}, Shared),
]


@pytest.mark.parametrize(("test", "more", "kind"), MAILERS)
async def test_mailers(test: str, more: Mapping[str, Any], kind: type[Wire]) -> None:
    """The test passes for a mailer that is right, and fails for the one that is broken."""
    for each, expected in ((Wire, run), (kind, fails)):
        down = each()
        down.up = False
        also = () if expected is run else (Unavailable, Undeliverable, MessageError)
        fixtures = {"mailer": each(), "down": down, "refused": "refused@example.com", **more}
        await expected(OfWire(), test, *also, **fixtures)
