"""The tables of permissions and roles, and the statements that change them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import AuthError, Conflict, Problem, Statement
from picoauth_permissions.names import (
    ADMIN,
    LAST_ADMINISTRATOR,
    MOST_BYTES,
    TOO_MANY_PERMISSIONS,
)

MIGRATIONS = (
    """
    create table permissions (
        user_id text not null references users(id) on delete cascade,
        permission text not null, granted_at integer not null,
        primary key (user_id, permission)
    )
    """,
    "create index permissions_holders on permissions (permission)",
    "create table permissions_roles (role text primary key, changed_at integer not null)",
    """
    create table permissions_contents (
        role text not null references permissions_roles(role) on delete cascade,
        permission text not null, primary key (role, permission)
    )
    """,
    "create index permissions_contents_of on permissions_contents (permission)",
    """
    create table permissions_members (
        user_id text not null references users(id) on delete cascade,
        role text not null references permissions_roles(role) on delete cascade,
        assigned_at integer not null, primary key (user_id, role)
    )
    """,
    "create index permissions_members_of on permissions_members (role)",
)

HELD = """
    select permission from permissions where user_id = ?
    union select c.permission from permissions_members m
            join permissions_contents c on c.role = m.role where m.user_id = ?
"""
HOLDERS = """
    select user_id from permissions where permission = ?
    union select m.user_id from permissions_contents c
            join permissions_members m on m.role = c.role where c.permission = ?
     order by user_id
"""

# Administrators who would be left. What is taken away is told by five arguments, each of which
# may be empty: the user whose own permission goes, the user who goes, the role that loses the
# permission, and the user who loses which role.
LEFT = f"""
    select 1 from permissions p join users u on u.id = p.user_id
     where p.permission = '{ADMIN}' and u.disabled_at is null and u.closed_at is null and u.id <> ?
    union all
    select 1 from permissions_contents c join permissions_members m on m.role = c.role
      join users u on u.id = m.user_id
     where c.permission = '{ADMIN}' and u.disabled_at is null and u.closed_at is null
       and u.id <> ? and c.role <> ? and not (m.user_id = ? and m.role = ?)
"""
# Each of these finds what is to be taken away where it is what makes somebody an administrator
# now, and nobody else would be one afterwards. A disabled one administrates nothing.
LAST_USER = f"""
    update users set epoch = epoch where id = ? and disabled_at is null and closed_at is null
       and (exists (select 1 from permissions p
                     where p.user_id = users.id and p.permission = '{ADMIN}')
         or exists (select 1 from permissions_members m
                      join permissions_contents c on c.role = m.role
                     where m.user_id = users.id and c.permission = '{ADMIN}'))
       and not exists ({LEFT})
"""
LAST_GRANT = f"""
    update permissions set granted_at = granted_at where user_id = ? and permission = '{ADMIN}'
       and exists (select 1 from users o where o.id = permissions.user_id and o.disabled_at is null
                      and o.closed_at is null)
       and not exists ({LEFT})
"""
LAST_MEMBER = f"""
    update permissions_members set assigned_at = assigned_at where user_id = ? and role = ?
       and exists (select 1 from users o
                    where o.id = permissions_members.user_id and o.disabled_at is null
                      and o.closed_at is null)
       and exists (select 1 from permissions_contents o
                    where o.role = permissions_members.role and o.permission = '{ADMIN}')
       and not exists ({LEFT})
"""
LAST_ROLE = f"""
    update permissions_contents set permission = permission
     where role = ? and permission = '{ADMIN}'
       and exists (select 1 from permissions_members o join users n on n.id = o.user_id
                    where o.role = permissions_contents.role and n.disabled_at is null
                      and n.closed_at is null)
       and not exists ({LEFT})
"""

# Of what a user holds, as a JSON list in a token.
TOO_MANY_OF_USER = """
    update users set epoch = epoch where id = ? and (
        select coalesce(sum(length(permission) + 3), 0) from (
            select permission from permissions p where p.user_id = users.id
            union select c.permission from permissions_members o
                    join permissions_contents c on c.role = o.role where o.user_id = users.id) as held) > ?
"""
# Who has nothing but the role fits, since the role does: that is nearly everybody who has it.
TOO_MANY_OF_MEMBERS = """
    update permissions_members set assigned_at = assigned_at where role = ?
       and (exists (select 1 from permissions p where p.user_id = permissions_members.user_id)
         or exists (select 1 from permissions_members n
                     where n.user_id = permissions_members.user_id
                       and n.role <> permissions_members.role))
       and (
        select coalesce(sum(length(permission) + 3), 0) from (
            select permission from permissions p where p.user_id = permissions_members.user_id
            union select c.permission from permissions_members o
                    join permissions_contents c on c.role = o.role
                   where o.user_id = permissions_members.user_id) as held) > ?
"""
# Whether anybody was ever made an administrator, and whether one is left.
ABLE = f"""
    select exists (select 1 from permissions where permission = '{ADMIN}')
        or exists (select 1 from permissions_contents c
                     join permissions_members m on m.role = c.role where c.permission = '{ADMIN}'),
           exists ({LEFT})
"""

GRANT = """
    insert into permissions (user_id, permission, granted_at)
    select id, ?, ? from users where id = ? on conflict do nothing
