"""What is written from the declarations of settings.

A setting is declared once: in the class of the core that reads it, or, where a role alone uses it, in
the role's argument spec. From these come the options of roles and modules, the defaults, the
section that a role writes, docs/settings and the JSON schemas. The playbook that takes everything
back follows from site.yml.
"""

from __future__ import annotations

from pathlib import Path

from declarations import fragments, pages, roles, schema, teardown


def generated(root: Path) -> dict[Path, str]:
    """Return every generated file of a checkout with the text that it should have."""
    of_roles = dict(roles.generated(root))
    owners = roles.sections_of_roles(root)
    specs = {
        path.parts[-3]: schema.options(text)
        for path, text in of_roles.items()
        if path.name == "argument_specs.yml"
    }
    return {
        **of_roles,
        **dict(pages.generated(owners)),
        **dict(schema.generated(owners, specs)),
        **dict(fragments.generated(root)),
        **dict(teardown.generated(root)),
    }


def outdated(root: Path) -> dict[Path, str]:
    """Return those that differ from what stands there."""
    return {
        path: text
        for path, text in generated(root).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    }
