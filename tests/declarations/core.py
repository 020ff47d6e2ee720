"""The core's declarations, as this package and its tests name them."""

from factory.core.base.settings import (
    REQUIRED,
    Setting,
    plain,
    plain_default,
    settings_of,
    site_settings,
)
from factory.core.site.sections import SECTIONS, declared

__all__ = [
    "REQUIRED",
    "SECTIONS",
    "Setting",
    "declared",
    "plain",
    "plain_default",
    "settings_of",
    "site_settings",
]
