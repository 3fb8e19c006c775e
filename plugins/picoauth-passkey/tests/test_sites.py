"""The site that passkeys belong to, old keys of another one, and devices whose makers are trusted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from picoauth import ConfigError, parse
from picoauth.auth import Auth
from picoauth.cli import cli
from picoauth.testing import Server
from picoauth.testing.authenticator import Authenticator, Credential, packed, signed
from picoauth_passkey import PasskeyPlugin
from picoauth_passkey.checkups import Checkups
from picoauth_passkey.commands import Importing
from picoauth_passkey.refusals import Refusal
from tests.passkeys import (
    begin,
    begin_enrol,
    bent,
    count,
    device,
    end_enrol,
    enrol,
    login,
    only,
    owner,
    prove,
    running,
    status_check,
    user,
)

APPID = "https://old.example.org/app-id.json"
OLD = f'[passkey]\nappid = "{APPID}"'


def plugin_of(server: Server) -> PasskeyPlugin:
    return server.auth.plugin(PasskeyPlugin)


def plugin(folder: Path, settings: str) -> PasskeyPlugin:
    """With these settings, without a server."""
    return Auth(parse(f'plugins = ["passkey"]\n{settings}', folder)).plugin(PasskeyPlugin)


PARTIES = {
    "": ("localhost", ["http://localhost:8100"]),
    'public_url = "http://localhost"': ("localhost", ["http://localhost"]),
    'public_url = "http://[::1]:81"': ("localhost", ["http://localhost:81"]),
    'public_url = "https://auth.example.com"': ("auth.example.com", ["https://auth.example.com"]),
    'public_url = "https://auth.example.com/x"': ("auth.example.com", ["https://auth.example.com"]),
    'public_url = "https://a.example.com:444"\n[passkey]\nrp_id = "example.com"': (
        "example.com",
        ["https://a.example.com:444"],
    ),
    'public_url = "https://[2001:db8::1]"\n[passkey]\nrp_id = "example.com"\n'
    'related_origins = ["https://b.example"]': (
        "example.com",
        ["https://[2001:db8::1]", "https://b.example"],
    ),
}


@pytest.mark.parametrize("settings", PARTIES)
def test_relying_party(tmp_path: Path, settings: str) -> None:
    """It follows from `public_url`; loopback by number is `localhost` to browsers."""
    party = plugin(tmp_path, settings).party
    assert PARTIES[settings] == (party.id, list(party.origins))


WRONG = {
    'public_url = "https://192.0.2.7"': (
        "Passkeys belong to a name, and public_url has the address 192.0.2.7: "
        "reach the server by a name, or set rp_id in [passkey]."
    ),
    '[passkey]\nrp_id = "https://example.com"': (
        "[passkey].rp_id: must be a domain such as example.com, in lower case."
    ),
    '[passkey]\nrp_id = "192.0.2.7"': (
        "[passkey].rp_id: must be a domain such as example.com, in lower case."
    ),
    '[passkey]\nrelated_origins = ["https://Example.com"]': (
        "[passkey].related_origins[0]: must be an origin such as https://example.com, in lower case."
    ),
    '[passkey]\nrelated_origins = ["https://example.com:443"]': (
        "[passkey].related_origins[0]: must be an origin such as https://example.com, in lower case."
    ),
    '[passkey]\nappid = "example.com"': (
        "[passkey].appid: must be a URL such as https://example.com/app-id.json."
    ),
    '[passkey]\nallowed_aaguids = ["x"]': (
        "[passkey].allowed_aaguids[0]: must be an AAGUID such as "
        "ee882879-721c-4913-9775-3dfcce97072a."
    ),
    '[passkey]\nattestation = "direct"': (
        '[passkey]: attestation = "direct" needs attestation_roots to trust.'
    ),
    '[passkey]\nattestation_roots = ["roots.pem"]': (
        '[passkey]: attestation_roots and allowed_aaguids need attestation = "direct": without it '
        "devices say nothing that could be trusted."
    ),
    '[passkey]\nattestation = "direct"\nattestation_roots = ["none.pem"]': (
        "attestation_roots in [passkey]: {folder}/none.pem cannot be read: No such file or directory."
    ),
    '[passkey]\nattestation = "direct"\nattestation_roots = ["empty.pem"]': (
        "attestation_roots in [passkey]: {folder}/empty.pem has no certificates in PEM: "
        "put those of the makers that you trust into it."
    ),
}


@pytest.mark.parametrize("settings", WRONG)
def test_settings_that_stop_the_server(tmp_path: Path, settings: str) -> None:
    """Each says what is wrong and what to do."""
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigError) as caught:
        plugin(tmp_path, settings)
    assert WRONG[settings].format(folder=tmp_path) == str(caught.value)


CHECKS = {
    "": {
        "passkey-address": "Browsers have no passkeys at http://127.0.0.1:8100: "
        "open http://localhost:8100 in its place."
    },
    'public_url = "http://localhost:8100"': {},
    'public_url = "https://a.example.com"\n[passkey]\nrp_id = "example.com"': {},
    'public_url = "https://example.com"\n[passkey]\nrp_id = "a.example.com"': {
        "passkey-site": "rp_id in [passkey] is a.example.com, which is no domain above example.com: "
        "browsers refuse, unless https://a.example.com/.well-known/webauthn lists "
        "https://example.com."
    },
    'public_url = "https://badexample.com"\n[passkey]\nrp_id = "example.com"': {
        "passkey-site": "rp_id in [passkey] is example.com, which is no domain above badexample.com: "
        "browsers refuse, unless https://example.com/.well-known/webauthn lists "
        "https://badexample.com."
    },
}


@pytest.mark.parametrize("settings", CHECKS)
async def test_what_the_doctor_says(tmp_path: Path, settings: str) -> None:
    """Where browsers would refuse it names the setting."""
    checks = Checkups(plugin(tmp_path, settings)).checks()
    looked = [check for check in checks if check.name != "passkey-lost"]
    said = {check.name: await check.run() for check in looked}
    assert CHECKS[settings] == {name: what for name, what in said.items() if what}


async def test_passkeys_of_another_site(tmp_path: Path) -> None:
    """When `rp_id` changes, the doctor counts what is lost; nobody is asked for it, or let in."""
    ann = device()
    async with running(tmp_path) as server:
        await owner(server, ann)
        assert await Checkups(plugin_of(server)).lost() is None
    above = 'public_url = "https://auth.example.com"'
    async with running(tmp_path, above=above) as server:
        assert await Checkups(plugin_of(server)).lost() == (
            "1 passkeys were registered under another rp_id than auth.example.com, and no browser "
            "offers them here: set rp_id in [passkey] back, or ask their users for new ones."
        )
        begun = await begin(server, username="ann")
        assert packed(only(ann).id) not in str(begun["challenge"])
        moved = bent(ann, origin="https://auth.example.com")
        allowed = [{"id": packed(only(ann).id)}]
        asked = {**begun["challenge"], "rpId": "localhost", "allowCredentials": allowed}
        answer = await prove(server, begun["flow"], moved.get(asked))
        assert (401, "proof_refused", "rp_id") == status_check(answer)
        begun = await begin(server)
        stolen = {**begun["challenge"], "allowCredentials": allowed}
        only(ann).site = "auth.example.com"
        answer = await prove(server, begun["flow"], moved.get(stolen))
        assert (401, "proof_refused", "credential") == status_check(answer)


async def test_related_origins(tmp_path: Path) -> None:
    """Their pages may use the passkeys, and browsers are told which they are."""
    related = '[passkey]\nrelated_origins = ["https://example.net", "https://example.org:8443"]'
    async with running(tmp_path, related) as server:
        answer = await server.get("/.well-known/webauthn")
        assert {"origins": ["https://example.net", "https://example.org:8443"]} == answer.json()
        assert "application/json" == answer.headers["content-type"]
        ann = device(origin="https://example.net")
        await owner(server, ann)
        assert 200 == (await login(server, ann)).status_code
        other = bent(ann, origin="https://example.com")
        assert (401, "proof_refused", "origin") == status_check(await login(server, other))
    async with running(tmp_path) as server:
        assert 404 == (await server.get("/.well-known/webauthn")).status_code


def point(credential: Credential) -> bytes:
    numbers = credential.private_key.public_key().public_numbers()  # type: ignore[union-attr]
    return b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


def line(old: Credential, **more: Any) -> str:
    """As a server of U2F would export it."""
    handle, key = packed(old.id), packed(point(old))
    return json.dumps({"username": "ann", "key_handle": handle, "public_key": key, **more})


async def imported(server: Server, ann: Authenticator, **more: Any) -> Credential:
    await user(server)
    old = ann.made(APPID)
    assert 1 == await Importing(plugin_of(server)).take([line(old, **more), "\n"])
    return old


async def test_keys_of_u2f(tmp_path: Path) -> None:
    """A key from the days of the U2F API logs in by the extension, as a second factor."""
    async with running(tmp_path, OLD) as server:
        ann = device(verified=False)
        old = await imported(server, ann, counter=7, label="Old key")
        old.counter = 7
        begun = await begin(server, username="ann")
        assert {"appid": APPID} == begun["challenge"]["extensions"]
        answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
        assert (401, "more_needed", None) == status_check(answer)
        assert ["pin"] == answer.json()["next"]
        old.counter = 3
        answer = await login(server, ann, username="ann")
        assert (401, "proof_refused", "counter") == status_check(answer)


async def test_appid_only_where_the_browser_says_so(tmp_path: Path) -> None:
    """The signature of an old key for its `appid` is none for the site, nor the other way round."""
    async with running(tmp_path, OLD) as server:
        ann = device(verified=False)
        old = await imported(server, ann)

        def said(value: Any) -> Any:
            return lambda answer: {**answer, "clientExtensionResults": {"appid": value}}

        for value in (False, 1, "true", None):
            asked = bent(ann, told=said(value))
            answer = await login(server, asked, username="ann")
            assert (401, "proof_refused", "rp_id") == status_check(answer)
        begun = await begin(server)  # asks for no appid, since it names nobody
        allowed = [{"id": packed(old.id)}]
        asked_for = {"allowCredentials": allowed, "extensions": {"appid": APPID}}
        signed_ = ann.get({**begun["challenge"], **asked_for})
        answer = await prove(server, begun["flow"], signed_)
        assert (401, "proof_refused", "appid") == status_check(answer)
        begun = await begin(server, username="ann")
        old.site = "localhost"  # the same key, signing for the site
        answer = await prove(server, begun["flow"], ann.get(begun["challenge"]))
        assert (401, "proof_refused", "credential") == status_check(answer)


async def test_new_key_says_appid(tmp_path: Path) -> None:
    """A passkey of the site does not become one of the `appid`."""
    async with running(tmp_path, OLD) as server:
        ann = device()
        token = await user(server)
        begun = await begin_enrol(server, token)
        assert {"credProps": True, "appidExclude": APPID} == begun["options"]["extensions"]
        made = ann.create(begun["options"])
        assert 201 == (await end_enrol(server, token, begun["ticket"], made)).status_code
        assert 200 == (await login(server, ann, username="ann")).status_code
        only(ann).site = APPID
        answer = await login(server, ann, username="ann")
        assert (401, "proof_refused", "credential") == status_check(answer)


async def test_import_again(tmp_path: Path) -> None:
    """What is here already is left as it is."""
    async with running(tmp_path, OLD) as server:
        old = await imported(server, device())
        assert 0 == await Importing(plugin_of(server)).take([line(old)])
        assert 1 == await count(server)


LINES = {
    "": "JSON",
    "[]": "username",
    "5": "JSON",
    '{"username": "ann"}': "key_handle",
    '{"username": "ann", "key_handle": "AAAA"}': "public_key",
    '{"username": "ann", "key_handle": "AAAA", "public_key": "AAAA"}': "public_key",
}
KEY = Authenticator().made(APPID)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("x", "JSON"),
        ("5", "JSON"),
        ("{}", "key_handle"),
        (line(KEY, username=5), "username"),
        (line(KEY, key_handle="?"), "key_handle"),
        (line(KEY, public_key="AAAA"), "public_key"),
        (line(KEY, public_key=packed(b"\x04" + bytes(64))), "public_key"),
        (line(KEY, counter=-1), "counter"),
        (line(KEY, counter=True), "counter"),
        (line(KEY, label=5), "label"),
    ],
)
async def test_import_of_what_is_none(tmp_path: Path, text: str, member: str) -> None:
    """It stops at that line, and says what is wrong; nothing of the line is written."""
    async with running(tmp_path, OLD) as server:
        await user(server)
        with pytest.raises(ConfigError) as caught:
            await Importing(plugin_of(server)).take(["", text])
        assert str(caught.value) == (
            f"Line 2 is no key of U2F, look at its {member}: it needs username, and key_handle and "
            "public_key in base64url; counter and label may follow."
        )
        assert 0 == await count(server)


async def test_import_without_a_user_or_an_appid(tmp_path: Path) -> None:
    """Neither is made up."""
    async with running(tmp_path, OLD) as server:
        with pytest.raises(ConfigError) as caught:
            await Importing(plugin_of(server)).take([line(KEY)])
        said = "Line 1 is of a user who is not here: make the account first."
        assert said == str(caught.value)
    async with running(tmp_path) as server:
        with pytest.raises(ConfigError) as caught:
            await Importing(plugin_of(server)).take([])
        assert str(caught.value) == (
            "Keys of U2F belong to an appid: set the one of their old site in [passkey] first."
        )


def test_import_at_the_command_line(tmp_path: Path) -> None:
    """`picoauth passkey import FILE` says how many were new."""
    settings = tmp_path / "picoauth.toml"
    settings.write_text(f'plugins = ["passkey"]\n{OLD}', encoding="utf-8")

    async def ann() -> None:
        auth = Auth(parse(settings.read_text(), tmp_path))
        async with auth.started():
            await auth.users.register(auth.users.draft(username="ann"))

    asyncio.run(ann())
    command = ["--config", str(settings), "passkey", "import", "-"]
    done = CliRunner().invoke(cli, command, input=line(KEY) + "\n")
    assert (0, "1 keys were taken over.\n") == (done.exit_code, done.output)


def certificate(subject: str, key: Any, issuer: Any = None, model: bytes | None = None) -> Any:
    """One that `issuer`, a name and its key, signed; by default it signs itself."""
    name, now = x509.Name.from_rfc4514_string(f"CN={subject}"), datetime.now(UTC)
    above, signer = issuer or (name, key)
    builder = (
        x509.CertificateBuilder(above, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if model is not None:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, model), critical=False)
    return builder.sign(signer, SHA256())


class Maker:
    """A maker of devices, with the certificate that operators trust."""

    def __init__(self, name: str = "Maker") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = certificate(name, self.key)

    def device(self, model: bytes = bytes(16), named: bytes | None = None) -> Authenticator:
        """A device of a model, whose certificate may name one."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate("Device", key, (self.root.subject, self.key), named)
        chain = [leaf.public_bytes(Encoding.DER)]

        class Attesting(Authenticator):
            def authenticator_data(self, *args: Any, **more: Any) -> bytes:
                data = super().authenticator_data(*args, **more)
                return data[:37] + model + data[53:] if len(data) > 37 else data

            def statement(self, _: Any, data: bytes, client_data: bytes) -> Any:
                from hashlib import sha256

                signature = signed(key, data + sha256(client_data).digest())
                return "packed", {"alg": -7, "sig": signature, "x5c": chain}

        return Attesting(origin="http://localhost:8100")


