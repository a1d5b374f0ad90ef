"""Who changed a score table, when, from what: a line for each job, in a folder beside the table.

    SCORES.audit/20260127T101500.123456Z-1f0c9a2b.json

A job that changed nothing leaves no line. Names begin with the time at which it ended, so the newest is the last.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from raybench.storage import files

SUFFIX = ".audit"


def audit_uri(scores_uri: str) -> str:
    """The folder of the lines of a table."""
    return files.sibling(scores_uri, SUFFIX)


def note_job(scores_uri: str, command: str, began: datetime, facts: Mapping[str, Any]) -> None:
    """Add the line of a job that is done; ``began``: when, in UTC."""
    ended = datetime.now(UTC)
    line = {
        "command": command,
        "who": who(),
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((ended - began).total_seconds(), 3),
        **facts,
    }
    name = f"{ended:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json"
    text = json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"
    files.publish_bytes(files.join(audit_uri(scores_uri), name), text.encode())


def last_job(scores_uri: str) -> dict[str, Any] | None:
    """The newest line; None if there is none, or it cannot be read."""
    names = [name for name in files.children(audit_uri(scores_uri)) if name.endswith(".json")]
    if not names:
        return None
    try:
        line = json.loads(files.read_bytes(files.join(audit_uri(scores_uri), names[-1])))
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def who() -> str:
    """The user and the host, as far as the system knows them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
