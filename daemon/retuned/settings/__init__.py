"""Env files in, frozen settings out; read once, and every finding told at once."""

from retuned.settings.daemon import (
    HttpSettings,
    LogSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    StreamSettings,
    load,
)
from retuned.settings.envfile import Finding
from retuned.settings.model import LoadedModels, load_model, load_models

__all__ = [
    "Finding",
    "HttpSettings",
    "LoadedModels",
    "LogSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "SpoolSettings",
    "StreamSettings",
    "load",
    "load_model",
    "load_models",
]
