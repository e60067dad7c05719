import pytest

from oneiro.engine import agents as agents_module
from oneiro.engine.agents import MOST_VERSIONS, Agents
from oneiro.engine.conversations import MOST_CONVERSATIONS, MOST_LINES, MOST_RECORDED, Conversations, Line, Record
from oneiro.engine.documents import AgentCreate, AgentPatch
from oneiro.engine.pacing import Pacing
from oneiro.engine.problems import Refusal
from oneiro.engine.signed import LIFE, MOST_SIGNATURES, Admission, Signatures
from oneiro.engine.voices import MOST_PREVIEWS, Voices, gender_of


def record(number: int) -> Record:
    return Record(
        conversation_id=f"conv_{number}",
        agent_id="agent_1",
        agent_name="Carl",
        version_id="v",
        branch_id="b",
        language="en",
        authorization="public",
        source="python_sdk",
        started=float(number),
    )


def test_the_oldest_conversation_goes_first() -> None:
    conversations = Conversations()
    for number in range(MOST_CONVERSATIONS + 1):
        conversations.add(record(number))
    assert len(conversations.all()) == MOST_CONVERSATIONS
    with pytest.raises(Refusal):
        conversations.get("conv_0")
    assert conversations.get("conv_1").started == 1.0


def test_the_oldest_recording_goes_first_and_its_conversation_stays() -> None:
    conversations = Conversations()
    old, new = record(1), record(2)
    conversations.add(old)
    conversations.add(new)
    conversations.record(old, bytes(1_000))
    conversations.record(new, bytes(MOST_RECORDED - 500))
    assert not conversations.get("conv_1").recording
    assert len(new.recording) == MOST_RECORDED - 500
    conversations.delete("conv_2")
    conversations.record(old, bytes(1_000))
    assert len(old.recording) == 1_000


def test_a_transcript_keeps_its_newest_lines() -> None:
    kept = record(1)
    for number in range(MOST_LINES + 5):
        kept.add(Line("user", str(number), number, 0.0, "text"))
    assert [kept.lines[0].message, len(kept.lines)] == ["5", MOST_LINES]


def test_outstanding_signatures_are_bounded_and_expire() -> None:
    signatures = Signatures()
    issued = [signatures.issue(Admission("agent_1", None, None, LIFE)) for _ in range(MOST_SIGNATURES + 1)]
    assert signatures.redeem(issued[0], 0) is None
    assert signatures.redeem(issued[1], LIFE) is None
    assert signatures.redeem(issued[2], LIFE - 0.001) is not None
    assert signatures.redeem(issued[2], 0) is None


def test_an_agent_keeps_its_newest_versions_and_their_numbers() -> None:
    agents = Agents()
    agent = agents.create(AgentCreate.model_validate({"conversation_config": {}}), 0.0)
    for number in range(MOST_VERSIONS + 5):
        agents.patch(agent.agent_id, AgentPatch(name=f"Carl {number}"), float(number))
    assert len(agent.versions) == MOST_VERSIONS
    assert agent.current.number == MOST_VERSIONS + 6


def test_more_agents_than_the_bound_are_refused() -> None:
    agents = Agents()
    body = AgentCreate.model_validate({"conversation_config": {}})
    first = agents.create(body, 0.0)
    for _ in range(agents_module.MOST_AGENTS - 1):
        agents.duplicate(first.agent_id, None, 0.0)
    with pytest.raises(Refusal):
        agents.create(body, 0.0)
    agents.delete(first.agent_id)
    assert agents.create(body, 0.0).document.name == "New agent"


def test_the_oldest_preview_goes_first() -> None:
    voices = Voices()
    previews = [voices.preview("A calm woman's voice.") for _ in range(MOST_PREVIEWS + 1)]
    with pytest.raises(Refusal):
        voices.create("One", "A calm woman's voice.", {}, previews[0], 0.0)
    assert voices.create("Two", "A calm woman's voice.", {}, previews[1], 0.0).gender == "female"


@pytest.mark.parametrize(
    ("words", "gender"),
    [
        ("A wise old man with a woman's patience", "male"),
        ("A woman", "female"),
        ("A deep, warm voice", None),
        ("A human voice", None),
    ],
)
def test_the_gender_of_a_voice_is_read_from_whole_words(words: str, gender: str | None) -> None:
    assert gender_of(words) == gender


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_above_nothing(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pacing(speed, lambda: 0.0)
