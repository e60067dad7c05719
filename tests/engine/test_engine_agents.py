import base64
import json
from collections.abc import Callable

import httpx
import pytest
from elevenlabs import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import UnprocessableEntityError

ONCE = {"max_retries": 0}


async def make(sdk: AsyncElevenLabs, **agent: object) -> str:
    created = await sdk.conversational_ai.agents.create(conversation_config={"agent": agent}, name="Carl")
    return str(created.agent_id)


async def test_an_agent_comes_back_with_the_defaults_and_without_keys_the_platform_does_not_know(
    sdk: AsyncElevenLabs,
) -> None:
    created = await sdk.conversational_ai.agents.create(
        conversation_config={
            "agent": {"first_message": "{{opening}}", "prompt": {"prompt": "Be kind.", "llm": "gpt-4o"}},
            "tts": {"stability": 0.85, "style": 0.3, "use_speaker_boost": True},
            "llm": {"model": "gpt-4o"},
        },
        name="Carl",
        tags=["oneiro"],
    )
    agent = await sdk.conversational_ai.agents.get(created.agent_id)
    config = agent.conversation_config.model_dump()
    assert config["tts"]["stability"] == 0.85
    assert "style" not in config["tts"]
    assert "llm" not in config
    assert config["tts"]["agent_output_audio_format"] == "pcm_16000"
    assert agent.tags == ["oneiro"]
    assert agent.platform_settings is not None
    assert agent.platform_settings.queueing_config is not None
    assert agent.platform_settings.queueing_config.enabled is True


async def test_a_null_temperature_is_kept_as_null(sdk: AsyncElevenLabs) -> None:
    agent = await sdk.conversational_ai.agents.get(await make(sdk, prompt={"temperature": None}))
    assert agent.conversation_config.agent is not None
    assert agent.conversation_config.agent.prompt is not None
    assert agent.conversation_config.agent.prompt.temperature is None


async def test_a_patch_merges_and_leaves_the_old_version_readable(sdk: AsyncElevenLabs) -> None:
    agents = sdk.conversational_ai.agents
    agent_id = await make(sdk, first_message="Hello.", prompt={"prompt": "Be kind.", "temperature": 0.7})
    before = await agents.get(agent_id)
    await agents.update(agent_id, conversation_config={"agent": {"prompt": {"prompt": "Be brief."}}})
    after = await agents.get(agent_id)
    assert after.conversation_config.agent is not None
    assert after.conversation_config.agent.prompt is not None
    assert after.conversation_config.agent.prompt.prompt == "Be brief."
    assert after.conversation_config.agent.prompt.temperature == 0.7
    assert after.conversation_config.agent.first_message == "Hello."
    assert before.version_id is not None
    assert after.version_id is not None
    assert after.version_id != before.version_id
    old = await agents.get(agent_id, version_id=before.version_id)
    assert old.conversation_config == before.conversation_config
    version = await agents.versions.get(agent_id, after.version_id)
    assert version.seq_no_in_branch == 2
    assert version.parents.in_branch_parent_id == before.version_id


