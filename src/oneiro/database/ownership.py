"""Who may own a data directory, and as which account its server runs.

PostgreSQL refuses to run as root. As root we therefore run it as an existing unprivileged account and never change
the mode of a directory that we did not make ourselves: a place closed to that account is an error with one line.
"""

import fcntl
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneiro.errors import SetupError

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """The unprivileged account that runs PostgreSQL for root."""

    uid: int
    gid: int

    def popen(self) -> dict[str, Any]:
        """Arguments that make `subprocess.Popen` run a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account(pgdata: Path) -> Account | None:
    """Account for the server: None (ourselves) unless we are root; an existing cluster keeps its owner's."""
    if os.geteuid() != 0:
        return None
    if pgdata.exists() and (owner := pgdata.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(NOBODY, NOBODY)


def _allows(entry: os.stat_result, account: Account, bit: int) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & (bit << 6))
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & (bit << 3))
    return bool(entry.st_mode & bit)


def closed_directory(path: Path, account: Account | None) -> Path | None:
    """Return the first directory on the way to `path`, itself included, that the account may not enter."""
    if account is None:
        return None
    resolved = path.resolve()
    for directory in (*reversed(resolved.parents), resolved):
        if directory.is_dir() and not _allows(directory.stat(), account, stat.S_IXOTH):
            return directory
    return None


def prepare_directory(chosen: Path) -> Path:
    """Make the data directory, or check one that exists; existing modes stay as they are. Returns its full path.

    A new directory is 0700, or 0711 for root, whose server must pass through it as another account.
    Raises SetupError with one line when the directory is no directory, not writable, or out of the server's reach.
    """
    data_dir = chosen.expanduser().resolve()
    account = server_account(data_dir / "pgdata")
    try:
        if not data_dir.is_dir():
            data_dir.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            data_dir.mkdir()
            data_dir.chmod(0o700 if account is None else 0o711)
    except (FileExistsError, NotADirectoryError):
        raise SetupError(f"{data_dir} is not a directory: choose another with ONEIRO_DATA_DIR.") from None
    except OSError as error:
        raise SetupError(
            f"{data_dir} cannot be made ({error.strerror}): choose another with ONEIRO_DATA_DIR."
        ) from None
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise SetupError(
            f"{data_dir} is closed to this user: make it writable, or choose another with ONEIRO_DATA_DIR."
        )
    if account is not None and (closed := closed_directory(data_dir, account)):
        raise SetupError(
            f"PostgreSQL does not run as root but as uid {account.uid}, which may not enter {closed}: "
            f"choose a reachable directory with ONEIRO_DATA_DIR, such as /var/lib/oneiro."
        )
    return data_dir


def open_private(path: Path, flags: int) -> int:
    """Open a file of mode 0600 that belongs to the owner of its directory; never through a symbolic link.

    Raises SetupError when it belongs to someone else.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise SetupError(f"{path} belongs to another user: choose another directory with ONEIRO_DATA_DIR.") from None
    if os.geteuid() == 0:
        home = path.parent.stat()
        os.fchown(descriptor, home.st_uid, home.st_gid)
    return descriptor


def own_directory(path: Path, account: Account | None) -> None:
    """Make a directory of mode 0700 that belongs to the server's account."""
    path.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def try_lock(data_dir: Path) -> int | None:
    """Descriptor that holds the data directory as long as it is open, None while another process holds it."""
    descriptor = open_private(data_dir / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
