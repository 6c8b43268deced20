"""Which processes belong to the embedded server's data folder.

A process number proves nothing: another program can have the number of a killed server by now.
"""

from __future__ import annotations

from pathlib import Path

import psutil


def is_server(pid: int, folder: Path) -> bool:
    """True if the process is a PostgreSQL that works on exactly this data folder.

    By now, the number of a killed process can belong to another server.
    """
    try:
        return _works_in(psutil.Process(pid), folder)
    except psutil.NoSuchProcess:
        return False


def any_process_left(folder: Path) -> bool:
    """True if a server runs or starts here, or if processes of a killed one are left.

    No other server can start until those processes have noticed that their server is gone.
    """
    return (folder / "postmaster.pid").exists() or any(
        _works_in(process, folder) for process in psutil.process_iter()
    )


def has_postmaster(folder: Path) -> bool:
    """True if the pid file names a server that works on this data, perhaps one that is starting."""
    try:
        first = (folder / "postmaster.pid").read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return False
    return first.isdigit() and is_server(int(first), folder)


def forget_stale_postmaster(folder: Path) -> None:
    """Remove the pid file unless it names a server that works on this data."""
    if not has_postmaster(folder):
        (folder / "postmaster.pid").unlink(missing_ok=True)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """True if the process is one of PostgreSQL's, and works on this data folder.

    In a container, root cannot always see the working folder of another user's process. But anybody
    can read its command line, which for a server names the data folder.
    """
    try:
        if "postgres" not in process.name():
            return False
        try:
            # A path can be written in several ways, for example in other capitals on macOS.
            return Path(process.cwd()).samefile(folder)
        except psutil.AccessDenied:
            return str(folder.resolve()) in process.cmdline()
    except (psutil.Error, OSError):
        return False
