"""Interpreters as files, from the command line."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml
from fastapi import FastAPI
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli.interpreters import applied
from oneiro.cli.listen import bind, listening
from oneiro.cli.operator_api import OperatorApi, Refused
from oneiro.database.pool import Database
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters import documents
from oneiro.interpreters.seed import load_seeds
from oneiro.settings import Settings

Run = Callable[..., subprocess.CompletedProcess[str]]
SIGMUND = (Path(__file__).parents[2] / "docs" / "examples" / "sigmund.yaml").read_text(encoding="utf-8")
SECRET = "a secret of at least thirty-two bytes"

Do = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def api_url(service_url: str) -> AsyncIterator[str]:
    """An Oneiro with Carl and Lakshmi that listens."""
    database = Database(service_url)
    await database.open()
    async with database.as_service() as conn:
        await load_seeds(conn)
    await database.close()
    async with running(EngineSettings(speed=100)) as engine_url:
        settings = Settings(
            database_url=SecretStr(service_url),
            jwt_secret=SecretStr(SECRET),
            elevenlabs_api_key=SecretStr("a key"),
            elevenlabs_base_url=engine_url,
        )
        sock = bind("127.0.0.1", 0, what="the API")
        async with listening(create_app(settings, Surroundings(simulated=True)), sock) as api:
            yield api.url
        sock.close()


def token(*, operator: bool = True) -> str:
    return issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC))


@pytest.fixture
def do(oneiro: Run, api_url: str) -> Do:
    """Runs `oneiro interpreters …` on that Oneiro, beside it."""

    async def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"ONEIRO_TOKEN": token()} | variables
        return await asyncio.to_thread(oneiro, "interpreters", *args, "--url", api_url, **variables)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sigmund.yaml"
    path.write_text(SIGMUND, encoding="utf-8")
    return path


async def test_a_file_is_applied_once_changed_rolled_back_and_taken_up_again(do: Do, file: Path) -> None:
    dry = await do("apply", str(file), "--dry-run")
    assert dry.stdout.endswith("sigmund: would be created\n"), dry.stderr
    assert (await do("apply", str(file))).stdout == "sigmund: created, release 1 is active\n"
    assert (await do("apply", str(file))).stdout == "sigmund: unchanged (release 1)\n"

    file.write_text(SIGMUND.replace("Leave pauses.", "Leave long pauses."), encoding="utf-8")
    changed = await do("diff", str(file))
    assert changed.returncode == 1
    assert "prompts.system/manner.template" in changed.stdout
    assert "+You are courteous and a little old-fashioned, never solemn. Leave long pauses." in changed.stdout
    assert (await do("apply", str(file), "--note", "slower")).stdout == "sigmund: release 2 is active\n"
    assert (await do("rollback", "sigmund")).stdout == "sigmund: release 1 is active instead of release 2\n"
    assert (await do("apply", str(file))).stdout == "sigmund: release 2 is active again\n"

    listed = (await do("releases", "sigmund")).stdout
    assert "slower" in listed
    assert (await do("retire", "sigmund")).returncode == 0
    assert "retired" in (await do("list")).stdout
    assert (await do("rollback", "sigmund")).stdout == "sigmund: release 2 is active again\n"


async def test_several_rollbacks_go_further_back_and_never_to_what_was_rolled_back_from(do: Do, file: Path) -> None:
    for pauses in ("Leave pauses.", "Leave long pauses.", "Leave very long pauses."):
        file.write_text(SIGMUND.replace("Leave pauses.", pauses), encoding="utf-8")
        assert (await do("apply", str(file))).returncode == 0

    assert "release 2 is active instead of release 3" in (await do("rollback", "sigmund")).stdout
    file.write_text(SIGMUND.replace("Leave pauses.", "Leave no pauses."), encoding="utf-8")
    assert (await do("apply", str(file))).stdout == "sigmund: release 4 is active\n"
    assert "release 2 is active instead of release 4" in (await do("rollback", "sigmund")).stdout
    assert "release 1 is active instead of release 2" in (await do("rollback", "sigmund")).stdout
    end = await do("rollback", "sigmund")
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr == "sigmund: no other release was in charge before; name one with --to\n"
    assert "release 3 is active instead of release 1" in (await do("rollback", "sigmund", "--to", "3")).stdout


async def test_what_differs_from_nothing_is_written_as_in_a_file(do: Do, file: Path) -> None:
    shown = await do("diff", str(file))
    assert shown.returncode == 1
    assert shown.stdout.startswith(f"sigmund: not known yet → {file}\n  id\n      + sigmund\n")
    assert "  voice\n      + voice_id: null\n" in shown.stdout
    assert "      +   greeting: courteous_welcome\n" in shown.stdout


async def test_a_retired_interpreter_differs_though_its_words_do_not(do: Do, tmp_path: Path) -> None:
    path = tmp_path / "carl.yaml"
    assert (await do("export", "carl", "-o", str(path))).returncode == 0
    assert (await do("diff", str(path))).returncode == 0
    assert (await do("retire", "carl")).stdout == "carl: retired\n"
    shown = await do("diff", str(path))
    assert (shown.returncode, shown.stdout) == (1, f"carl: {path} is as release 1, which is not active\n")


async def test_what_is_shown_tells_where_rolling_back_leads(do: Do, file: Path) -> None:
    shown = (await do("show", "carl")).stdout
    assert "no agent is on the platform now" in shown
    assert "rollback" not in shown
    for text in (SIGMUND, SIGMUND.replace("Leave pauses.", "Leave long pauses.")):
        file.write_text(text, encoding="utf-8")
        await do("apply", str(file))
    assert "release 2, newest 2," in (shown := (await do("show", "sigmund")).stdout)
    assert "rollback leads to release 1\n" in shown


async def test_a_place_that_cannot_be_written_to_is_told_in_one_line(do: Do, tmp_path: Path) -> None:
    run = await do("export", "carl", "-o", str(tmp_path / "nowhere" / "carl.yaml"))
    assert (run.returncode, run.stderr) == (1, f"{tmp_path / 'nowhere' / 'carl.yaml'}: No such file or directory\n")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("show", "a\x01b"),
        ("export", "carl/releases/1"),
        ("releases", "../experiments"),
        ("preview", "missing.yaml"),
        ("rollback", "Carl"),
        ("retire", ""),
    ],
)
def test_what_can_be_no_id_is_refused_before_anything_is_asked(oneiro: Run, command: str, name: str) -> None:
    run = oneiro("interpreters", command, "--", name)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Traceback" not in run.stderr
    assert "id" in run.stderr


async def test_what_is_exported_is_what_would_be_applied(do: Do, tmp_path: Path) -> None:
    path = tmp_path / "carl.yaml"
    assert (await do("export", "carl", "--output", str(path))).returncode == 0
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=")
    assert yaml.safe_load(text)["id"] == "carl"
    assert (await do("apply", str(path))).stdout == "carl: unchanged (release 1)\n"
    shown = (await do("show", "carl")).stdout
    assert "Dr. Carl Gustav Jung" in shown


async def test_a_preview_shows_first_and_last_words_and_the_system_prompt(do: Do, file: Path) -> None:
    shown = (await do("preview", str(file), "--name", "José", "--last-time", "the stairs")).stdout
    assert "There you are again, José. We had come as far as the stairs." in shown
    assert "You are Sigmund, an artificial voice" in shown
    assert "user_name_safe: José" in shown
    assert "── opening · " in shown


def test_a_dream_that_is_not_utf_8_is_told_in_one_line(oneiro: Run, file: Path, tmp_path: Path) -> None:
    dream = tmp_path / "dream.txt"
    dream.write_bytes("I fell into a café".encode("latin-1"))
    run = oneiro("interpreters", "preview", str(file), "--dream", str(dream))
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"{dream}: this is not UTF-8\n")


async def test_a_document_of_a_newer_oneiro_is_told_when_it_is_exported(oneiro: Run, file: Path) -> None:
    newer = FastAPI()
    newer.get("/v1/admin/interpreters/sigmund")(lambda: {"document": yaml.safe_load(SIGMUND) | {"whisper": True}})
    sock = bind("127.0.0.1", 0, what="a newer Oneiro")
    async with listening(newer, sock) as api:
        run = await asyncio.to_thread(
            oneiro, "interpreters", "export", "sigmund", "--url", api.url, "--token", "t", "-o", str(file)
        )
    sock.close()
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert "does not know" in run.stderr
    assert "whisper" in run.stderr
    assert file.read_text(encoding="utf-8") == SIGMUND


async def test_what_a_colleague_published_meanwhile_is_not_undone(api_url: str, file: Path) -> None:
    """Somebody makes another release the default after this command looked and before it acts."""
    document = documents.parse(file.read_bytes())
    headers = {"Authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(base_url=api_url, headers=headers, timeout=30) as colleague:
        await colleague.post("/v1/admin/interpreters", json={"document": document.data()})
        path = "/v1/admin/interpreters/sigmund/releases"
        for name in ("Siggi", "Schlomo"):
            await colleague.post(path, json={"changes": {"name": name}, "activate": name == "Siggi"})

        async def overtakes(request: httpx.Request) -> None:
            if request.url.path.endswith("/activate"):
                await colleague.post(f"{path}/3/activate")

        hooks = {"request": [overtakes]}
        async with httpx.AsyncClient(base_url=api_url, headers=headers, event_hooks=hooks, timeout=30) as client:
            with pytest.raises(Refused) as refused:
                await applied(OperatorApi(client), document, "", activate=True, dry_run=False)

        assert refused.value.code == "stale_release"
        assert (await colleague.get("/v1/admin/interpreters/sigmund")).json()["release"] == 3


def test_a_comparison_that_cannot_be_made_does_not_look_like_a_difference(oneiro: Run, file: Path) -> None:
    away = oneiro("interpreters", "diff", str(file), "--url", "http://127.0.0.1:9", "--token", "t")
    assert (away.returncode, away.stderr.count("\n")) == (2, 1)
    file.write_text("id: [", encoding="utf-8")
    assert oneiro("interpreters", "diff", str(file)).returncode == 2


async def test_a_comparison_that_is_not_allowed_does_not_look_like_a_difference(do: Do, file: Path) -> None:
    assert (await do("diff", str(file), ONEIRO_TOKEN=token(operator=False))).returncode == 2


async def test_one_bad_file_among_good_ones_changes_nothing(do: Do, file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        SIGMUND.replace("id: sigmund", "id: bad").replace("{{ interpreter.name }}", "{{ interpretr.name }}", 1),
        encoding="utf-8",
    )
    line = 1 + SIGMUND[: SIGMUND.index("{{ interpreter.name }}")].count("\n")

    applied = await do("apply", str(file), str(bad))

    assert (applied.returncode, applied.stdout) == (1, "")
    assert applied.stderr == (
        f"{bad}:{line}: prompts[0].template (system/default, line 1): "
        "interpretr is unknown; did you mean interpreter?\n"
    )
    assert "sigmund" not in (await do("list")).stdout


async def test_somebody_else_is_turned_away_in_one_line(do: Do) -> None:
    refused = await do("list", ONEIRO_TOKEN=token(operator=False))
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "This is for operators.\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: [", ":2: this is not YAML"),
        ("a: &a [x, x]\nb: *a\n", ":1: a: anchors and aliases"),
        ("id: sigmund\nid: freud\n", ":2: id: this key stands here twice"),
        (SIGMUND.replace("stability: 0.8", "stability: loud"), ":30: voice.stability: must be a number"),
        (SIGMUND.replace("stability: 0.8", "stability: 8"), ":30: voice.stability: must be at most 1"),
        (SIGMUND.replace("id: sigmund", "id: Sigmund!"), ":5: id: must be 2 to 31 lower-case letters"),
    ],
)
def test_a_faulty_file_is_told_with_line_and_field_before_anything_is_started(
    oneiro: Run, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(text, encoding="utf-8")

    run = oneiro("interpreters", "apply", str(path))

    assert (run.returncode, run.stdout) == (1, "")
    assert f"{path}{said}" in run.stderr


def test_an_address_without_a_token_is_refused_in_one_line(oneiro: Run) -> None:
    run = oneiro("interpreters", "list", "--url", "http://127.0.0.1:9")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "--token" in run.stderr


def test_an_address_where_nobody_is_is_told_in_one_line(oneiro: Run) -> None:
    run = oneiro("interpreters", "list", "--url", "http://127.0.0.1:9", "--token", "t")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "cannot be reached" in run.stderr


@pytest.fixture
def up(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """`oneiro up` on the test's data directory."""
    command = [sys.executable, "-m", "oneiro", "up", "--port", "0"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        yield
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.usefixtures("up")
def test_without_an_address_the_running_one_of_this_machine_is_used(oneiro: Run, file: Path) -> None:
    assert oneiro("interpreters", "apply", str(file)).stdout == "sigmund: created, release 1 is active\n"
    listed = oneiro("interpreters", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["id", "carl", "lakshmi", "sigmund"]


def test_without_a_running_one_the_command_runs_it_itself(oneiro: Run) -> None:
    listed = oneiro("interpreters", "list")
    assert "lakshmi" in listed.stdout, listed.stderr
