"""HTTP: the routes, who may use them, and the server they run on."""

from costmeter.web.access import Access
from costmeter.web.app import Application, Health, Settings
from costmeter.web.server import CannotListen, WebServer

__all__ = [
    "Access",
    "Application",
    "CannotListen",
    "Health",
    "Settings",
    "WebServer",
]
