"""The page at `/`: where things are, and a line that sends a first event."""

from __future__ import annotations

import re
from html import escape

from costmeter.web.exchange import Response

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
#: Shown when the Host header is missing or is no host: the address by default.
_FALLBACK = "127.0.0.1:9952"

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.55 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1.2rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.05rem;margin:2.2rem 0 .5rem}
small,.quiet{opacity:.65}nav{display:flex;flex-wrap:wrap;gap:.6rem;margin:1.4rem 0}
nav a{padding:.35rem .8rem;border:1px solid;border-radius:.5rem;text-decoration:none}
pre{padding:.9rem 1rem;border-radius:.5rem;background:#8882;white-space:pre-wrap;
overflow-wrap:anywhere;font:13px/1.5 ui-monospace,monospace}
code{font:.9em ui-monospace,monospace}
"""

_POLICY = (
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
)


def base_url(scheme: str, host: str) -> str:
    """Where the reader reached this server, as far as the Host header is believable."""
    return f"{scheme}://{host if _HOST.fullmatch(host) else _FALLBACK}"


def first_event(base: str, *, with_token: bool) -> str:
    """A shell line that books one call of now; every paste is another call."""
    token = ' -H "Authorization: Bearer $COSTMETER_TOKEN"' if with_token else ""
    event = (
        '{"request_id":"first-\'$(date +%s)\'","timestamp":"\'$(date -u +%Y-%m-%dT%H:%M:%SZ)\'",'
        '"provider":"openai","model":"gpt-4o-mini","tokens":{"input":1200,"output":150}}'
    )
    return f"curl -sS {base}/api/v1/usage -H 'Content-Type: application/json'{token} -d '{event}'"


def look_at(base: str, family: str, *, with_password: bool) -> str:
    """A shell line that shows one family. -g, because curl reads brackets as a range."""
    user = ' -u "$COSTMETER_USER"' if with_password else ""
    return f"curl -sSg{user} '{base}/metrics?name[]={family}'"


def landing_page(
    *,
    version: str,
    scheme: str,
    host: str,
    with_token: bool,
    with_password: bool,
    birth_hold_seconds: int,
    docs_url: str,
    read_only: bool = False,
) -> Response:
    base = base_url(scheme, host)
    docs = f'<a href="{escape(docs_url)}">Documentation</a>' if docs_url else ""
    if read_only:
        sending = "<p>This server only shows the ledger; send events to the one that writes it.</p>"
    else:
        sending = _sending(base, with_token=with_token)
    user = (
        "<p>Reading asks for a password: set <code>COSTMETER_USER</code> to NAME:PASSWORD.</p>"
        if with_password
        else ""
    )
    month = look_at(base, "llm_cost_month_to_date", with_password=with_password)
    total = look_at(base, "llm_cost_total", with_password=with_password)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>costmeter</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>costmeter <small>{escape(version)}</small></h1>
<p class="quiet">What this LLM platform costs, to the last token, for Prometheus.</p>
<nav>
<a href="/metrics">Metrics</a>
<a href="/-/healthy">Health</a>
<a href="/-/ready">Ready</a>
<a href="/openapi.json">API description</a>
{docs}
</nav>
{sending}
<h2>See it</h2>
{user}
<p>Spend of this month, within seconds:</p>
<pre id="month">{escape(month, quote=False)}</pre>
<p>The counter shows a new series at 0 for {_minutes(birth_hold_seconds)} first, so that
<code>increase()</code> in Prometheus sees its first dollar too:</p>
<pre id="total">{escape(total, quote=False)}</pre>
</body>
</html>
"""
    return Response(200, page.encode(), "text/html; charset=utf-8", _POLICY)


def _sending(base: str, *, with_token: bool) -> str:
    token = (
        "<p>This server asks for a token: set <code>COSTMETER_TOKEN</code> first.</p>\n"
        if with_token
        else ""
    )
    line = escape(first_event(base, with_token=with_token), quote=False)
    return f"""<h2>Send a first event</h2>
{token}<pre id="first-event">{line}</pre>
<p>The answer says <code>"accepted":1</code> once the event is safely on disk.</p>"""


def _minutes(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes"
