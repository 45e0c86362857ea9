"""Scopes: ordered, reachable, and complete."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from costmeter.config import Config, Match, Scope

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]


def test_without_scopes_one_takes_everything_from_any_feed(load: Load) -> None:
    assert load("").scopes == (Scope("default", Match("*", "*", "*", "*"), "any"),)
    assert load("scopes: []").scopes == load("").scopes
    assert load("scopes:").scopes == load("").scopes


def test_a_catch_all_is_added_after_scopes_that_leave_something(load: Load) -> None:
    scopes = load("scopes: [{name: a, match: {provider: open*}, detail_from: gateway}]").scopes
    assert scopes == (Scope("a", Match(provider="open*"), "gateway"), Scope("default"))


def test_a_catch_all_of_ones_own_is_kept(load: Load) -> None:
    scopes = load(
        "scopes: [{name: a, match: {region: eu-?}}, {name: rest, detail_from: sdk}]"
    ).scopes
    assert [(scope.name, scope.detail_from) for scope in scopes] == [("a", "any"), ("rest", "sdk")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "scopes:\n  - name: a\n  - name: b\n    match: {provider: openai}\n",
            (
                "costmeter.yml:3: scopes[1]: can never match: 'a' before it takes everything;"
                " move it up"
            ),
        ),
        (
            "scopes:\n  - name: default\n    match: {provider: openai}\n",
            (
                "costmeter.yml:2: scopes[0].name: 'default' is the name of the scope that takes the"
                " rest; write another name, or remove match"
            ),
        ),
        (
            "scopes:\n  - name: a\n    match: {providr: x}\n",
            "costmeter.yml:3: scopes[0].match.providr: is no setting. Did you mean 'provider'?",
        ),
        (
            "scopes:\n  - name: a\n    detail_of: sdk\n    match: {account: x}\n",
            "costmeter.yml:3: scopes[0].detail_of: is no setting. Did you mean 'detail_from'?",
        ),
        (
            "scopes:\n  - name: a\n    match: openai\n",
            (
                "costmeter.yml:3: scopes[0].match: a single value stands here, not a mapping of"
                " settings; write its settings below it, indented, as key: value"
            ),
        ),
        (
            "scopes:\n  - name: a\n    match: {account: ''}\n",
            (
                "costmeter.yml:3: scopes[0].match.account: '' is not a pattern; write text in which"
                " * stands for anything and ? for one"
            ),
        ),
    ],
)
def test_what_a_scope_does_not_take(text: str, told: str, refuse: Refuse) -> None:
    assert refuse(text) == [told]
