"""Proof of treatment: what a conversation stores is the hash of the very prompt that its agent has on the platform."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from oneiro.settings import Settings

SignIn = Callable[..., httpx.AsyncClient]
ARMS = [{"name": "old", "release": 1, "weight": 0.5}, {"name": "new", "release": 2, "weight": 0.5}]
MANY = 60
"""Dreamers of whom all get the same arm once in 2⁵⁹ times."""


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


@pytest.fixture
async def experiment(operator: httpx.AsyncClient) -> str:
    """Two releases of Carl with other words for the system prompt, under trial."""
    changes = {"personality": {"approach": "cognitive", "traits": ["terse", "curious"]}}
    assert (await operator.post("/admin/interpreters/carl/releases", json={"changes": changes})).status_code == 201
    plan = {"interpreter_id": "carl", "name": "Fewer words", "arms": ARMS}
    made = (await operator.post("/admin/experiments", json=plan)).json()
    started = await operator.post(f"/admin/experiments/{made['id']}/start")
    assert started.json()["status"] == "running", started.text
    return str(made["id"])


async def begin(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert answer.status_code == 201, answer.text
    started: dict[str, Any] = answer.json()
    return started


async def of_both_arms(operator: httpx.AsyncClient, sign_in: SignIn) -> dict[str, Any]:
    """By arm a conversation as operators see it, with the agent that the dreamer was given."""
    found: dict[str, Any] = {}
    for _ in range(MANY):
        started = await begin(sign_in())
        seen = (await operator.get(f"/admin/conversations/{started['conversation_id']}")).json()
        found.setdefault(seen["arm"], seen | {"agent_id": started["agent_id"]})
        if len(found) == len(ARMS):
            break
    return found


async def prompt_at(engine_url: str, agent_id: str) -> str:
    async with httpx.AsyncClient(base_url=engine_url, headers={"xi-api-key": "a key"}) as client:
        agent = (await client.get(f"/v1/convai/agents/{agent_id}")).raise_for_status().json()
    prompt: str = agent["conversation_config"]["agent"]["prompt"]["prompt"]
    return prompt


@pytest.mark.usefixtures("experiment")
async def test_of_either_arm_the_stored_hash_is_that_of_the_prompt_which_the_platform_has(
    operator: httpx.AsyncClient, sign_in: SignIn, engine_url: str
) -> None:
    seen = await of_both_arms(operator, sign_in)

    prompts = {arm: await prompt_at(engine_url, one["agent_id"]) for arm, one in seen.items()}
    assert {arm: one["release"] for arm, one in seen.items()} == {"old": 1, "new": 2}
    assert {arm: one["prompt_sha256"] for arm, one in seen.items()} == {
        arm: hashlib.sha256(prompt.encode()).hexdigest() for arm, prompt in prompts.items()
    }
    assert "terse" in prompts["new"]
    assert "terse" not in prompts["old"]


class TestScopeSession:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"agent_scope": "session"})

    @pytest.mark.usefixtures("experiment")
    async def test_it_holds_of_agents_that_are_made_for_one_dreamer(
        self, operator: httpx.AsyncClient, sign_in: SignIn, engine_url: str
    ) -> None:
        for one in (await of_both_arms(operator, sign_in)).values():
            prompt = await prompt_at(engine_url, one["agent_id"])
            assert one["prompt_sha256"] == hashlib.sha256(prompt.encode()).hexdigest()
