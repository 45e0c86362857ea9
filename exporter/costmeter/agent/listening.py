"""The socket that is listened on, and why there is none."""

from __future__ import annotations

import errno
import os
import socket

_BACKLOG = 256


class CannotListen(Exception):
    """The address cannot be used; the text says why and what to do."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket; `host` "" is every interface, of both IP versions where there are
    two. Raises CannotListen."""
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        elif socket.has_dualstack_ipv6():
            bound = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        else:
            bound = socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(_why_not(error, host, port)) from None
    bound.setblocking(False)
    return bound


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"cannot listen on {host or 'every interface'}, port {port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another program uses it; stop that one or choose another with "
            "--web.listen-address"
        )
    if error.errno == errno.EACCES:
        return f"{where}: ports under 1024 need a privilege; choose a higher one"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{where}: this machine has no such address"
    return f"{where}: {os.strerror(error.errno) if error.errno else error}"