async def test_the_pages_of_a_list_hold_every_agent_once_although_one_is_deleted_between(sdk: AsyncElevenLabs) -> None:
    made = [await make(sdk) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await sdk.conversational_ai.agents.list(page_size=3, cursor=cursor)
        seen += [agent.agent_id for agent in page.agents]
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(seen) == 3:
            await sdk.conversational_ai.agents.delete(seen[2])
    assert sorted(seen) == sorted(made)
    assert not page.has_more


async def test_a_list_is_filtered_by_name_and_tag(sdk: AsyncElevenLabs) -> None:
    agents = sdk.conversational_ai.agents
    for name, tag in (("Carl of the deep", "one"), ("Lakshmi", "one"), ("Carl", "two")):
        await agents.create(conversation_config={}, name=name, tags=[tag])
    assert {agent.name for agent in (await agents.list(search="carl")).agents} == {"Carl of the deep", "Carl"}
    assert {agent.name for agent in (await agents.list(tags=["one"])).agents} == {"Carl of the deep", "Lakshmi"}


async def test_a_deleted_agent_is_not_found_and_its_copy_lives(sdk: AsyncElevenLabs) -> None:
    agents = sdk.conversational_ai.agents
    agent_id = await make(sdk, first_message="Hello.")
    copy = await agents.duplicate(agent_id, name="Second")
    await agents.delete(agent_id)
    with pytest.raises(ApiError) as refusal:
        await agents.get(agent_id)
    assert refusal.value.status_code == 404
    assert refusal.value.body["detail"]["code"] == "agent_not_found"
    assert (await agents.get(copy.agent_id)).name == "Second"


async def test_only_the_named_keys_open_an_engine(
    start: Callable[..., object], sdk_for: Callable[..., AsyncElevenLabs]
) -> None:
    url = await start(api_keys=frozenset({"right"}))  # type: ignore[misc]
    with pytest.raises(ApiError) as refusal:
        await sdk_for(url, "wrong").conversational_ai.agents.list()
    assert refusal.value.status_code == 401
    assert refusal.value.body["detail"]["status"] == "invalid_api_key"
    assert (await sdk_for(url, "right").conversational_ai.agents.list()).agents == []


async def test_a_missing_key_is_refused_even_before_a_body_that_is_no_json(engine_url: str) -> None:
    async with httpx.AsyncClient(timeout=30) as http:
        response = await http.post(f"{engine_url}/v1/convai/agents/create", content=b"{")
    assert response.status_code == 401


@pytest.mark.parametrize(("prompt", "place"), [({"temperature": 9}, "temperature"), ({"llm": "gpt-of-the-sea"}, "llm")])
async def test_a_bad_value_is_answered_with_its_place_and_not_with_itself(
    sdk: AsyncElevenLabs, prompt: dict[str, object], place: str
) -> None:
    with pytest.raises(UnprocessableEntityError) as refusal:
        await make(sdk, prompt=prompt)
    body = refusal.value.body
    detail = body["detail"] if isinstance(body, dict) else body.detail
    first = detail[0] if isinstance(detail[0], dict) else detail[0].model_dump()
    assert first["loc"] == ["body", "conversation_config", "agent", "prompt", place]
    assert "gpt-of-the-sea" not in str(first)
    assert set(first) == {"loc", "msg", "type"}


@pytest.mark.parametrize(
    ("path", "status"), [("agents?page_size=0", 422), ("agents?page_size=101", 422), ("conversation/token", 404)]
)
async def test_bad_requests_are_told_apart(engine_url: str, path: str, status: int) -> None:
    async with httpx.AsyncClient(headers={"xi-api-key": "k"}, timeout=30) as http:
        response = await http.get(f"{engine_url}/v1/convai/{path}")
    assert response.status_code == status
    assert "detail" in response.json()


@pytest.mark.parametrize(
    "body",
    [
        '{"conversation_config":{"vad":{"x":NaN}}}',
        '{"conversation_config":{},"workflow":{"x":1e999}}',
        '{"conversation_config":{"agent":{"first_message":"\\ud800"}}}',
        '{"conversation_config":{},"workflow":{"x":"\\udfff"}}',
        '{"conversation_config":{},"workflow":' + '{"a":' * 3_000 + "1" + "}" * 3_001,
        '{"conversation_config":[]}',
        "[]",
        "{",
        "",
    ],
)
async def test_a_body_that_could_not_be_given_back_is_refused(engine_url: str, body: str) -> None:
    headers = {"xi-api-key": "k", "content-type": "application/json"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        response = await http.post(f"{engine_url}/v1/convai/agents/create", content=body)
    assert response.status_code in {400, 422}


async def test_a_body_that_is_too_large_is_refused_unread(engine_url: str) -> None:
    async with httpx.AsyncClient(headers={"xi-api-key": "k"}, timeout=30) as http:
        response = await http.post(f"{engine_url}/v1/convai/agents/create", content=b" " * (2 * 1024 * 1024 + 1))
    assert response.status_code == 413


@pytest.mark.parametrize("key", ["nonsense", [{}, "x"], ["a name", "x"], [1.5, "x"], 7, [1], {}])
async def test_a_cursor_of_another_list_is_refused(sdk: AsyncElevenLabs, key: object) -> None:
    await make(sdk)
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
    with pytest.raises(ApiError) as refusal:
        await sdk.conversational_ai.agents.list(cursor=cursor)
    assert refusal.value.status_code == 400


async def test_the_models_are_listed(sdk: AsyncElevenLabs) -> None:
    assert "gpt-4o" in {model.llm for model in (await sdk.conversational_ai.llm.list()).llms}
