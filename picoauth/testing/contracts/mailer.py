"""The contract of the slot `mailer`: what is sent arrives as it is, where it should, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from picoauth.errors import Unavailable, Undeliverable
from picoauth.mail import Mailer, Message
from picoauth.testing.contracts.base import KernelContract, give_up, together, unfilled

INJECTED = "eve@example.com"
HOSTILE = tuple(
    f"{before}{end}{header}"
    for before in ("ann", "ann@example.com", "")
    for end, header in (
        ("\r\n", f"Bcc: {INJECTED}"),
        ("\n", f"Bcc: {INJECTED}"),
        ("\r", f"Bcc: {INJECTED}"),
        ("\r\n\r\n", f"Bcc: {INJECTED}"),
        ("\0", f"\r\nBcc: {INJECTED}"),
        (">\r\n", f"RCPT TO:<{INJECTED}>"),
    )
)
ADDRESSES = (
    *HOSTILE,
    f"ann@example.com,{INJECTED}",
    f"ann@example.com, {INJECTED}",
    f"ann@example.com;{INJECTED}",
    f"ann@example.com> <{INJECTED}",
    f"Ann <{INJECTED}>",
    f'"{INJECTED} "@example.com',
    f"undisclosed:{INJECTED};",
    "ann@example.com\0",
    "ann",
    "-OQueueDirectory=/tmp",
)
TEXTS = {
    "unicode": "Grüße, 山田さん!\n\n🗝️ naïve — “quoted” ﷽\n",
    "blank lines": "\n\n  indented\n\ttab\n\n\nend  \n",
    "dots": ".\n..\n. .\n.x\nend\n.\nend\n",
    "smuggling": f"Hello\n.\nMAIL FROM:<{INJECTED}>\nRCPT TO:<{INJECTED}>\nDATA\nBcc: {INJECTED}\n.\nQUIT\n",
    "from": "From here\n>From there\nFrom: eve\n",
    "long line": "x" * 5000 + "\n" + "ü" * 3000 + "\n",
    "codes": "=20 =\n=3D =?utf-8?q?x?= &amp; <b> %0D%0A\n",
    "boundaries": "--\n--=_\n--===============0==\n",
    "link": "https://auth.example.org/a?b=c&d=e#token=" + "f" * 200 + "\n",
}
SUBJECTS = (
    "Hello",
    "Grüße 🗝️ 山田",
    "A long one, " * 40 + "which ends here",
    "ü" * 300,
    "=?utf-8?q?not_encoded?=",
    "Re: [x] <b> & \"quoted\" 'words': a, b; c",
)


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A mail as it arrived, decoded."""

    id: str
    """The left part of its `Message-ID`."""
    to: Sequence[str]
    """Every mailbox that it went to, also those that no header tells of."""
    subject: str
    text: str
    html: str | None
    headers: Sequence[str] = ()
    """Names of its headers, where there are such."""


