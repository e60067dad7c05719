"""`oneiro talk` as a dreamer and as a program uses it, with a PostgreSQL and an engine of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Run = Callable[..., CompletedProcess[str]]
DREAM = "I dreamt that a red tractor stood in my grandmother's kitchen and nobody minded."


def objects(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dream_on_a_pipe_is_answered_line_by_line(oneiro: Run) -> None:
    done = oneiro("talk", "carl", said=f"{DREAM}\nI felt safe there.\n")

    assert done.returncode == 0, done.stderr
    replies = [part for part in done.stdout.split("\n\n") if part.strip()]
    assert len(replies) == 3
    assert "tractor" in replies[1] or "kitchen" in replies[1] or "grandmother" in replies[1]
    assert "not a human being" in done.stderr or "an AI" in done.stderr


def test_json_is_an_object_a_line_from_start_to_end(oneiro: Run) -> None:
    done = oneiro("talk", "lakshmi", "--json", said=f"{DREAM}\n")

    assert done.returncode == 0, done.stderr
    lines = objects(done)
    assert [line["type"] for line in lines] == ["started", "opening", "user", "interpreter", "ended"]
    assert lines[0]["conversation_id"] == lines[-1]["conversation_id"]
    assert lines[2]["content"] == DREAM
    assert lines[4]["content"]


def test_a_dream_from_a_file_is_written_down_and_talked_about(oneiro: Run, tmp_path: Path) -> None:
    (tmp_path / "dream.txt").write_text(DREAM, encoding="utf-8")

    done = oneiro("talk", "carl", "--json", "--dream", "dream.txt", said="What do you make of it?\n")

    assert done.returncode == 0, done.stderr
    assert any(word in objects(done)[3]["content"] for word in ("tractor", "kitchen", "grandmother"))


def test_words_of_danger_show_the_card_before_the_reply(oneiro: Run) -> None:
    done = oneiro("talk", "carl", "--json", said="I am going to kill myself tonight\n")

    lines = objects(done)
    assert [line["type"] for line in lines] == ["started", "opening", "user", "safety", "interpreter", "ended"]
    assert lines[3]["tier"] == "active_danger"
    assert lines[3]["card"]["lines"]
    assert done.returncode == 0


@pytest.mark.parametrize("length", [2001, 4000])
def test_a_line_over_the_bound_is_refused_and_not_cut(oneiro: Run, length: int) -> None:
    done = oneiro("talk", "carl", "--json", said="x" * length + "\n")

    error = next(line for line in objects(done) if line["type"] == "error")
    assert f"at most 2000 characters, this has {length}" in error["content"]
    assert "user" not in {line["type"] for line in objects(done)}
    assert done.returncode == 1


def test_an_unknown_interpreter_is_named_beside_those_there_are(oneiro: Run) -> None:
    done = oneiro("talk", "sigmund", said="Hello\n")

    assert done.returncode == 1
    assert "carl, lakshmi" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_said_is_a_conversation_that_ends_well(oneiro: Run) -> None:
    done = oneiro("talk", "carl", "--json", said="")

    assert done.returncode == 0
    assert [line["type"] for line in objects(done)] == ["started", "opening", "ended"]


@pytest.mark.parametrize("args", [["talk"], ["talk", "carl", "--dream", "nowhere.txt"]])
def test_a_wrong_call_is_a_usage_error(oneiro: Run, args: list[str]) -> None:
    assert oneiro(*args).returncode == 2


def test_an_address_where_nothing_listens_is_one_line(oneiro: Run) -> None:
    done = oneiro("talk", "carl", "--url", "http://127.0.0.1:9", said="Hello\n")

    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def up(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "oneiro", "up", "--port", "0"], stdout=subprocess.DEVNULL, env=environment
    )
    facts = Path(environment["ONEIRO_DATA_DIR"]) / "server.json"
    deadline = time.monotonic() + 30
    url = None
    while url is None and time.monotonic() < deadline and process.poll() is None:
        if facts.exists():
            url = json.loads(facts.read_text()).get("api_url")
        time.sleep(0.05)
    assert url, "up did not start"
    try:
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def postgres_is_gone(environment: dict[str, str]) -> bool:
    pid_file = Path(environment["ONEIRO_DATA_DIR"])
    return not any(path.name == "server.json" for path in pid_file.iterdir())


def test_talk_joins_a_running_up_and_leaves_it_alone(oneiro: Run, environment: dict[str, str]) -> None:
    with up(environment) as (process, url):
        for arguments in (["talk", "carl"], ["talk", "carl", "--url", url]):
            done = oneiro(*arguments, "--json", said=f"{DREAM}\n")
            assert done.returncode == 0, done.stderr
            assert process.poll() is None

        again = oneiro("up")
        assert again.returncode == 0
        assert "running already" in again.stdout
        assert url in again.stdout
    assert process.returncode == 0
    assert postgres_is_gone(environment)


def test_a_postgres_that_is_killed_comes_back_and_requests_recover(oneiro: Run, environment: dict[str, str]) -> None:
    with up(environment) as (_, url):
        postmaster = Path(environment["ONEIRO_DATA_DIR"]) / "pgdata" / "postmaster.pid"
        os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)

        deadline = time.monotonic() + 20
        done = oneiro("talk", "carl", "--url", url, "--json", said=f"{DREAM}\n")
        while done.returncode != 0 and time.monotonic() < deadline:
            done = oneiro("talk", "carl", "--url", url, "--json", said=f"{DREAM}\n")

        assert done.returncode == 0, done.stderr
