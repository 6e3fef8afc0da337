"""Every key of the registry, in one place. The hash tag keeps a model on one cluster node."""

from __future__ import annotations


def champion(model: str) -> str:
    """String: the sealed pointer, see `pointer.py`."""
    return f"retuned:{{{model}}}:champion"


def versions(model: str) -> str:
    """Hash: version number -> sealed JSON."""
    return f"retuned:{{{model}}}:versions"


def revisions(model: str, version: int) -> str:
    """Hash: revision number -> sealed JSON."""
    return f"retuned:{{{model}}}:revisions:{version}"


def artifact(model: str, sha256: str) -> str:
    """Hash: ``chunks`` and ``bytes``, written after the chunks themselves."""
    return f"retuned:{{{model}}}:artifact:{sha256}"


def chunk(model: str, sha256: str, number: int) -> str:
    """String: a part of an artifact."""
    return f"retuned:{{{model}}}:artifact:{sha256}:{number}"


def artifacts(model: str) -> str:
    """Set: the SHA-256 of every artifact that is kept."""
    return f"retuned:{{{model}}}:artifacts"


def requests(model: str) -> str:
    """Sorted set: takeovers that were made -> their epochs, so that none is made twice."""
    return f"retuned:{{{model}}}:requests"


def lease(model: str) -> str:
    """Hash: who takes care of the model (``id``, ``url``, ``token``); it expires."""
    return f"retuned:{{{model}}}:lease"


def fence(model: str) -> str:
    """String: the token that was given out with the newest lease: its number, and to whom."""
    return f"retuned:{{{model}}}:fence"


def home(model: str) -> str:
    """Hash: where the model's rows are (``id``, ``url``, ``since``), and who had the lease last."""
    return f"retuned:{{{model}}}:home"


def pins(model: str) -> str:
    """Hash: number of a pinned version -> JSON (who, reason, at)."""
    return f"retuned:{{{model}}}:pins"


def events(model: str) -> str:
    """Stream: the chain of events, fields ``event`` (JSON) and ``link``, see `chain.py`."""
    return f"retuned:{{{model}}}:events"


def checkpoint(model: str) -> str:
    """String: the sealed checkpoint that the chain begins with, once its beginning was let go."""
    return f"retuned:{{{model}}}:events:checkpoint"


def refused_events(model: str) -> str:
    """Stream: what stood in place of the chain when it last had to be put right."""
    return f"retuned:{{{model}}}:events:refused"


def studies(model: str) -> str:
    """Sorted set: study ids by when they began."""
    return f"retuned:{{{model}}}:studies"


def study(model: str, name: str) -> str:
    """String: a study's record (JSON)."""
    return f"retuned:{{{model}}}:study:{name}"


def trials(model: str, name: str) -> str:
    """Hash: trial number -> JSON."""
    return f"retuned:{{{model}}}:study:{name}:trials"


def stop(model: str, name: str) -> str:
    """String: who wants a study to end, and why (JSON)."""
    return f"retuned:{{{model}}}:study:{name}:stop"


def changes(model: str) -> str:
    """Channel: the name of each new champion or revision."""
    return f"retuned:{{{model}}}:changes"


def inbox(model: str, cargo: str) -> str:
    """Stream that producers write to: ``rows`` or ``labels``, fields ``payload`` and ``type``."""
    return f"retuned:{{{model}}}:in:{cargo}"


def refused(model: str) -> str:
    """Stream: the newest of what came by stream and could not be taken, with the reason."""
    return f"retuned:{{{model}}}:in:failed"
