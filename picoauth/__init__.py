"""picoauth: a small headless authentication server whose every feature is a plugin."""

from picoauth import problems, replies
from picoauth.app import Application, create_app
from picoauth.auth import Auth
from picoauth.checks import Check
from picoauth.config import load, parse
from picoauth.database import Database, Row, Statement
from picoauth.embedded import Embedded
from picoauth.errors import (
    AuthError,
    ConfigError,
    Conflict,
    Denied,
    Problem,
    Unavailable,
    Undeliverable,
)
from picoauth.events import (
    AccessRefused,
    Addition,
    Caller,
    CredentialChanged,
    Event,
    FactorConfirmed,
    FactorRemoved,
    IdentifierAdded,
    IdentifierRemoved,
    IdentifierRestored,
    IdentifierVerified,
    LoginCompleted,
    LoginFailed,
    MessageDropped,
    RefreshReused,
    SessionDerived,
    SessionEnded,
    SessionsEnded,
    SigningKeyAdded,
    SigningKeyRetired,
    SteppedUp,
    UserChanged,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
)
from picoauth.factors import Attemptee, Challenge, Factor, Payload, Proof, Situation
from picoauth.figures import Figure
from picoauth.hooks import NoSettings, Plugin, hookimpl, hookspec
from picoauth.identifiers import Identifier, identifier
from picoauth.jobs import Job
from picoauth.keptsessions import KeptSessions, SessionKeeper
from picoauth.mail import Mailer, Message
from picoauth.mailvalues import Link
from picoauth.mint import Login
from picoauth.outbox import Sender
from picoauth.routes import (
    ANYTHING,
    FORM,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Guard,
    Reply,
    Request,
    Route,
)
from picoauth.secrets import Place
from picoauth.sessions import Session, SessionStore
from picoauth.settings import Config, Secret
from picoauth.shapes import Seconds, described
from picoauth.throttle import Attempt, Limiter
from picoauth.tickets import Ticket
from picoauth.tokens import Access
from picoauth.users import Draft, Enrolment, User

__all__ = [
    "ANYTHING",
    "FORM",
    "Access",
    "AccessRefused",
    "Addition",
    "Application",
    "Attempt",
    "Attemptee",
    "Auth",
    "AuthError",
    "Caller",
    "Challenge",
    "Check",
    "Config",
    "ConfigError",
    "Conflict",
    "CredentialChanged",
    "Database",
    "Denied",
    "Draft",
    "EdgeReply",
    "EdgeRequest",
    "EdgeRoute",
    "Embedded",
    "Enrolment",
    "Event",
    "Factor",
    "FactorConfirmed",
    "FactorRemoved",
    "Figure",
    "Guard",
    "Identifier",
    "IdentifierAdded",
    "IdentifierRemoved",
    "IdentifierRestored",
    "IdentifierVerified",
    "Job",
    "KeptSessions",
    "Limiter",
    "Link",
    "Login",
    "LoginCompleted",
    "LoginFailed",
    "Mailer",
    "Message",
    "MessageDropped",
    "NoSettings",
    "Payload",
    "Place",
    "Plugin",
    "Problem",
    "Proof",
    "RefreshReused",
    "Reply",
    "Request",
    "Route",
    "Row",
    "Seconds",
    "Secret",
    "Sender",
    "Session",
    "SessionDerived",
    "SessionEnded",
    "SessionKeeper",
    "SessionStore",
    "SessionsEnded",
    "SigningKeyAdded",
    "SigningKeyRetired",
    "Situation",
    "Statement",
    "SteppedUp",
    "Ticket",
    "Unavailable",
    "Undeliverable",
    "User",
    "UserChanged",
    "UserDeleted",
    "UserDisabled",
    "UserEnabled",
    "UserRegistered",
    "create_app",
    "described",
    "hookimpl",
    "hookspec",
    "identifier",
    "load",
    "parse",
    "problems",
    "replies",
]