MODEL, OTHER = b"m" * 16, b"o" * 16
NAMED = "6d6d6d6d-6d6d-6d6d-6d6d-6d6d6d6d6d6d"
OCTETS = b"\x04\x10"


def demanding(folder: Path, *roots: bytes, models: Sequence[str] = ()) -> str:
    (folder / "roots.pem").write_bytes(b"".join(roots))
    listed = f"allowed_aaguids = {json.dumps(list(models))}"
    return f'[passkey]\nattestation = "direct"\nattestation_roots = ["roots.pem"]\n{listed}'


def pem(certificate: Any) -> bytes:
    made: bytes = certificate.public_bytes(Encoding.PEM)
    return made


@pytest.mark.parametrize(
    ("model", "named", "expected"),
    [
        (MODEL, None, None),
        (MODEL, OCTETS + MODEL, None),
        (OTHER, None, "aaguid"),
        (MODEL, OCTETS + OTHER, "aaguid"),
        (MODEL, MODEL, "aaguid"),
    ],
)
async def test_models(
    tmp_path: Path, model: bytes, named: bytes | None, expected: str | None
) -> None:
    """Only those listed are taken, and only where the certificate is for that model."""
    maker = Maker()
    settings = demanding(tmp_path, pem(maker.root), models=[NAMED])
    async with running(tmp_path, settings) as server:
        token = await user(server)
        assert "direct" == (await begin_enrol(server, token))["options"]["attestation"]
        answer = await enrol(server, token, maker.device(model, named))
        assert expected == answer.json().get("check"), answer.text
        assert int(expected is None) == await count(server)


