"""A client that asks a server over HTTP, and a model beside it that says what must happen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from picoauth import Caller, Embedded, Job
from picoauth.testing import Clock, Server, serving
from tests.asgi import Answer, ask, bearer
from tests.stateful_factors import CEREMONIES, PLUGINS, Holder
from tests.stateful_model import (
    ABSOLUTE,
    ACCESS,
    IDLE,
    WINDOW,
    Flow,
    Held,
    Outcome,
    Part,
    Person,
    Session,
    State,
    World,
)
from tests.stateful_server import (
    CHEAP,
    LONG,
    ORIGIN,
    Action,
    Credential,
    Heard,
    Holding,
    claims,
    cookie_of,
    path_of,
    trait,
)


@dataclass
class Bench:
    """One server, everything that its clients know, and the model."""

    server: Server
    world: World
    heard: Heard
    introspect: str
    """The key of a resource server."""
    jobs: Sequence[Job]
    secrets: list[bytes] = field(default_factory=list)
    seen: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    names: int = 0

    # Asking

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: Credential | None = None,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, from a page of ours; take the cookie that its answer sets."""
        headers = [ORIGIN, *(by.headers if by else ())]
        headers += [bearer(token)] if token else []
        content = b""
        if form is not None:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            content = urlencode(form).encode()
        elif body is not None:
            headers.append(("Content-Type", "application/json"))
            content = json.dumps(body).encode()
        answer = await ask(self.server, method, path, content, headers=headers)
        assert answer.status < 500, answer.body
        self.keep(answer)
        if by is not None:
            self.cookie(by.session, answer)
        return answer

    def keep(self, answer: Answer) -> None:
        """Remember each secret that was handed out."""
        body = answer.json if answer.body else {}
        for name in ("access_token", "refresh_token"):
            if isinstance(body, dict) and name in body:
                self.secret(*body[name].split(".")[1:])
        if isinstance(body, dict) and "flow" in body:
            self.secret(body["flow"])

    def secret(self, *texts: str) -> None:
        known = [text.encode() for text in texts]
        self.secrets.extend(one for one in known if one not in self.secrets)

    def cookie(self, session: Session, answer: Answer) -> None:
        """Take the cookie that an answer sets."""
        value = cookie_of(answer)
        if value:
            assert session.delivery == "cookie"
            assert value.startswith(f"{session.id}.")
            self.secret(value.partition(".")[2])
            if value not in session.cookies:
                session.cookies.append(value)

    def credential(self, session: Session, nth: int = 0) -> Credential:
        """The newest token or cookie of a session, or the nth before it."""
        if session.delivery == "cookie":
            value = session.cookies[-1 - nth % len(session.cookies)]
            headers = [("Cookie", f"__Host-picoauth={value}")]
            return Credential(session, headers, newest=value == session.cookies[-1])
        token, end = session.access[-1 - nth % len(session.access)]
        return Credential(session, [bearer(token)], end)

    def admitted(self, by: Credential) -> str | None:
        """The code by which the policy `session` refuses; None where it lets in.

        A cookie past half its life lives longer by being used.
        """
        session, now = by.session, self.world.now
        if by.end is not None:
            if by.end <= now:
                return "token_expired"
            return "session_ended" if session.ended else None
        if not by.newest or not session.alive(now):
            return "session_ended"
        if session.idle_at < session.expires_at and session.idle_at - now < IDLE["cookie"] / 2:
            session.idle_at = min(now + IDLE["cookie"], session.expires_at)
            session.rotated_at = now
        return None

    def fresh(self, by: Credential) -> tuple[int, str] | None:
        """What the policy `fresh` refuses with; None where it lets in."""
        code = self.admitted(by)
        if code is None and not by.session.alive(self.world.now):
            code = "session_ended"
        if code is not None:
            return 401, code
        return None if self.world.fresh(by.session) else (403, "stepup_needed")

    async def acting(self, session: Session, nth: int = 0) -> Credential:
        """A credential; a client whose newest token has expired gets another first."""
        if nth == 0 and session.delivery == "token" and session.access[-1][1] <= self.world.now:
            await self.refresh(session, max(session.refresh, key=lambda t: session.refresh[t]))
        return self.credential(session, nth)

    # People

    async def register(self) -> None:
        self.names += 1
        username, password = f"person{self.names}", self.password()
        answer = await self.ask(
            "POST", "/auth/register", {"username": username, "password": password}
        )
        assert answer.status == 201, answer.body
        user = await self.server.auth.users.require(answer.json["id"])
        someone = Holder(self.server, user, username, {"password": password})
        [enrolment] = await self.server.auth.users.enrolments(user.id)
        held = Held(enrolment.id, "password", confirmed=True)
        self.world.people.append(Person(someone, password, held={held.id: held}))

    def password(self) -> str:
        made = f"marked password {self.server.auth.secrets.random(8).hex()}"
        self.secret(made)
        return made

    async def part(
        self, person: Person, factor: str, challenge: Any = None, *, right: bool = True
    ) -> Part:
        """What somebody sends for a factor."""
        ceremony = self.server.ceremonies[factor]
        make = ceremony.answer if right else ceremony.wrong
        payload = dict(await make(person.someone, challenge or {}))
        texts = [v for name, v in payload.items() if name == factor and isinstance(v, str)]
        self.secret(*(text for text in texts if len(text) >= LONG))
        await self.sync(person)
        held = [h for h in person.held.values() if h.factor == factor]
        return Part(person, factor, payload, right, challenge, held[-1].id if held else None)

    # Flows

    async def begin(
        self, person: Person, factor: str, flow: Flow | None, by: Credential | None
    ) -> tuple[Flow | None, Any]:
        """Ask for a challenge, if the factor has one; answers it with the flow to go on with."""
        if not self.world.traits[factor].asks:
            return flow, None
        asked = await self.server.ceremonies[factor].asks(person.someone)
        body = {**(asked or {}), "factor": factor, **({"flow": flow.secret} if flow else {})}
        session = by.session if by else None
        answer = await self.ask("POST", f"{path_of(session)}/begin", body, by=by)
        expected = self.beginning(flow, by, factor)
        begun = answer.json
        assert (expected.status, True) == (
            answer.status,
            answer.code[1] in expected.codes,
        ), (expected, answer.body)
        if expected.status == 200:
            assert expected.flow is not None
            state = replace(expected.flow, resumed=False)
            states = {**state.challenges, factor: begun["challenge"]}
            return self.handed(begun["flow"], replace(state, challenges=states)), begun["challenge"]
        if expected.flow is not None:
            return self.handed(begun["flow"], expected.flow), None
        assert "flow" not in begun
        return None, None

    def beginning(self, flow: Flow | None, by: Credential | None, factor: str) -> Outcome:
        state = self.entering(flow, by)
        if isinstance(state, Outcome):
            return state
        gone = self.world.gone(state)
        if gone is not None:
            return gone
        if not self.world.usable(factor, state):
            wrong = Outcome(400, frozenset(["factor_out_of_place"]))
            return self.world.again(state.without(factor), wrong, ())
        return Outcome(200, frozenset([None]), flow=state)

    def entering(self, flow: Flow | None, by: Credential | None) -> State | Outcome:
        """The state of a flow that is taken, or how it is refused."""
        if by is not None:
            code = self.admitted(by)
            if code is None and not by.session.alive(self.world.now):
                code = "session_ended"
            if code is not None:
                return Outcome(401, frozenset([code]))
        state = self.world.resumed(flow, by.session if by else None)
        return Outcome(401, frozenset(["flow_ended"])) if state is None else state

    def handed(self, secret: str, state: State) -> Flow:
        """A ticket that the server handed out, none of which was there before."""
        assert secret not in [flow.secret for flow in self.world.flows]
        flow = Flow(secret, state)
        self.world.flows.append(flow)
        return flow

    async def step(
        self,
        parts: Sequence[Part],
        flow: Flow | None = None,
        by: Credential | None = None,
        *,
        delivery: str = "",
        times: int = 1,
        meanwhile: Action | None = None,
    ) -> Flow | None:
        """One step of a login, or of a step-up; answers the flow that goes on.

        `times` as often at once, of which one takes the ticket. `meanwhile` something happens
        when all was looked at, and nothing is written yet.
        """
        main, *others = parts
        body = {**main.payload, "factor": main.factor}
        body |= {part.factor: dict(part.payload) for part in others}
        body |= {"flow": flow.secret} if flow else {}
        body |= {"session": delivery} if delivery else {}
        ordered = [main, *sorted(others, key=lambda p: list(self.world.traits).index(p.factor))]
        state = self.entering(flow, by)
        session = by.session if by else None
        outcomes = (
            [state]
            if isinstance(state, Outcome)
            else list(self.world.outcomes(state, ordered, delivery))
        )
        with self.holding(meanwhile) as held:
            answers = await asyncio.gather(
                *(self.ask("POST", path_of(session), body, by=by) for _ in range(times))
            )
        if not isinstance(state, Outcome):
            late = [a for a in answers if flow and a.code == (401, "flow_ended")]
            answers = [a for a in answers if a not in late] or answers[:1]
            assert len(answers) == 1, [a.body for a in answers]
        if held.came:
            outcomes = [Outcome(401, frozenset(["start_over", "session_ended"]))]
        return self.judge(answers[0], outcomes, by)

    def holding(self, meanwhile: Action | None) -> Holding:
        return Holding(self.server, meanwhile)

    def judge(
        self, answer: Answer, outcomes: Sequence[Outcome], by: Credential | None
    ) -> Flow | None:
        """Compare an answer with what the model says, and go on from there."""
        status, code = answer.code
        fitting = [o for o in outcomes if status == o.status and code in o.codes]
        assert fitting, (status, code, outcomes)
        outcome, body = fitting[0], answer.json
        assert (outcome.flow is None) == ("flow" not in body), (outcome, body)
        assert outcome.next is None or list(outcome.next) == body["next"], (outcome, body)
        self.world.spend(outcome.spends)
        if outcome.complete is not None and by is not None:
            self.stepped_up(by.session, outcome.complete, answer)
        elif outcome.complete is not None:
            self.logged_in(outcome.complete, answer)
        return self.handed(body["flow"], outcome.flow) if outcome.flow is not None else None

    # Sessions

    def logged_in(self, state: State, answer: Answer) -> None:
        now, person, delivery = self.world.now, state.person, state.delivery
        assert person is not None
        assert not person.out
        assert self.world.enough(state)
        ends = now + IDLE[delivery], now + ABSOLUTE[delivery]
        second_at = self.world.second_at(state)
        session = Session("", person, delivery, now, second_at, now, *ends)
        if delivery == "cookie":
            value = cookie_of(answer)
            session.id = value.partition(".")[0]
            self.cookie(session, answer)
            assert answer.json["sid"] == session.id
        else:
            session.id = claims(answer.json["access_token"])["sid"]
            self.granted(session, answer.json)
        assert session.id not in [one.id for one in self.world.sessions]
        self.world.sessions.append(session)

    def stepped_up(self, session: Session, state: State, answer: Answer) -> None:
        session.auth_at = self.world.now
        session.second_at = self.world.second_at(state) or session.second_at
        if session.delivery == "cookie":
            session.generation += 1
            assert session.cookies[-1] == cookie_of(answer)
        else:
            assert "refresh_token" not in answer.json
            self.granted(session, answer.json)

    def granted(self, session: Session, body: Mapping[str, Any]) -> None:
        """Take tokens, which say whose they are."""
        token = body["access_token"]
        read = claims(token)
        expected = session.id, session.person.id, session.auth_at, self.world.now + ACCESS
        assert expected == tuple(read[name] for name in ("sid", "sub", "auth_time", "exp"))
        session.access.append((token, read["exp"]))
        if "refresh_token" in body:
            read = claims(body["refresh_token"])
            assert (session.id, session.generation) == (read["sid"], read["gen"])
            session.refresh[body["refresh_token"]] = (read["gen"], read["exp"])

    async def refresh(self, session: Session, token: str) -> None:
        """Use a refresh token, the newest or a spent one."""
        now, (generation, end) = self.world.now, session.refresh[token]
        answer = await self.ask("POST", "/jwt/refresh", token=token)
        if end <= now:
            assert answer.code == (401, "token_expired"), answer.body
            return
        if session.person.out or not session.alive(now):
            assert answer.code == (401, "session_ended"), answer.body
            return
        spent, age = session.generation - generation, now - session.rotated_at
        if spent == 0 and age >= WINDOW:
            session.generation, session.rotated_at = session.generation + 1, now
            session.idle_at = min(now + IDLE["token"], session.expires_at)
        elif spent not in (0, 1) or age >= WINDOW:
            session.ended = True
            assert answer.code == (401, "session_ended"), answer.body
            return
        assert answer.status == 200, answer.body
        assert answer.json["refresh_token"] not in session.refresh or age < WINDOW
        self.granted(session, answer.json)

    # The account

    async def fresh_only(self, method: str, path: str, body: Any, by: Credential) -> Answer | None:
        """Ask what needs a fresh proof; None where the model says that it was refused."""
        refusal = self.fresh(by)
        answer = await self.ask(method, path, body, by=by)
        if refusal is None:
            return answer
        assert answer.code == refusal, answer.body
        return None

    def changed(self, session: Session, answer: Answer) -> None:
        """A session that changed what proves its user: it has new tokens, all others ended."""
        assert answer.status == 200, answer.body
        now, person = self.world.now, session.person
        self.world.changed(person, session)
        session.generation, session.rotated_at = session.generation + 1, now
        session.idle_at = min(now + IDLE[session.delivery], session.expires_at)
        if session.delivery == "token":
            self.granted(session, answer.json)
        else:
            assert session.cookies[-1] == cookie_of(answer)

    async def change_password(self, by: Credential) -> None:
        person, new = by.session.person, self.password()
        answer = await self.fresh_only("PUT", "/auth/password", {"password": new}, by)
        if answer is None:
            return
        self.changed(by.session, answer)
        person.password = person.someone.notes["password"] = new
        if "password" not in person.confirmed():
            found = await self.server.auth.users.enrolments(person.id)
            [made] = [e.id for e in found if e.factor == "password"]
            person.held[made] = Held(made, "password", confirmed=True)

    async def offer(self, person: Person, factor: str) -> None:
        """Write a factor of somebody, which waits to be confirmed; as its plugin would."""
        before = {e.id for e in await self.server.auth.users.enrolments(person.id)}
        await self.server.ceremonies[factor].enrol(person.someone)
        found = await self.server.auth.users.enrolments(person.id)
        [made] = [e for e in found if e.id not in before]
        person.held[made.id] = Held(made.id, factor, confirmed=made.confirmed_at is not None)
        await self.sync(person)

    async def sync(self, person: Person) -> None:
        """Learn what plugins made or voided of fallbacks, by their hook `record` or when used up."""
        found = await self.server.auth.users.enrolments(person.id)
        for name in self.fallbacks:
            ids = [e.id for e in found if e.factor == name]
            old = [one.id for one in person.held.values() if one.factor == name]
            for gone in set(old) - set(ids):
                del person.held[gone]
            for made in set(ids) - set(old):
                person.held[made] = Held(made, name, confirmed=True)

    @property
    def fallbacks(self) -> list[str]:
        """Those that real plugins manage; the toys' are enrolled as any other."""
        return [name for name, t in self.world.traits.items() if t.fallback and not t.sure]

    def told(self, person: Person, body: Mapping[str, Any]) -> None:
        """Codes that came with an answer."""
        for name in self.fallbacks:
            if name in body:
                codes = person.someone.notes[name] = list(body[name]["codes"])
                self.secret(*codes)

    async def confirm(self, by: Credential, owner: Person, held: Held) -> None:
        answer = await self.fresh_only("POST", "/confirming", {"id": held.id}, by)
        if answer is None:
            return
        if owner is not by.session.person:
            assert answer.code == (404, "not_found"), answer.body
        elif held.confirmed:
            assert answer.code == (401, "start_over"), answer.body
        else:
            held.confirmed = True
            if self.world.traits[held.factor].demanding:
                by.session.second_at = self.world.now
            self.changed(by.session, answer)
            self.told(owner, answer.json)
            await self.sync(owner)

    async def remove(self, by: Credential, owner: Person, held: Held) -> None:
        person = by.session.person
        answer = await self.fresh_only("DELETE", f"/auth/factors/{held.id}", None, by)
        if answer is None:
            return
        if owner is not person:
            assert answer.code == (404, "not_found"), answer.body
        elif self.world.possible(person) and not self.world.possible(person, held.id):
            assert answer.code == (409, "last_factor"), answer.body
        else:
            self.changed(by.session, answer)
            del person.held[held.id]
            await self.sync(person)

    async def rename(self, by: Credential, owner: Person, held: Held) -> None:
        code = self.admitted(by)
        answer = await self.ask("PATCH", f"/auth/factors/{held.id}", {"label": "new"}, by=by)
        expected = (401, code) if code else (204, None)
        if code is None and owner is not by.session.person:
            expected = (404, "not_found")
        assert answer.code == expected, answer.body

    async def logout(self, by: Credential, *, everywhere: bool) -> None:
        code = self.admitted(by)
        path = "/auth/logout_from_all" if everywhere else "/auth/logout"
        answer = await self.ask("POST", path, by=by)
        if code is not None:
            assert answer.code == (401, code), answer.body
            return
        assert answer.status == 204, answer.body
        if everywhere:
            by.session.person.epoch += 1
            self.world.end_all(by.session.person)
        by.session.ended = True

    async def end(self, by: Credential, other: Session) -> None:
        answer = await self.fresh_only("DELETE", f"/auth/sessions/{other.id}", None, by)
        if answer is None:
            return
        own = other.person is by.session.person and not other.ended
        assert answer.code == ((204, None) if own else (404, "not_found")), answer.body
        other.ended |= own

    async def end_others(self, by: Credential) -> None:
        answer = await self.fresh_only("DELETE", "/auth/sessions", None, by)
        if answer is not None:
            assert answer.status == 204, answer.body
            self.world.changed(by.session.person, by.session)

    async def revoke(self, session: Session, token: str, end: int) -> None:
        answer = await self.ask("POST", "/oauth/revoke", form={"token": token})
        assert answer.status == 200, answer.body
        session.ended |= end > self.world.now

    async def delete(self, by: Credential) -> None:
        answer = await self.fresh_only("DELETE", "/auth/me", None, by)
        if answer is not None:
            assert answer.status == 204, answer.body
            by.session.person.deleted = True
            self.world.out(by.session.person)

    async def disable(self, person: Person) -> None:
        await self.server.auth.accounts.disable(person.id, Caller())
        person.disabled = True
        self.world.out(person)

    async def enable(self, person: Person) -> None:
        await self.server.auth.accounts.enable(person.id, Caller())
        person.disabled = False

    async def logout_everywhere(self, person: Person) -> None:
        await self.server.auth.accounts.logout_from_all(person.id, Caller())
        person.epoch += 1
        self.world.end_all(person)

    # Time

    async def clock(self, seconds: int) -> None:
        self.server.clock.advance(seconds)
        await self.server.auth.revocations.poll()  # which the server does twice a second

    async def clean(self) -> None:
        await self.jobs[0].run()
        self.world.cleaned()

    # What always holds

    async def check_tokens(self, kept: int | None = 2) -> None:
        """The rows of sessions; and their tokens and cookies, the newest or all of them."""
        now, world = self.world.now, self.world
        alive = {one.id for one in world.living()}
        sql = "select id from sessions where ended_at is null and idle_at > ? and expires_at > ?"
        rows = await self.server.auth.database.read(sql, (now, now))
        assert alive == {row[0] for row in rows}
        ended = [session for session in world.sessions if session.id not in alive]
        for session in world.living():
            assert not session.person.out
            await self.check_session(session, -kept if kept else 0)
        for session in ended[-kept if kept else 0 :]:
            await self.check_session(session, -kept if kept else 0)

    async def check_session(self, session: Session, start: int) -> None:
        now = self.world.now
        for token, end in session.access[start:]:
            answer = await self.ask("POST", "/jwt/validate", token=token)
            good = end > now and not session.ended
            assert (200 if good else 401) == answer.status, answer.body
            assert not good or session.id == answer.json["sid"]
        good = session.alive(now)  # and what is good is prolonged by a look: it is left alone
        for value in session.cookies[start - 1 : -1 if good else None]:
            by = Credential(session, [("Cookie", f"__Host-picoauth={value}")])
            answer = await self.ask("GET", "/auth/session", by=by)
            assert answer.status == 401, answer.body
        for token, (generation, end) in list(session.refresh.items())[start:]:
            await self.introspected(session, token, generation, end)

    async def introspected(self, session: Session, token: str, generation: int, end: int) -> None:
        """Whether a refresh token would be taken is seen without taking it."""
        now, spent = self.world.now, session.generation - generation
        late = now - session.rotated_at < WINDOW
        good = session.alive(now) and end > now and (spent == 0 or (spent == 1 and late))
        asked = {"token": token}
        answer = await self.ask("POST", "/oauth/introspect", form=asked, token=self.introspect)
        assert good == answer.json["active"], (good, answer.body)

    async def check_flows(self, kept: int | None = 3) -> None:
        """A ticket that was taken is not there any more, for nobody."""
        spent = [flow for flow in self.world.flows if flow.spent]
        for flow in spent[-kept if kept else 0 :]:
            body = {"flow": flow.secret, "factor": "password"}
            answer = await self.ask("POST", "/auth/login", body)
            assert answer.code == (401, "flow_ended"), answer.body

    def check_leaks(self) -> None:
        """What is new in the file, the log and the events, and all of it at times."""
        self.heard.lines, lines = [], self.heard.lines
        events = repr(list(self.server.events))
        self.server.events.clear()
        place = self.written() + "\n".join(lines).encode() + events.encode()
        told = [secret for secret in self.secrets if secret in place]
        assert [] == told

    def written(self) -> bytes:
        """What was written since the last look: the log grows until it starts anew."""
        new = b""
        for path in sorted(self.server.folder.glob("picoauth.db*")):
            content = path.read_bytes()
            if path.name.endswith("-shm"):
                continue
            head, seen = self.seen.get(path.name, (b"", 0))
            same = path.name.endswith("-wal") and content[:32] == head
            new += content[seen if same else 0 :]
            self.seen[path.name] = content[:32], len(content)
        return new


async def opened(stack: AsyncExitStack, folder: Path, settings: str, clock: Clock) -> Bench:
    """A server in whose background nothing is deleted by itself.

    Nothing is lost by a crash that does not happen: so nothing waits for the disk.
    """
    serve = serving(folder, settings, plugins=PLUGINS, ceremonies=CEREMONIES, clock=clock)
    server = await stack.enter_async_context(serve)
    auth = server.auth
    if isinstance(auth.database, Embedded):
        auth.database.writer.execute("pragma synchronous = off")
    jobs, auth.jobs.jobs = auth.jobs.jobs, ()
    plugin: Any = auth.plugins.on["password"]
    plugin.hasher.cost = replace(plugin.hasher.cost, **CHEAP)
    traits = {name: trait(server, name) for name in auth.factors}
    heard, log = Heard(), logging.getLogger()
    stack.callback(log.setLevel, log.level)
    stack.callback(log.removeHandler, heard)
    log.addHandler(heard)
    log.setLevel(logging.DEBUG)
    return Bench(
        server,
        World(traits, server.clock),
        heard,
        introspect=await auth.resource_servers.add("tests"),
        jobs=jobs,
    )
