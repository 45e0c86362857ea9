"""The page at `/`: what this agent sees and where it sends it, for whoever looks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from costmeter import __version__
from costmeter.agent.http import Response

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.55 system-ui,sans-serif;max-width:46rem;"
    "margin:3rem auto;padding:0 1.2rem}h1{font-size:1.7rem;margin:0}small,.quiet{opacity:.65}"
    "nav a{padding:.35rem .8rem;border:1px solid;border-radius:.5rem;text-decoration:none}"
    "nav{display:flex;gap:.6rem;margin:1.4rem 0}"
)
_POLICY = (
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
)


def landing_page(node: str, facts: Sequence[str]) -> Response:
    """`facts` are plain sentences."""
    rows = "".join(f"<li>{escape(fact)}</li>\n" for fact in facts)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>costmeter agent</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>costmeter agent <small>{escape(__version__)}</small></h1>
<p class="quiet">The GPUs of {escape(node)}: what each costs, and who uses it.</p>
<nav>
<a href="/metrics">Metrics</a>
<a href="/-/healthy">Health</a>
<a href="/-/ready">Ready</a>
</nav>
<ul>
{rows}</ul>
</body>
</html>
"""
    return Response(200, page.encode(errors="replace"), "text/html; charset=utf-8", _POLICY)
