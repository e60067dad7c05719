import re
import socket
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from uuid import UUID

import jwt
import psycopg
import pytest
import typer

from oneiro.cli import COMMANDS, load
from oneiro.database.embedded import Server

Run = Callable[..., CompletedProcess[str]]


def assert_one_line(done: CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_help_lists_every_command_and_imports_none(oneiro: Run) -> None:
    done = oneiro("--help")

    assert done.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", done.stdout)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_text_of_its_own(name: str) -> None:
    assert load(name).help
    assert isinstance(import_module(f"oneiro.cli.{name}").app, typer.Typer)


def test_an_unknown_command_is_a_usage_error(oneiro: Run) -> None:
    done = oneiro("dance")

    assert done.returncode == 2
    assert "dance" in done.stderr


def test_serve_names_every_setting_that_is_missing(oneiro: Run) -> None:
    done = oneiro("serve")

    assert_one_line(done, "ONEIRO_DATABASE_URL", "ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL", "ELEVENLABS_API_KEY")


def test_a_wrong_setting_is_one_line(oneiro: Run) -> None:
    assert_one_line(oneiro("up", ONEIRO_PORT="many"), "ONEIRO_PORT")


def test_an_unreachable_database_is_one_line_without_its_password(oneiro: Run) -> None:
    url = "postgresql://someone:hush@127.0.0.1:9/none"
    settings = {"ONEIRO_DATABASE_URL": url, "ONEIRO_JWT_SECRET": "x" * 32, "ELEVENLABS_API_KEY": "k"}

    for done in (oneiro("migrate", **settings), oneiro("serve", **settings)):
        assert_one_line(done)
        assert "hush" not in done.stderr


def test_a_port_in_use_is_one_line(oneiro: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        assert_one_line(oneiro("engine", "--port", port), port, "in use")
        assert_one_line(oneiro("up", "--port", port), port, "in use")


def test_a_closed_data_directory_is_one_line(oneiro: Run, tmp_path: Path) -> None:
    wall = tmp_path / "file"
    wall.write_text("no directory")

    assert_one_line(oneiro("up", "--data-dir", str(wall / "data")))


def test_a_token_names_the_dreamer_and_can_be_checked(oneiro: Run) -> None:
    secret = "a secret of at least thirty-two bytes"
    user = "6b4f6f0e-6f0c-4b8e-9d57-1f1a2b3c4d5e"

    done = oneiro("token", "--user", user, "--ttl", "30m", ONEIRO_JWT_SECRET=secret)

    claims = jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"], audience="authenticated")
    assert UUID(claims["sub"]) == UUID(user)
    assert claims["exp"] - claims["iat"] == 1800


def test_an_operators_token_carries_the_claim(oneiro: Run) -> None:
    secret = "a secret of at least thirty-two bytes"

    done = oneiro("token", "--operator", ONEIRO_JWT_SECRET=secret)

    claims = jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"], audience="authenticated")
    assert claims["app_metadata"] == {"oneiro_role": "operator"}


def test_a_token_needs_a_secret_and_says_how_to_get_one(oneiro: Run) -> None:
    assert_one_line(oneiro("token"), "oneiro up", "ONEIRO_JWT_SECRET")


def test_a_strange_time_to_live_is_a_usage_error(oneiro: Run) -> None:
    assert oneiro("token", "--ttl", "soon", ONEIRO_JWT_SECRET="x" * 32).returncode == 2


def test_migrate_brings_a_database_up_to_date_once(oneiro: Run, postgres: Server) -> None:
    name = "cli_migrate"
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    url = {"ONEIRO_MIGRATE_DATABASE_URL": postgres.url(name)}

    before = oneiro("migrate", "--check", **url)
    first = oneiro("migrate", **url)
    second = oneiro("migrate", **url)

    assert before.returncode == 1
    assert "pending" in before.stdout
    assert "applied" in first.stdout
    assert second.stdout == "0 applied; the schema is up to date.\n"
    assert oneiro("migrate", "--check", **url).returncode == 0


def test_migrate_prints_the_schema_without_a_database(oneiro: Run) -> None:
    done = oneiro("migrate", "--print")

    assert done.returncode == 0
    assert "CREATE TABLE conversation_sessions" in done.stdout


def test_doctor_finds_this_machine_well(oneiro: Run) -> None:
    done = oneiro("doctor")

    assert done.returncode == 0, done.stdout
    assert "embedded" in done.stdout
    assert "demo" in done.stdout
