"""What a client publishes at its URL: a JSON document, or a page with links and an h-app."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urljoin

from picoauth_fetch import web as urls
from picoauth_fetch.html import read
from picoauth_fetch.links import header_links

LONGEST_NAME = 100
MOST_REDIRECTS = 100
SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")

Source = Literal["metadata", "h-app", "html", "registered", "loopback", "none"]


@dataclass(frozen=True)
class Document:
    """What was found. `redirect_uris` of JSON are all that there are; others add to its own origin."""

    source: Source
    name: str | None = None
    logo_uri: str | None = None
    client_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()


def is_json(headers: Mapping[str, str]) -> bool:
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def from_json(body: bytes, names: Sequence[str]) -> Document:
    """A client ID metadata document; `names` are spellings of the URL that it was got from.

    Raises ValueError for one that is none, or another client's (IndieAuth, section 4.2.1).
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("is no JSON") from error
    if not isinstance(members, dict) or members.get("client_id") not in names:
        raise ValueError("does not have its own URL as client_id")
    check_public(members)
    client_uri = text(members, "client_uri")
    if client_uri is not None and not any(name.startswith(client_uri) for name in names):
        raise ValueError("has a client_uri that its client_id does not begin with")
    return Document(
        "metadata",
        shown(text(members, "client_name")),
        picture(text(members, "logo_uri"), names[0]),
        client_uri,
        redirects(members.get("redirect_uris", []), names[0]),
    )


def check_public(members: Mapping[str, Any]) -> None:
    """Raises ValueError for a client that would have a secret, which all the world could read."""
    secret = any(name.startswith("client_secret") for name in members)
    if secret or members.get("token_endpoint_auth_method") in SECRET_METHODS:
        raise ValueError("speaks of a client secret, which none of these can have")


def text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"has a {name} that is no text")
    return value


def redirects(found: Any, base: str) -> tuple[str, ...]:
    """Published redirect URLs, resolved, without those where nobody may be sent."""
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise ValueError("has redirect_uris that are no list of texts")
    resolved = [urljoin(base, one) for one in found[:MOST_REDIRECTS]]
    return tuple(one for one in resolved if is_redirect(one))


def is_redirect(text: str) -> bool:
    try:
        urls.redirect(text)
    except ValueError:
        return False
    return True


def picture(found: str | None, base: str) -> str | None:
    """The URL of a logo: of the web only, so that nothing runs when it is shown."""
    if not found:
        return None
    try:
        return str(urls.web(urljoin(base, found)))
    except ValueError:
        return None


def shown(found: str | None) -> str | None:
    """A name as one line of text; what would turn the direction of writing is left out."""
    line = "".join(char if char.isprintable() else " " for char in found or "")
    return " ".join(line.split())[:LONGEST_NAME] or None


def from_page(body: bytes, headers: Mapping[str, str], names: Sequence[str]) -> Document:
    """A page: redirect URLs of its links, and an h-app that says of itself that it is this client."""
    page, url = read(body.decode("utf-8", "replace")), names[0]
    linked = [*header_links(headers, "redirect_uri"), *page.linked("redirect_uri")]
    document = Document("html", redirect_uris=redirects(urls.resolved(url, linked), url))
    app = page.app
    if app is None or not any(str(same) in names for same in canonical(app.urls, url)):
        return document
    return replace(document, source="h-app", name=shown(app.name), logo_uri=picture(app.logo, url))


def canonical(found: Sequence[str], base: str) -> list[str]:
    made = []
    for one in found:
        try:
            made.append(str(urls.web(urljoin(base, one))))
        except ValueError:
            continue
    return made
