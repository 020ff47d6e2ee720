"""The core's declarations, as this package and its tests name them."""

from ansible_collections.aina.factory.plugins.module_utils.base.settings import (
    REQUIRED,
    Setting,
    plain,
    plain_default,
    settings_of,
    site_settings,
)
from ansible_collections.aina.factory.plugins.module_utils.site.sections import SECTIONS, declared

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
