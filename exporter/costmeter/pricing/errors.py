"""The one error of a price file: where it is, what is wrong, what to write instead."""

from __future__ import annotations


class PriceFileError(Exception):
    """Text of the form `file:line: key: what is wrong; write instead ...`."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        super().__init__(f"{file}:{line}: {key}: {problem}")
