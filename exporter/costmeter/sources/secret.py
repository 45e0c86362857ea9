"""A credential that shows itself to nobody but the request that needs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: More than any key of a provider, less than a file that was named by mistake.
_MOST_BYTES = 16_384


class SecretError(Exception):
    """The credential cannot be had; the text says from where, and never what stands there."""


class Secret:
    """Read anew for every poll, so that a key can be rotated under a running exporter."""

    __slots__ = ("_environ", "_path", "_variable")

    def __init__(
        self,
        path: Path | None = None,
        variable: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """From a file, else from a variable; with neither there is no credential."""
        self._path = path
        self._variable = variable
        self._environ = environ

    @property
    def named(self) -> bool:
        return self._path is not None or bool(self._variable)

    def read(self) -> str:
        """The credential; raises SecretError."""
        if self._path is not None:
            return self._checked(self._from_file(self._path), f"the file {self._path}")
        if self._variable:
            text = self._environ.get(self._variable, "")
            return self._checked(text, f"the variable {self._variable}")
        raise SecretError("no credential is named; write key_file or key_variable")

    def _from_file(self, path: Path) -> str:
        try:
            with path.open("rb") as stream:
                raw = stream.read(_MOST_BYTES + 1)
        except OSError as error:
            raise SecretError(f"{path} cannot be read: {error.strerror}") from None
        if len(raw) > _MOST_BYTES:
            raise SecretError(f"{path} is too long for a credential")
        return raw.decode("utf-8", "replace")

    @staticmethod
    def _checked(text: str, where: str) -> str:
        text = text.strip()
        if not text:
            raise SecretError(f"{where} holds no credential")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise SecretError(f"{where} holds more than one word of ASCII; write the key alone")
        return text

    def __repr__(self) -> str:
        if self._path is not None:
            return f"Secret(from {self._path})"
        return f"Secret(from ${self._variable})" if self._variable else "Secret(none)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be written anywhere")
