"""`costmeter config-schema`: the configuration's JSON Schema, for editors."""

from __future__ import annotations

import argparse

from costmeter.config.json_schema import render


def config_schema(arguments: argparse.Namespace) -> int:
    del arguments
    print(render(), end="")
    return 0
