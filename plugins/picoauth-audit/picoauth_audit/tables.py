"""The tables of the log. Append only: what is here was applied somewhere."""

MIGRATIONS = (
    """
    create table audit (
        id text not null, waiting integer, seq integer, at integer not null,
        event text not null, who text, actor text, members text not null, traces blob,
        salt blob, address text, user_agent text, request_id text, ids text, link blob, mac blob
    )
    """,
    "create index audit_waiting on audit (waiting) where waiting is not null",
    "create unique index audit_seq on audit (seq) where seq is not null",
    "create unique index audit_id on audit (id) where seq is not null",
    "create index audit_who on audit (who, seq) where seq is not null",
    "create index audit_actor on audit (actor, seq) where seq is not null and actor is not null",
    """
    create table audit_users (
        pseudonym text primary key, salt blob not null,
        user_id text not null references users(id) on delete cascade
    )
    """,
    "create index audit_users_user on audit_users (user_id)",
    # Beside the one above, since a deletion takes its row before the log can look into it.
    "create table audit_names (subject blob primary key, pseudonym text not null)",
    "create unique index audit_names_pseudonym on audit_names (pseudonym)",
    """
    create table audit_head (
        name text primary key, version integer not null, sealed blob not null
    )
    """,
    """
    create table audit_refusals (
        kind text not null, minute integer not null, count integer not null,
        primary key (kind, minute)
    )
    """,
    """
    create table audit_devices (
        user_id text not null references users(id) on delete cascade,
        hash blob not null, seen_at integer not null, primary key (user_id, hash)
    )
    """,
    """
    create table audit_notices (
        id text primary key, user_id text not null references users(id) on delete cascade,
        template text not null, detail text not null, device text not null,
        languages text not null, at integer not null, next_at integer not null
    )
    """,
    "create index audit_notices_user on audit_notices (user_id, template)",
    "create index audit_notices_due on audit_notices (next_at)",
    """
    create table audit_locked (
        user_id text primary key references users(id) on delete cascade, at integer not null
    )
    """,
    # What joins the write of a change is one row of one table, with no index beside its key: the
    # chain takes it from there.
    """
    create table audit_unsealed (
        place integer primary key, id text not null, at integer not null, event text not null,
        who text, actor text, members text not null, traces blob, salt blob, address text,
        user_agent text, request_id text, ids text, mac blob
    )
    """,
    """
    insert into audit_unsealed (id, at, event, who, actor, members, traces, salt, address,
                                user_agent, request_id, ids, mac)
    select id, at, event, who, actor, members, traces, salt, address,
           user_agent, request_id, ids, mac
      from audit where waiting is not null order by waiting, id
    """,
    "delete from audit where waiting is not null",
    "drop index audit_waiting",
    "alter table audit drop column waiting",
    "alter table audit drop column mac",
)
