"""Mail into a queue: in memory, as files, in a real Redis and in a real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kombu
import kombu.exceptions
import pytest

from picoauth import Auth, ConfigError, Link, Message, Unavailable, parse
from picoauth.testing import Server, serving
from picoauth.testing.contracts import Arrived, MailerContract
from picoauth_mail_mq import MailQueuePlugin, QueueSettings, broker, payload
from picoauth_mail_mq.broker import Broker, connection
from tests.processes import free_port

CONSUMER = Path(__file__).parents[3] / "examples/mail-consumer/consumer.py"
DEADLINE = 30
"""Seconds after which a test gives up on a program."""
HELLO = Message(
    id="01h2",
    to="ann@example.com",
    subject="Grüße",
    text="Weiter: https://auth.example.org/#x=1\n",
    html="<p>Weiter</p>",
    expires_at=1_800_000_600,
    template="reset/forgot",
    language="de",
    values={"link": Link("https://auth.example.org/#x=1"), "name": "Ann"},
)
MEMBERS = {
    "version": 1,
    "kind": "mail",
    "id": "01h2",
    "to": "ann@example.com",
    "subject": "Grüße",
    "text": "Weiter: https://auth.example.org/#x=1\n",
    "html": "<p>Weiter</p>",
    "expires_at": 1_800_000_600,
    "template": "reset/forgot",
    "language": "de",
    "values": {"link": "https://auth.example.org/#x=1", "name": "Ann"},
}
"""The documented payload, version 1: a change here is a new version."""


def test_payload() -> None:
    """What a consumer gets is what the documentation says, member by member."""
    assert MEMBERS == json.loads(json.dumps(payload(HELLO)))


def eventually(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with suppress(OSError, kombu.exceptions.OperationalError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


@contextmanager
def redis(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: install Debian's package, as .ci/run does"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def answers(url: str) -> bool:
    with kombu.Connection(url, connect_timeout=1) as opened:
        opened.ensure_connection(max_retries=1)
    return True


def rabbit_command() -> str | None:
    return shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin{os.pathsep}/usr/sbin")


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real RabbitMQ on loopback, with everything of its own in a folder of the test's."""
    program = rabbit_command()
    if program is None:
        assert "CI" not in os.environ, "rabbitmq-server is missing: .ci/run installs it"
        pytest.skip("RabbitMQ is not installed (Debian's package rabbitmq-server)")
    folder = tmp_path_factory.mktemp("rabbit")
    (folder / "plugins").write_text("[].")
    port, distribution = free_port(), free_port()
    own = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"picoauth{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),
    }
    with subprocess.Popen(
        [program], env={**os.environ, **own}, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            url = f"amqp://guest:guest@127.0.0.1:{port}//"
            eventually(lambda: answers(url))
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            subprocess.run(
                ["epmd", "-kill"], env={**os.environ, **own}, stdout=subprocess.DEVNULL, check=False
            )


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with redis(tmp_path_factory.mktemp("redis"), port):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(params=["memory", "filesystem", "redis", "rabbit"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of each kind of broker in turn."""
    if request.param == "memory":
        return "memory://"
    if request.param == "filesystem":
        return f"filesystem://{tmp_path}/spool"
    found: str = request.getfixturevalue(
        {"redis": "shared_redis"}.get(request.param, request.param)
    )
    return found


def received(url: str, queue: str, count: int) -> list[dict[str, Any]]:
    """What a consumer gets: so many messages, and no more."""
    found = []
    with connection(broker.checked(url), url) as opened:
        simple = opened.SimpleQueue(kombu.Queue(queue, routing_key=queue, durable=True))
        for _ in range(count):
            message = simple.get(timeout=DEADLINE)
            found.append(message.payload)
            message.ack()
        with pytest.raises(simple.Empty):
            simple.get(block=False)
    return found


async def test_publish(url: str, request: pytest.FixtureRequest) -> None:
    """A mail is in the queue when `send` comes back, whole, and as often as it was sent."""
    publishing = Broker(url, request.node.name)
    await publishing.look()
    await asyncio.gather(*(publishing.publish({**MEMBERS, "id": str(n)}) for n in range(50)))
    found = await asyncio.to_thread(received, url, request.node.name, 50)
    assert [{**MEMBERS, "id": str(n)} for n in range(50)] == sorted(
        found, key=lambda m: int(m["id"])
    )
    publishing.close()


@pytest.mark.parametrize(
    "address",
    ["amqp://guest:hunter2@127.0.0.1:{port}//", "redis://:hunter2@127.0.0.1:{port}"],
)
async def test_nobody_there(address: str) -> None:
    """Another try may succeed; the password of the address is in no word of that."""
    publishing = Broker(address.format(port=free_port()), "mail")
    with pytest.raises(
        Unavailable, match=r"^the broker does not take it \(OperationalError\)$"
    ) as caught:
        await publishing.publish(MEMBERS)
    assert caught.value.__cause__ is None
    assert "hunter2" not in repr(caught.value)
    publishing.close()


async def test_broker_comes_back(tmp_path: Path) -> None:
    """A broker that was restarted gets the next mail by a new connection, at once."""
    port = free_port()
    publishing = Broker(f"redis://127.0.0.1:{port}", "mail")
    with redis(tmp_path, port):
        await publishing.publish(MEMBERS)
    with pytest.raises(Unavailable):
        await publishing.publish(MEMBERS)
    with redis(tmp_path, port):
        await publishing.publish(MEMBERS)
    with redis(tmp_path, port):
        await publishing.publish({**MEMBERS, "id": "second"})
        [message] = await asyncio.to_thread(received, publishing.url, "mail", 1)
        assert "second" == message["id"]
    publishing.close()


async def test_connection_breaks(rabbit: str) -> None:
    """One that was kept, and is dead by now, costs the next mail nothing but a new one."""
    publishing = Broker(rabbit, "breaks")
    await publishing.publish({**MEMBERS, "id": "1"})
    publishing.open().connection.sock.shutdown(socket.SHUT_RDWR)
    await publishing.publish({**MEMBERS, "id": "2"})
    found = await asyncio.to_thread(received, rabbit, "breaks", 2)
    assert ["1", "2"] == [message["id"] for message in found]
    publishing.close()


async def test_broker_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the connection and says nothing costs its patience, and no more."""
    monkeypatch.setattr(broker, "SOCKETS", {"socket_timeout": 0.2, "socket_connect_timeout": 0.2})
    monkeypatch.setattr(broker, "OPTIONS", {"redis": broker.SOCKETS})
    port = free_port()
    with redis(tmp_path, port) as process:
        process.send_signal(signal.SIGSTOP)
        publishing = Broker(f"redis://127.0.0.1:{port}", "mail")
        with pytest.raises(Unavailable):
            await publishing.publish(MEMBERS)
        publishing.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        *(
            (
                url,
                (
                    "[mail-mq].url: must begin with one of amqp://, amqps://, redis://, "
                    "rediss://, sentinel://, sqs://, filesystem://, memory://."
                ),
            )
            for url in ("", "hunter2", "kafka://hunter2", "amqp:hunter2")
        ),
        (
            "filesystem://",
            "[mail-mq].url: must name a folder, as filesystem:///var/spool/mail-mq.",
        ),
    ],
)
def test_addresses_that_are_none(url: str, sentence: str, tmp_path: Path) -> None:
    """One sentence, which does not repeat what may be a password."""
    settings = f'plugins = ["mail-mq"]\n[mail-mq]\nurl = "{url}"\n'
    with pytest.raises(ConfigError) as caught:
        Auth(parse(settings, tmp_path))
    assert sentence == str(caught.value)


def test_address_is_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it may hold a password, it may come from the environment."""
    monkeypatch.setenv("MAIL_MQ", "redis://:hunter2@127.0.0.1")
    settings = 'plugins = ["mail-mq"]\n[mail-mq]\nurl = { env = "MAIL_MQ" }\n'
    auth = Auth(parse(settings, tmp_path))
    assert "redis://:hunter2@127.0.0.1" == auth.plugin(MailQueuePlugin).broker.url
    assert auth.plugin(MailQueuePlugin) is auth.mailer


SETTINGS = 'plugins = ["password", "mail-mq"]\n[mail-mq]\nurl = "{url}"\nqueue = "{queue}"\n'


async def queued(server: Server) -> None:
    """Put a mail into the outbox, and let it be sent."""
    content = json.dumps({name: MEMBERS[name] for name in vars(HELLO)}).encode()
    queuing = server.auth.outbox.queuing(
        "mail", "01h2", content, about="reset/forgot", expires_at=server.auth.now() + 600
    )
    await server.auth.database.write(queuing)
    await server.auth.outbox.flush()


async def test_outbox(tmp_path: Path, shared_redis: str) -> None:
    """What the outbox sends is in the queue; the doctor finds the broker well."""
    settings = SETTINGS.format(url=shared_redis, queue="outbox")
    async with serving(tmp_path, settings) as server:
        await queued(server)
        assert [MEMBERS] == await asyncio.to_thread(received, shared_redis, "outbox", 1)
        [check] = [c for c in server.auth.checks if c.name == "mail-mq broker"]
        assert (None, False) == (await check.run(), check.live)


async def test_outbox_waits(tmp_path: Path) -> None:
    """While the broker is gone, mail stays where it is, and the doctor says why."""
    settings = SETTINGS.format(url=f"redis://127.0.0.1:{free_port()}", queue="mail")
    async with serving(tmp_path, settings) as server:
        await queued(server)
        [row] = await server.auth.outbox.list()
        said = "the broker does not take it (OperationalError)"
        assert (1, 1, said) == (row["waits"], row["tries"], row["error"])
        [check] = [c for c in server.auth.checks if c.name == "mail-mq broker"]
        assert (
            f"No mail leaves, since {said}: see to [mail-mq] and to the broker."
            == await check.run()
        )


class TestMailQueue(MailerContract):
    """What every mailer promises, by a broker in the memory."""

    @pytest.fixture
    async def mailer(self, auth: Auth) -> AsyncIterator[MailQueuePlugin]:
        self.queue = f"contract {id(self)}"
        plugin = MailQueuePlugin(auth, "mail-mq", QueueSettings("memory://", self.queue))
        self.found: list[Arrived] = []
        yield plugin
        plugin.broker.close()

    @pytest.fixture
    def down(self, auth: Auth) -> MailQueuePlugin:
        return MailQueuePlugin(auth, "mail-mq", QueueSettings(f"redis://127.0.0.1:{free_port()}"))

    async def arrived(self, mailer: MailQueuePlugin) -> Sequence[Arrived]:
        await mailer.broker.inside(lambda: self.take(mailer.broker.open()))
        return self.found

    def take(self, opened: kombu.Connection) -> None:
        simple = opened.SimpleQueue(self.queue)
        with suppress(simple.Empty):
            while message := simple.get(block=False):
                message.ack()
                got = {name: message.payload[name] for name in ("id", "subject", "text", "html")}
                self.found.append(Arrived(to=[message.payload["to"]], **got))


# The consumer of the examples.


class Inbox(threading.Thread):
    """A small SMTP server that takes one mail after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.mails: list[str] = []

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, client.makefile("rw") as lines:
                    self.talk(lines)

    def talk(self, lines: Any) -> None:
        def say(text: str) -> None:
            lines.write(f"{text}\r\n")
            lines.flush()

        say("220 inbox")
        for line in lines:
            word = line.split(maxsplit=1)[0].upper()
            if word == "DATA":
                say("354 go on")
                self.mails.append("".join(iter(lines.readline, ".\n")))
            say("221 bye" if word == "QUIT" else "250 ok")
            if word == "QUIT":
                return


def test_consumer(shared_redis: str, tmp_path: Path) -> None:
    """Forty lines take the mail out of the queue and send it, under the same Message-ID."""
    assert len(CONSUMER.read_text().splitlines()) <= 40
    inbox = Inbox()
    inbox.start()
    publishing = Broker(shared_redis, "picoauth.mail")
    soon = int(time.time()) + 600  # by the consumer's own clock
    asyncio.run(publishing.publish({**payload(HELLO), "expires_at": soon}))
    publishing.close()
    where = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(inbox.port)}
    command = [sys.executable, str(CONSUMER), shared_redis]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **where}) as process:
        try:
            eventually(lambda: inbox.mails)
        finally:
            process.terminate()
            inbox.listener.close()
    [mail] = inbox.mails
    assert "Message-ID: <01h2@example.org>" in mail
    assert "To: ann@example.com" in mail
