"""Documentation of the options that modules take from a section."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from gates.tree import COLLECTION, files

from declarations.roles import option
from factory.core.base.settings import settings_of, site_settings
from factory.core.site.sections import SECTIONS, declared
from factory.core.site.settings import Project, Site

# What modules call the option that holds a section, where they do not call it as the section.
OPTIONS = {"merge": "policy", "reap": "policy", "workflows": "policy"}
_PLUGIN = '''\
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the section {section}. Written by script/generate."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module may be told of the section {section}."""

    DOCUMENTATION = r"""
options:
  {name}:
    description: {text}
    type: dict
    default: {{}}
    suboptions:
{options}
"""
'''


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Return the fragments that modules extend their documentation with."""
    texts = [
        (root / path).read_text() for path in files(root, f"{COLLECTION}/plugins/modules/*.py")
    ]
    wanted = {
        name for text in texts for name in re.findall(r"^  - aina\.factory\.(\w+)$", text, re.M)
    }
    classes: dict[str, type] = {section: declared(section) for section in SECTIONS}
    # What a project says of a capability, and GitHub, are parts of what a site says.
    for item in (*settings_of(Site), *settings_of(Project)):
        if item.nested and not item.container:
            classes.setdefault(item.key, item.nested)
    for section, cls in classes.items():
        if section in wanted:
            lines = [
                line
                for item in site_settings(cls)
                for line in option(item.key, item, item.default, 6)
            ]
            text = _PLUGIN.format(
                section=section,
                name=OPTIONS.get(section, section),
                text=(inspect.getdoc(cls) or "").partition("\n")[0],
                options="\n".join(lines).replace(" options:", " suboptions:"),
            )
            yield COLLECTION / f"plugins/doc_fragments/{section}.py", text
