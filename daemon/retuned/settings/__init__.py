"""Env files in, frozen settings out; read once, and every finding told at once."""

from retuned.settings.daemon import LogSettings, Settings, SpoolSettings, load
from retuned.settings.envfile import Finding
from retuned.settings.http import HttpSettings
from retuned.settings.model import LoadedModels, load_model, load_models
from retuned.settings.servers import RedisSettings, ServerSettings, StreamSettings

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