class MailerContract(KernelContract):
    """Inherit it, and override `mailer` and `arrived`; `down` and `refused` too, if you can.

        class TestMine(MailerContract):
            @pytest.fixture
            def mailer(self, auth):
                return MyMailer(auth)

            async def arrived(self, mailer):
                return [Arrived(id=…, to=[…], subject=…, text=…, html=…) for … in …]

    Ends of lines may be others, and a text may end with one more or less.
    """

    @pytest.fixture
    def mailer(self) -> Mailer:
        """Override it: your mailer, by which nothing was sent yet."""
        unfilled("mailer", "a mailer by which nothing was sent yet")

    async def arrived(self, mailer: Any) -> Sequence[Arrived]:  # noqa: ARG002
        """Override it: all that arrived so far, as soon as it is there."""
        pytest.fail("Override the method `arrived`: it answers what arrived.", pytrace=False)

    @pytest.fixture
    def down(self) -> Mailer:
        """Override it: a mailer whose other side cannot be reached."""
        pytest.skip("`down` is not overridden")

    @pytest.fixture
    def refused(self) -> str:
        """Override it: a mailbox that the other side refuses for good."""
        pytest.skip("`refused` is not overridden")

    @pytest.mark.parametrize("name", TEXTS)
    async def test_text_and_html_arrive(self, mailer: Mailer, name: str) -> None:
        """Whatever is in them: no line ends the mail, and none is changed."""
        text = TEXTS[name]
        for html in (f"<p>{text}</p>", None):
            before = len(await self.arrived(mailer))
            await mailer.send(message(text=text, html=html))
            new = (await self.arrived(mailer))[before:]
            assert [lines(text)] == [lines(got.text) for got in new]
            assert [html and lines(html)] == [got.html and lines(got.html) for got in new]
            assert [("Hello", ["ann@example.com"])] == [(got.subject, list(got.to)) for got in new]

    @pytest.mark.parametrize("subject", SUBJECTS)
    async def test_subject_arrives(self, mailer: Mailer, subject: str) -> None:
        """However long it is, in whatever script."""
        await mailer.send(message(subject=subject))
        assert [subject] == [got.subject for got in await self.arrived(mailer)]

    async def test_sent_twice_is_one_mail(self, mailer: Mailer) -> None:
        """Under one `Message-ID`, that of the message: whoever gets both can tell (RFC 5322, 3.6.4)."""
        for name in ("one", "two", "one"):
            await mailer.send(message(id=name))
        ids = [got.id for got in await self.arrived(mailer)]
        assert {"one", "two"} == set(ids)
        assert 1 == ids.count("two")

    @pytest.mark.parametrize(
        "to", ["ann@example.com", "Ann+x.y@xn--bcher-kva.example", "a_b-c@d.e.example"]
    )
    async def test_goes_to_one(self, mailer: Mailer, to: str) -> None:
        """To whom it says, as it is written, and to nobody else."""
        await mailer.send(message(to="first@example.com"))
        await mailer.send(message(to=to))
        assert [["first@example.com"], [to]] == [list(got.to) for got in await self.arrived(mailer)]

    @pytest.mark.parametrize("to", ["änn@example.com", "a" * 64 + "@" + "b" * 60 + ".example"])
    async def test_goes_to_one_or_nobody(self, mailer: Mailer, to: str) -> None:
        """What not every server can take is refused, and never sent to somebody else."""
        assert await self.tried(mailer, message(to=to)) in ([], [[to]])

    @pytest.mark.parametrize("to", ADDRESSES)
    async def test_address_that_is_none(self, mailer: Mailer, to: str) -> None:
        """It is refused again, at the last place where that can be (E-1)."""
        assert await self.tried(mailer, message(to=to)) in ([], [[to]])

    @pytest.mark.parametrize("value", HOSTILE)
    @pytest.mark.parametrize("member", ["subject", "id", "template", "language", "values"])
    async def test_member_that_would_be_a_header(
        self, mailer: Mailer, member: str, value: str
    ) -> None:
        """It is refused or encoded: no second header, no second mailbox, no text of its own (E-1)."""
        sent = message(**{member: {"name": value, value: "x"} if member == "values" else value})
        assert await self.tried(mailer, sent) in ([], [["ann@example.com"]])
        for got in await self.arrived(mailer):
            assert lines(sent.text) == lines(got.text)
            assert "bcc" not in [header.lower() for header in got.headers]
            assert squeezed(sent.subject) == squeezed(got.subject)

    async def tried(self, mailer: Mailer, sent: Message) -> list[list[str]]:
        """To whom it went; to nobody, where it is refused."""
        [refusal] = await together([mailer.send(sent)])
        got = [list(one.to) for one in await self.arrived(mailer)]
        assert refusal is None or isinstance(refusal, Undeliverable), repr(refusal)
        assert INJECTED not in str(refusal), "an address does not belong into an error (L-2)"
        assert [refusal is None] == [bool(got)], "it is refused, or it arrives"
        return got

    async def test_mailbox_that_is_refused(self, mailer: Mailer, refused: str) -> None:
        """It is Undeliverable, in words without the address; others arrive before and after."""
        await mailer.send(message(id="before"))
        with pytest.raises(Undeliverable) as caught:
            await mailer.send(message(id="refused", to=refused))
        assert refused not in str(caught.value)
        await mailer.send(message(id="after"))
        assert ["before", "after"] == [got.id for got in await self.arrived(mailer)]

    async def test_other_side_is_down(self, down: Mailer) -> None:
        """It is Unavailable, so that it is tried again; with fifty at once, and the next time."""
        for _ in range(2):
            results = await together(down.send(message(id=str(n))) for n in range(50))
            assert {Unavailable} == {type(result) for result in results}
            assert not [each for each in results if "ann@example.com" in str(each)]

    async def test_fifty_at_once(self, mailer: Mailer) -> None:
        """Each arrives once, with its own text, where it should."""
        sent = [numbered(n) for n in range(50)]
        assert [None] * 50 == await together(mailer.send(one) for one in sent)
        got = await self.arrived(mailer)
        expected = {(one.id, one.to, one.subject, lines(one.text)) for one in sent}
        assert expected == {(one.id, *one.to, one.subject, lines(one.text)) for one in got}
        assert 50 == len(got)

    async def test_cancelled_in_mid_send(self, mailer: Mailer) -> None:
        """Who is cut off harms nobody else: the others arrive once, and so does what comes later."""
        sent = [numbered(n) for n in range(20)]
        results = await give_up(mailer.send(one) for one in sent)
        assert [None] * 10 == results[1::2]
        later = [numbered(n) for n in range(20, 30)]
        assert [None] * 10 == await together(mailer.send(one) for one in later)
        got = [one.id for one in await self.arrived(mailer)]
        whole = [one.id for one in (*sent[1::2], *later)]
        assert [1] * 20 == [got.count(name) for name in whole]
        assert len(got) == len(set(got))


def message(**members: Any) -> Message:
    """A mail to Ann in which some members are others."""
    whole = Message(
        id="one", to="ann@example.com", subject="Hello", text="Hello, Ann.\n", expires_at=2**31
    )
    return replace(whole, **members)


def numbered(number: int) -> Message:
    return message(
        id=f"n{number}",
        to=f"user{number}@example.com",
        subject=f"Number {number}",
        text=f"This is number {number}.\n",
    )


def lines(text: str) -> str:
    """Without what a mail changes: how lines end, and whether the last one does."""
    return text.replace("\r\n", "\n").removesuffix("\n")


def squeezed(text: str) -> str:
    """Only what can be seen."""
    return "".join(c for c in text if c.isprintable() and not c.isspace())
