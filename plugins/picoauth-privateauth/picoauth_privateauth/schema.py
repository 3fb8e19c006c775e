"""The tables: requests, grants with their tokens, and profiles."""

# A grant is what a user lets a client do. Each code that was redeemed for tokens began a family
# of them, named by the code's hash: so a second use of the code finds what the first one got.
MIGRATIONS = (
    """
    create table privateauth_requests (
        id blob primary key, user_id text references users(id) on delete cascade,
        data text not null, expires_at integer not null, decided_at integer
    )
    """,
    "create index privateauth_requests_user on privateauth_requests (user_id)",
    "create index privateauth_requests_expiry on privateauth_requests (expires_at)",
    """
    create table privateauth_grants (
        id text primary key, user_id text not null references users(id) on delete cascade,
        client_id text not null, name text not null, scope text not null,
        created_at integer not null, approved_at integer not null, used_at integer,
        unique (user_id, client_id)
    )
    """,
    """
    create table privateauth_families (
        id blob primary key,
        grant_id text not null references privateauth_grants(id) on delete cascade,
        profile text, scope text not null, created_at integer not null
    )
    """,
    "create index privateauth_families_grant on privateauth_families (grant_id)",
    """
    create table privateauth_tokens (
        hash blob primary key,
        family_id blob not null references privateauth_families(id) on delete cascade,
        kind text not null, scope text not null, issued_at integer not null,
        expires_at integer not null, spent_at integer
    )
    """,
    "create index privateauth_tokens_family on privateauth_tokens (family_id)",
    "create index privateauth_tokens_expiry on privateauth_tokens (expires_at)",
    """
    create table privateauth_profiles (
        url text primary key, user_id text not null references users(id) on delete cascade,
        added_at integer not null
    )
    """,
    "create index privateauth_profiles_user on privateauth_profiles (user_id)",
    """
    create table privateauth_people (
        user_id text primary key references users(id) on delete cascade,
        short_name text, photo text
    )
    """,
)
