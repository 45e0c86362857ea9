"""Whether a file that a configuration names can be read, and by whom."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def unreadable(path: Path) -> str:
    """Why a file cannot be read, in words; "" when it can."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{path} is not a file"
    except FileNotFoundError:
        return f"there is no file {path}"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    return "" if os.access(path, os.R_OK) else f"{path} cannot be read: permission denied"


def open_to_everybody(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
