"""The kernel's own tables. Append only: what is here was applied somewhere."""

TABLES = frozenset(
    {
        "users",
        "identifiers",
        "retired_names",
        "enrolments",
        "sessions",
        "tickets",
        "signing_keys",
        "resource_servers",
        "revocations",
        "throttle",
        "outbox",
        "rates",
        "renames",
        "endings",
        "restores",
        "jobs",
        "migrations",
    }
)
"""Names that are the kernel's, also of tables that are still to come."""

KERNEL = (
    """
    create table users (
        id text primary key, name text not null, locale text, created_at integer not null,
        disabled_at integer, epoch integer not null, last_login_at integer
    )
    """,
    """
    create table identifiers (
        user_id text not null references users(id) on delete cascade,
        kind text not null, value text not null, display text not null, verified_at integer,
        primary key (user_id, kind, value)
    )
    """,
    """
    create unique index identifiers_verified on identifiers (kind, value)
     where verified_at is not null
    """,
    "create table retired_names (hash blob primary key, retired_at integer not null)",
    """
    create table enrolments (
        id text primary key, user_id text not null references users(id) on delete cascade,
        factor text not null, label text, confirmed_at integer, last_used_at integer
    )
    """,
    "create index enrolments_user on enrolments (user_id)",
    "create index enrolments_factor on enrolments (factor)",
    """
    create table sessions (
        id text primary key, user_id text not null references users(id) on delete cascade,
        epoch integer not null, generation integer not null, created_at integer not null,
        rotated_at integer not null, idle_at integer not null, expires_at integer not null,
        ended_at integer, auth_time integer not null, second_at integer, amr text not null,
        address text, user_agent text, parent_id text
    )
    """,
    "create index sessions_user on sessions (user_id)",
    "create index sessions_parent on sessions (parent_id)",
    "create index sessions_idle on sessions (idle_at)",
    """
    create table tickets (
        hash blob primary key, purpose text not null,
        user_id text references users(id) on delete cascade,
        data text not null, expires_at integer not null
    )
    """,
    "create index tickets_user on tickets (user_id)",
    "create index tickets_expiry on tickets (expires_at)",
    """
    create table signing_keys (
        id text primary key, algorithm text not null, created_at integer not null,
        sealed blob not null
    )
    """,
    """
    create table revocations (
        session_id text primary key, revoked_at integer not null, expires_at integer not null
    )
    """,
    "create index revocations_time on revocations (revoked_at)",
    """
    create table throttle (
        key text primary key, failures integer not null, next_at integer not null,
        updated_at integer not null
    )
    """,
    "create index throttle_time on throttle (updated_at)",
    "create table jobs (name text primary key, next_at integer not null)",
    "alter table signing_keys add column signs_at integer not null default 0",
    "alter table signing_keys add column retires_at integer",
    "alter table revocations add column seq integer not null default 0",
    "create index revocations_seq on revocations (seq)",
    "alter table sessions add column cookie blob",
    "alter table sessions add column delivery text not null default 'token'",
    """
    create table resource_servers (
        name text primary key, hash blob not null unique, created_at integer not null
    )
    """,
    """
    create table endings (
        id text primary key, owner text not null, session_id text, keep text, below_epoch integer
    )
    """,
    """
    create table outbox (
        id text primary key, kind text not null, about text not null, sealed blob,
        created_at integer not null, expires_at integer not null, next_at integer not null,
        held_until integer not null, tries integer not null, sent_at integer, error text
    )
    """,
    "create index outbox_waiting on outbox (kind, next_at) where sealed is not null",
    """
    create table rates (
        key text primary key, last_at integer not null, hour_at integer not null,
        hourly integer not null, day_at integer not null, daily integer not null
    )
    """,
    "create table restores (restored_at integer primary key)",
    "alter table users add column closed_at integer",
    "alter table users add column delete_at integer",
    "create index users_delete_at on users (delete_at) where delete_at is not null",
    """
    create table renames (
        id text primary key, user_id text not null references users(id) on delete cascade,
        renamed_at integer not null
    )
    """,
    "create index renames_user on renames (user_id)",
    "create index users_made on users (created_at, id)",
    "create index users_disabled on users (disabled_at, id) where disabled_at is not null",
    "create index identifiers_value on identifiers (value, user_id, kind)",
    "drop index enrolments_factor",
    "create index enrolments_who on enrolments (factor, user_id, id)",
    "create index users_closed on users (delete_at, id) where delete_at is not null",
    "drop index users_delete_at",
)
