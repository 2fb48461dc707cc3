"""A PostgreSQL server of one's own: Debian's package, a folder in the temporary directory, a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg

USER = "telepathy"


class PostgreSQLMissingError(Exception):
    """The server's programs are not installed, or only root could run them."""


class Server:
    """A running server that anyone on this machine may enter."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a database of one's own, dropped afterwards with whoever is still connected.

        Empty, or as `template` is, to which nobody may be connected.
        """
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres", autocommit=True) as server:
            server.execute(statement)


def _programs() -> Path:
    found = shutil.which("initdb")
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    candidates = [Path(found)] if found else sorted(debian, key=lambda path: float(path.parent.parent.name))
    if not candidates:
        raise PostgreSQLMissingError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return candidates[-1].resolve().parent


def _unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root, which the server refuses."""
    if os.geteuid() != 0:
        return []
    for user in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(user)
            return ["runuser", "-u", user, "--"]
    raise PostgreSQLMissingError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_server(*, survives_power_cuts: bool) -> Iterator[Server]:
    """Start a server, and stop it at the end. Raises PostgreSQLMissingError where it cannot be had.

    One that need not survive a power cut does not wait for the disk: tests, which kill clients and never the machine.
    """
    programs, as_user = _programs(), _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="telepathy-postgresql-"))
    if as_user:
        shutil.chown(folder, as_user[2])
    cluster = folder / "cluster"
    port = _free_port()

    def run(*command: str) -> None:
        # The server inherits standard output: a pipe would stay open for as long as it lives.
        with (folder / "programs.log").open("a") as log:
            done = subprocess.run([*as_user, *command], stdout=log, stderr=log, cwd=folder, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(folder / 'programs.log').read_text()}")

    control = str(programs / "pg_ctl")
    try:
        run(str(programs / "initdb"), "-D", str(cluster), "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-locale")
        fsync = "on" if survives_power_cuts else "off"
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync={fsync}"
        run(control, "-D", str(cluster), "-l", str(folder / "server.log"), "-o", options, "-w", "start")
        try:
            yield Server(port)
        finally:
            run(control, "-D", str(cluster), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
