"""Known tokens: the secret of each is `secret-` and its name."""

from __future__ import annotations

import hashlib

import bcrypt

from costmeter.config.tokens import Token, Tokens
from costmeter.config.web_config import WebConfig


def token(name: str, tenant_id: str = "", permissions: tuple[str, ...] = ("write",)) -> Token:
    digest = hashlib.sha256(f"secret-{name}".encode()).digest()
    return Token(name, f"feed-{name}", tenant_id, frozenset(permissions), digest)


def bearer(name: str) -> dict[str, str]:
    """The header that sends a token's secret."""
    return {"Authorization": f"Bearer secret-{name}"}


def one_user() -> WebConfig:
    """Reading asks for `ann` and `pass:word`; every answer has a header of its own."""
    hashed = bcrypt.hashpw(b"pass:word", bcrypt.gensalt(4)).decode()
    return WebConfig(None, {"X-Frame-Options": "deny"}, {"ann": hashed})


def three_tokens() -> Tokens:
    """`any` writes for every tenant, `acme` for its own, and `look` reads."""
    return Tokens([token("any"), token("acme", "acme"), token("look", permissions=("read",))])
