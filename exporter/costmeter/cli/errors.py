"""What a command says when it cannot do what was asked."""


class CommandError(Exception):
    """The text says why, and what to write instead."""
