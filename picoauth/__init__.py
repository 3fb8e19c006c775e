"""picoauth: a small headless authentication server whose every feature is a plugin."""

from picoauth import problems, replies, shown, tables
from picoauth.additions import Addition, Condition
from picoauth.app import Application, create_app
from picoauth.auth import Auth
from picoauth.callers import Caller
from picoauth.checks import Check
from picoauth.completion import USER
from picoauth.config import load, parse
from picoauth.database import Database, Row, Statement, values_of
from picoauth.devices import device
from picoauth.directory import Directory, Listed, Page
from picoauth.drafts import Draft, Enrolment
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
    BackupRestored,
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
    UserClosed,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserRestored,
)
from picoauth.exchanging import exchange
from picoauth.factors import Attemptee, Challenge, Factor, Payload, Proof, Situation
from picoauth.figures import Figure
from picoauth.flows import Step
from picoauth.hooks import NoSettings, Plugin, hookimpl, hookspec
from picoauth.identifiers import Identifier, identifier, spelling
from picoauth.imports import Imported, ImportField
from picoauth.jobs import Job
from picoauth.keptsessions import KeptSessions, SessionKeeper
from picoauth.mail import Mailer, Message
from picoauth.mailvalues import Link, check_page
from picoauth.mint import Login
from picoauth.outbox import Sender
from picoauth.recipients import Recipient
from picoauth.resealing import Sealed
from picoauth.routes import (
    ANYTHING,
    FORM,
    Administrator,
    EdgeReply,
    EdgeRequest,
    EdgeRoute,
    Guard,
    Reply,
    Request,
    Route,
)
from picoauth.running import run_started, started, user_of
from picoauth.saying import said
from picoauth.secrets import Keyed, Place, strong
from picoauth.sessions import Session, SessionStore
from picoauth.settings import Config, Secret
from picoauth.shapes import Seconds, described, text_of
from picoauth.throttle import Attempt, Limiter
from picoauth.tickets import Ticket
from picoauth.tokens import RESERVED as RESERVED_CLAIMS
from picoauth.tokens import Access
from picoauth.users import User
from picoauth.ways import Query
from picoauth.whose import Whose

__all__ = [
    "ANYTHING",
    "FORM",
    "RESERVED_CLAIMS",
    "USER",
    "Access",
    "AccessRefused",
    "Addition",
    "Administrator",
    "Application",
    "Attempt",
    "Attemptee",
    "Auth",
    "AuthError",
    "BackupRestored",
    "Caller",
    "Challenge",
    "Check",
    "Condition",
    "Config",
    "ConfigError",
    "Conflict",
    "CredentialChanged",
    "Database",
    "Denied",
    "Directory",
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
    "ImportField",
    "Imported",
    "Job",
    "KeptSessions",
    "Keyed",
    "Limiter",
    "Link",
    "Listed",
    "Login",
    "LoginCompleted",
    "LoginFailed",
    "Mailer",
    "Message",
    "MessageDropped",
    "NoSettings",
    "Page",
    "Payload",
    "Place",
    "Plugin",
    "Problem",
    "Proof",
    "Query",
    "Recipient",
    "RefreshReused",
    "Reply",
    "Request",
    "Route",
    "Row",
    "Sealed",
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
    "Step",
    "SteppedUp",
    "Ticket",
    "Unavailable",
    "Undeliverable",
    "User",
    "UserChanged",
    "UserClosed",
    "UserDeleted",
    "UserDisabled",
    "UserEnabled",
    "UserRegistered",
    "UserRestored",
    "Whose",
    "check_page",
    "create_app",
    "described",
    "device",
    "exchange",
    "hookimpl",
    "hookspec",
    "identifier",
    "load",
    "parse",
    "problems",
    "replies",
    "run_started",
    "said",
    "shown",
    "spelling",
    "started",
    "strong",
    "tables",
    "text_of",
    "user_of",
    "values_of",
]
