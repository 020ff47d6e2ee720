"""Make additional certificate authorities trusted by the whole host (Debian family).

What is compared is the bundle that programs read, not only the files beside it: a run
that was killed before the bundle was rebuilt is completed by the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked
from . import managed_files

# update-ca-certificates looks into sub-directories; this one is entirely ours.
DIRECTORY = "/usr/local/share/ca-certificates/aina-factory"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LINKS = Path("/etc/ssl/certs")
UPDATE_SECONDS = 120.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class TrustedCertificatesError(FactoryError):
    """A certificate is not usable or the bundle could not be rebuilt."""


@dataclass(frozen=True)
class CertificatesPlan:
    """Changes of files, and why the bundle is rebuilt (``""``: it is not)."""

    files: Sequence[managed_files.Change]
    rebuild: str

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        steps = [f"{change.kind} {change.path}" for change in self.files]
        return steps + ([f"rebuild {BUNDLE} ({self.rebuild})"] if self.rebuild else [])


def certificates_in(text: str) -> list[str]:
    """Return the bodies of all certificates in a PEM text, without white space."""
    return ["".join(body.split()) for body in _CERTIFICATE.findall(text)]


def check(certificates: Mapping[str, str]) -> None:
    """Refuse what update-ca-certificates would drop silently.

    Raises:
        TrustedCertificatesError: a name or a content is not usable.

    """
    for name, content in certificates.items():
        if not _NAME.fullmatch(name):
            raise TrustedCertificatesError(
                f"certificate name {name!r} must consist of lower-case letters, digits, dots, dashes"
            )
        if "PRIVATE KEY" in content:
            raise TrustedCertificatesError(f"certificate {name} holds a private key; remove it")
        count = len(certificates_in(content))
        if count != 1:
            raise TrustedCertificatesError(
                f"certificate {name} holds {count} PEM certificates; it must hold exactly one"
            )


def plan(
    certificates: Mapping[str, str],
    bundle: str,
    hashed: Collection[str],
    dangling: Iterable[str],
) -> CertificatesPlan:
    """Return what makes exactly ``certificates`` trusted besides the distribution's own.

    ``bundle`` is the text of the bundle in force, ``hashed`` the files that the links by
    subject lead to (OpenSSL reads those, other programs the bundle), ``dangling`` the links
    of removed ones.

    Raises:
        TrustedCertificatesError: see :func:`check`.
        managed_files.ManagedFilesError: something else is in the place of a file.

    """
    check(certificates)
    public = managed_files.Attributes("root", "root", 0o644)
    directory = managed_files.DirectorySpec(
        DIRECTORY, managed_files.Attributes("root", "root", 0o755), exclusive=True
    )
    files = [
        managed_files.FileSpec(f"{DIRECTORY}/{name}.crt", content.strip().encode() + b"\n", public)
        for name, content in sorted(certificates.items())
    ]
    changes = (
        managed_files.plan([directory], files, [])
        if certificates
        else managed_files.plan([], [], [DIRECTORY])
    )
    trusted = set(certificates_in(bundle))
    missing = [
        name for name, text in certificates.items() if certificates_in(text)[0] not in trusted
    ]
    missing += [name for name in certificates if f"{DIRECTORY}/{name}.crt" not in hashed]
    removed = [change.path for change in changes if change.kind is managed_files.ChangeKind.REMOVE]
    if missing:
        return CertificatesPlan(changes, f"it lacks {', '.join(sorted(set(missing)))}")
    return CertificatesPlan(changes, "it holds removed ones" if removed or list(dangling) else "")


def read_bundle() -> str:
    """Return the bundle in force; empty where the package ca-certificates is not installed."""
    return BUNDLE.read_text(encoding="ascii", errors="replace") if BUNDLE.exists() else ""


def hashed_files() -> set[str]:
    """Return the files of ours that the links by subject lead to."""
    if not LINKS.is_dir():
        return set()
    links = [path for path in LINKS.iterdir() if _HASHED.fullmatch(path.name)]
    return {path for path in map(os.path.realpath, links) if path.startswith(f"{DIRECTORY}/")}


def dangling_links() -> list[str]:
    """Return the links that point to certificates of ours that are gone."""
    if not LINKS.is_dir():
        return []
    return [
        str(path)
        for path in LINKS.iterdir()
        if path.is_symlink() and not path.exists() and str(path.readlink()).startswith(DIRECTORY)
    ]


def apply(plan_: CertificatesPlan, run: Run) -> None:
    """Carry the plan out.

    Raises:
        TrustedCertificatesError: the bundle could not be rebuilt.

    """
    managed_files.apply(plan_.files, run)
    if not plan_.rebuild:
        return
    # --fresh also drops the links of certificates that are gone.
    argv = ["update-ca-certificates", "--fresh"]
    checked(run, argv, error=TrustedCertificatesError, timeout_seconds=UPDATE_SECONDS)