"""
REVOKE = "delete from permissions where user_id = ? and permission = ?"
ASSIGN = """
    insert into permissions_members (user_id, role, assigned_at)
    select u.id, r.role, ? from users u, permissions_roles r where u.id = ? and r.role = ?
        on conflict do nothing
"""
UNASSIGN = "delete from permissions_members where user_id = ? and role = ?"


@dataclass(frozen=True)
class Step:
    """A statement, and how the client is refused where it touches other rows than it says.

    None where another change came first, so that this one has to be looked at again.
    """

    statement: Statement
    refused: Problem | None = None


def refusal(steps: Sequence[Step], conflict: Conflict) -> AuthError | None:
    """What a client hears of a conflict; None where it is worth another look."""
    problem = steps[conflict.index].refused if conflict.index < len(steps) else None
    more: dict[str, Any] = {"most_bytes": MOST_BYTES} if problem is TOO_MANY_PERMISSIONS else {}
    return AuthError(problem, **more) if problem else None


def statements(steps: Iterable[Step]) -> list[Statement]:
    return [step.statement for step in steps]


def last_user(user_id: str) -> Statement:
    """Touches the user who is the last administrator."""
    return Statement(LAST_USER, (user_id, user_id, user_id, "", "", ""), rows=0)


def same_permissions(user_id: str, read: Iterable[str]) -> Step:
    """Before they are replaced: there are as many as were read, and as many of those."""
    names = ["", *read]
    sql = f"""
        update users set epoch = epoch where id = ?
           and (select count(*) from permissions p where p.user_id = users.id) = ?
           and (select count(*) from permissions p where p.user_id = users.id
                   and p.permission in ({", ".join("?" * len(names))})) = ?
    """
    count = len(names) - 1
    return Step(Statement(sql, (user_id, count, *names, count), rows=1))


def same_roles(user_id: str, read: Iterable[str]) -> Step:
    names = ["", *read]
    sql = f"""
        update users set epoch = epoch where id = ?
           and (select count(*) from permissions_members m where m.user_id = users.id) = ?
           and (select count(*) from permissions_members m where m.user_id = users.id
                   and m.role in ({", ".join("?" * len(names))})) = ?
    """
    count = len(names) - 1
    return Step(Statement(sql, (user_id, count, *names, count), rows=1))


def same_contents(role: str, read: Iterable[str], now: int) -> Step:
    names = ["", *read]
    sql = f"""
        update permissions_roles set changed_at = ? where role = ?
           and (select count(*) from permissions_contents c
                 where c.role = permissions_roles.role) = ?
           and (select count(*) from permissions_contents c
                 where c.role = permissions_roles.role
                   and c.permission in ({", ".join("?" * len(names))})) = ?
    """
    count = len(names) - 1
    return Step(Statement(sql, (now, role, count, *names, count), rows=1))


def granting(user_id: str, permission: str, now: int) -> list[Step]:
    return [Step(Statement(GRANT, (permission, now, user_id), rows=1))]


def revoking(user_id: str, permission: str) -> list[Step]:
    last = Statement(LAST_GRANT, (user_id, user_id, "", "", "", ""), rows=0)
    guards = [Step(last, LAST_ADMINISTRATOR)] if permission == ADMIN else []
    return [*guards, Step(Statement(REVOKE, (user_id, permission), rows=1))]


def assigning(user_id: str, role: str, now: int) -> list[Step]:
    return [Step(Statement(ASSIGN, (now, user_id, role), rows=1))]


def unassigning(user_id: str, role: str) -> list[Step]:
    last = Statement(LAST_MEMBER, (user_id, role, "", "", "", user_id, role), rows=0)
    return [Step(last, LAST_ADMINISTRATOR), Step(Statement(UNASSIGN, (user_id, role), rows=1))]


def fitting(user_id: str) -> Step:
    """At the end of what gives a user more."""
    many = Statement(TOO_MANY_OF_USER, (user_id, MOST_BYTES), rows=0)
    return Step(many, TOO_MANY_PERMISSIONS)


def keeping_administrators(role: str) -> Step:
    """Before a role loses the permission of administrators, or goes."""
    last = Statement(LAST_ROLE, (role, "", "", role, "", ""), rows=0)
    return Step(last, LAST_ADMINISTRATOR)


def making(role: str, now: int) -> Step:
    sql = "insert into permissions_roles (role, changed_at) values (?, ?)"
    return Step(Statement(sql, (role, now), rows=1))


def filling(role: str, gone: Collection[str], new: Collection[str]) -> list[Step]:
    """Other permissions for a role that was looked at in the same write."""
    adding = "insert into permissions_contents (role, permission) values (?, ?)"
    removing = "delete from permissions_contents where role = ? and permission = ?"
    many = Statement(TOO_MANY_OF_MEMBERS, (role, MOST_BYTES), rows=0)
    return [
        *([keeping_administrators(role)] if ADMIN in gone else []),
        *(Step(Statement(removing, (role, one), rows=1)) for one in gone),
        *(Step(Statement(adding, (role, one), rows=1)) for one in new),
        *([Step(many, TOO_MANY_PERMISSIONS)] if new else []),
    ]


def removing(role: str) -> list[Step]:
    gone = Statement("delete from permissions_roles where role = ?", (role,), rows=1)
    return [keeping_administrators(role), Step(gone)]