async def test_makers(tmp_path: Path) -> None:
    """Whoever another maker made, who attests itself, or says nothing, is not taken."""
    maker, forger = Maker(), Maker()
    settings = demanding(tmp_path, pem(Maker("Other").root), pem(maker.root))
    refused = {
        "attestation_root": [forger.device(), device(attestation="fido-u2f")],
        "attestation_missing": [device(), device(attestation="packed")],
    }
    async with running(tmp_path, settings) as server:
        token = await user(server)
        for check, devices in refused.items():
            for each in devices:
                answer = await enrol(server, token, each)
                assert (400, "passkey_refused", check) == status_check(answer)
        assert 0 == await count(server)
        answer = await enrol(server, token, maker.device())
        assert 201 == answer.status_code, answer.text


async def test_u2f_makers(tmp_path: Path) -> None:
    """A key of U2F is taken where the certificate of its batch is trusted."""
    ann = device(attestation="fido-u2f")
    _, batch = ann.batch
    settings = demanding(tmp_path, pem(x509.load_der_x509_certificate(batch)))
    async with running(tmp_path, settings) as server:
        token = await user(server)
        answer = await enrol(server, token, ann, kind="security_key")
        assert 201 == answer.status_code, answer.text


async def test_chain_that_is_none(tmp_path: Path) -> None:
    """Whatever stands in its place is refused."""
    maker = Maker()
    async with running(tmp_path, demanding(tmp_path, pem(maker.root))) as server:
        await plugin_of(server).verifying.ready()
        library = plugin_of(server).verifying.library
        trust = library.Trust(plugin_of(server).roots)
        attested = library.Attested(bytes(16), b"", b"")
        for chain in (5, {}, "x", {"a": 1}, [b"x"], [5], [], None):
            with pytest.raises(Refusal):
                trust.check(attested, {"x5c": chain})


def test_library_is_imported_late() -> None:
    """With the first passkey, not with the plugin: most requests need none of it."""
    code = (
        "import sys, picoauth_passkey, picoauth_passkey.registrations\n"
        "heavy = {'webauthn', 'cbor2', 'OpenSSL', 'picoauth_passkey.library'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


async def test_no_library_before_the_first_answer(tmp_path: Path) -> None:
    """Nor to ask for one."""
    async with running(tmp_path) as server:
        token = await user(server)
        await begin_enrol(server, token)
        await begin(server, username="ann")
        assert plugin_of(server).verifying.library is None
