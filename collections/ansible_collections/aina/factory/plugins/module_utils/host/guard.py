"""Who is to come in again after a change of the ways in, and who could not.

Steps judge beforehand what they are about to do. This judges what the host has become, whatever
has changed it: the accounts, the SSH server's answer, and the rules that meet a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..base.ports import Run
from . import firewall
from .way_in import accounts, connection, logins
from .way_in.accounts import Account, Effective
from .way_in.connection import Listener, Session

_SECONDS_OF_A_DAY = 86400


def way_in(
    session: Session, listeners: Sequence[Listener], run: Run, *, own: bool
) -> firewall.WayIn:
    """Return how a session came, as the firewall judges it."""
    interface = connection.interface_of(session.address, run) if session.address else ""
    return firewall.WayIn(session, interface, tuple(listeners), is_of_the_run=own)


def others(run: Run) -> list[Session]:
    """Return the sessions of others that are open now and could be opened anew."""
    _own, found = connection.read_all(connection.read_listeners(run))
    return [session for session in found if session.peer is not None]


def shut(sessions: Sequence[Session], run: Run, now: float) -> Iterator[tuple[Session, str]]:
    """Yield which of these could not be opened anew, as the host is ``now`` (seconds since 1970).

    What cannot be told shuts nobody out.
    """
    if not sessions:
        return
    today = int(now // _SECONDS_OF_A_DAY)
    rules = _rules(run)
    listeners = connection.read_listeners(run)

    def account(name: str, effective: Effective) -> Account:
        return accounts.read_account(name, effective, today)

    for session in sessions:
        problems = [*_by_server(session, run, account)]
        if rules is not None:
            found = way_in(session, listeners, run, own=False)
            # Where else the server listens is no matter of this session.
            problems += filter(None, [firewall.shut(rules.rules, found, rules.families)])
        if problems:
            yield session, "; ".join(problems)


def _by_server(
    session: Session, run: Run, account: Callable[[str, Effective], Account]
) -> Iterator[str]:
    if not Path(logins.PROGRAM).exists():
        return
    try:
        effective = logins.effective_for(session.account, session, run)
        found = account(session.account, effective)
    except accounts.WayInError as error:
        # The account has gone, or the server reads its configuration no more.
        yield str(error)
        return
    yield from logins.problems(found, effective, session.peer)


def _rules(run: Run) -> firewall.Ufw | None:
    """Return the rules that meet a connection; ``None`` where ufw lets all in."""
    try:
        situation = firewall.read(run)
        if situation.lets_all_in:
            return None
        return firewall.read_ufw((), firewall.UFW_DIR, firewall.UFW_DEFAULTS)
    except (firewall.FirewallError, OSError):
        return None
