"""Kernel limits, trusted certificates and group members: the small decisions of a host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import group_members, kernel_limits, trusted_certificates

FIRST = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"
SECOND = "-----BEGIN CERTIFICATE-----\nR0hJ\n-----END CERTIFICATE-----\n"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs/low").write_text("128\n", encoding="ascii")
    (tmp_path / "fs/high").write_text("9000\n", encoding="ascii")
    (tmp_path / "fs/words").write_text("1 2 3\n", encoding="ascii")
    return tmp_path


def test_only_what_is_too_low_is_raised(kernel: Path) -> None:
    limits = kernel_limits.read({"fs.low": 1024, "fs.high": 1024}, kernel)

    kernel_limits.apply(kernel_limits.plan(limits), kernel)

    assert (kernel / "fs/low").read_text(encoding="ascii") == "1024\n"
    assert (kernel / "fs/high").read_text(encoding="ascii") == "9000\n"


def test_what_cannot_be_written_is_no_change_but_a_warning() -> None:
    limits = [kernel_limits.KernelLimit("fs.low", 128, 1024, writable=False)]

    assert kernel_limits.plan(limits) == []
    assert "fs.low is 128 instead of at least 1024" in kernel_limits.unreachable(limits)[0]


@pytest.mark.parametrize(
    ("name", "words"), [("fs.absent", "No such file"), ("fs.words", "'1 2 3'")]
)
def test_a_setting_that_is_no_number_is_an_error(kernel: Path, name: str, words: str) -> None:
    with pytest.raises(kernel_limits.KernelLimitsError, match=words):
        kernel_limits.read({name: 1}, kernel)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Root", FIRST, "must consist of"),
        ("../x", FIRST, "must consist of"),
        ("root", "nothing", "holds 0 PEM certificates"),
        ("root", FIRST + SECOND, "holds 2 PEM certificates"),
        ("root", FIRST + "-----BEGIN PRIVATE KEY-----", "holds a private key"),
    ],
)
def test_an_unusable_certificate_is_refused(name: str, content: str, message: str) -> None:
    with pytest.raises(trusted_certificates.TrustedCertificatesError, match=message):
        trusted_certificates.check({name: content})


def test_the_bundle_is_judged_by_the_certificate_and_not_by_its_line_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted_certificates, "DIRECTORY", f"{tmp_path}/ours")
    rewrapped = FIRST.replace("QUJD\nREVG", "QUJDREVG")

    linked = [f"{tmp_path}/ours/a.crt"]

    def rebuild(
        certificates: dict[str, str], bundle: str, hashed: list[str], *dangling: str
    ) -> str:
        return trusted_certificates.plan(certificates, bundle, hashed, dangling).rebuild

    assert rebuild({"a": FIRST}, SECOND + rewrapped, linked) == ""
    assert rebuild({"a": FIRST}, SECOND, linked) == "it lacks a"
    assert rebuild({"a": FIRST}, SECOND + rewrapped, []) == "it lacks a"
    assert rebuild({}, SECOND, [], "/etc/ssl/certs/a.pem") != ""
    assert trusted_certificates.plan({}, SECOND, [], []).actions == []


def test_nobody_is_taken_out_of_a_group_whom_somebody_else_has_added() -> None:
    plan = group_members.plan("docker", ["ali", "ali"], ["bob"])

    assert (plan.add, plan.remove, plan.others) == (("ali",), (), ("bob",))


def test_who_was_added_and_is_declared_no_longer_is_taken_out() -> None:
    plan = group_members.plan("docker", ["ali"], ["ali", "eve", "bob"], own=["eve", "ali", "gone"])

    assert (plan.add, plan.remove, plan.others) == ((), ("eve",), ("bob",))
    assert plan.actions == ["take eve out of docker"]


def test_a_user_that_does_not_exist_is_named() -> None:
    def run(argv: Sequence[str | bytes], **_: Any) -> Completed:
        return Completed(3, b"", b"gpasswd: user 'ali' does not exist\n")

    with pytest.raises(group_members.GroupMembersError, match="user 'ali' does not exist"):
        group_members.apply(group_members.plan("docker", ["ali"], []), run)
