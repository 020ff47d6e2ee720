"""The step of :mod:`aina.factory.trusted_certificates`: whom the host trusts."""

from __future__ import annotations

from typing import Any

from .. import managed_files, trusted_certificates
from . import Context, StepError

ARGUMENTS: dict[str, Any] = {
    "certificates": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
        },
    }
}


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with the bundle that programs read, and act."""
    certificates = {item["name"]: item["content"] for item in parameters["certificates"]}
    if len(certificates) != len(parameters["certificates"]):
        raise StepError("certificates: a name is given twice")
    try:
        plan = trusted_certificates.plan(
            certificates,
            trusted_certificates.read_bundle(),
            trusted_certificates.hashed_files(),
            trusted_certificates.dangling_links(),
        )
        if not context.check_mode:
            trusted_certificates.apply(plan, context.run)
    except (
        trusted_certificates.TrustedCertificatesError,
        managed_files.ManagedFilesError,
        OSError,
    ) as error:
        raise StepError(str(error)) from error
    after = "".join(f"{action}\n" for action in plan.actions)
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "diff": [{"before": "", "after": after}] if plan.actions else [],
    }
