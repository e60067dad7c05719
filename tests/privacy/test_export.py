"""`GET /v1/me/export`: everything of hers, nothing of anybody else's, in a shape that is written down."""

import asyncio
import json
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from tests.privacy.conftest import House, Open, live

from oneiro.privacy.export.models import Export

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "export.md"
MARK, OTHER = "marzipan", "quicksilver"


def read(answer: httpx.Response) -> Export:
    """The document, as strictly as it is described."""
    assert answer.status_code == 200, answer.text
    return Export.model_validate_json(answer.content)


async def test_an_export_holds_everything_of_hers_and_nothing_of_another_dreamer(house: House, dial: Open) -> None:
    ada, bea = await house.client(), await house.client()
    conversation_id, _ = await live(ada, dial, MARK)
    await live(bea, dial, OTHER)
    await house.change(
        "UPDATE messages SET original_content = %s WHERE conversation_id = %s AND sender = 'user'",
        f"before {MARK}",
        UUID(conversation_id),
    )
    await house.settled()
    answer = await ada.get("/me/export")
    found = read(answer)

    assert OTHER not in answer.text.lower()
    assert found.profile.name == f"Ada {MARK}"
    assert found.profile.consents == {"voice": False, "memory": True, "analytics": True}
    assert [dream.symbols for dream in found.dreams if dream.status == "kept"] == [[MARK]]
    [conversation] = found.conversations
    assert str(conversation.id) == conversation_id
    assert (conversation.rating, conversation.rating_comment) == (5, f"Lovely {MARK}")
    assert conversation.summary == f"About {MARK}."
    assert conversation.metadata == {"note": MARK}
    assert conversation.safety_tier == "active_danger"
    assert [session.session for session in found.sessions] == [1]
    hers = [line for line in found.messages if line.sender == "user"]
    assert [line.content for line in hers] == [f"The {MARK} water rose and rose.", f"I want to kill myself. {MARK}"]
    assert {line.original_content for line in hers} == {f"before {MARK}"}
    assert len(found.messages) > len(hers)
    assert [flag.tier for flag in found.safety] == ["active_danger"]
    assert {"conversation.started", "conversation.ended", "safety.escalated"} <= {event.type for event in found.events}
    assert [each.conversation_id for each in found.analytics] == [conversation.id]
    assert {each.type for each in found.measures} >= {"completion_rate", "user_satisfaction"}
    assert {each.conversation_id for each in found.measures} == {conversation.id}
    [started] = [event for event in found.events if event.type == "conversation.requested"]
    assert started.data["interpreter_id"] == "carl"


async def test_an_export_is_a_file_that_nobody_keeps(house: House) -> None:
    ada = await house.client()
    answer = await ada.get("/me/export")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith('attachment; filename="oneiro-2')
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert read(answer).dreams == []


async def test_an_export_is_told_of_and_the_next_one_says_so(house: House) -> None:
    ada = await house.client()
    await ada.get("/me/export")
    events = await house.rows("SELECT * FROM system_events WHERE event_type = 'dreamer.exported'")
    assert [event["event_data"] for event in events] == [{"by": "dreamer"}]
    assert "dreamer.exported" in [event.type for event in read(await ada.get("/me/export")).events]


async def test_the_experiments_she_is_part_of_are_in_it(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.get("/me")
    await house.change(
        """
        WITH made AS (
            INSERT INTO experiments (interpreter_id, name, created_by) VALUES ('carl', 'warmer', 'x') RETURNING id
        ), arm AS (
            INSERT INTO experiment_arms (experiment_id, name, release_id, weight)
            SELECT made.id, 'control', r.id, 1 FROM made, interpreter_releases AS r WHERE r.interpreter_id = 'carl'
            RETURNING experiment_id, id
        )
        INSERT INTO experiment_assignments (experiment_id, user_id, arm_id) SELECT experiment_id, %s, id FROM arm
        """,
        user_id,
    )
    [experiment] = read(await ada.get("/me/export")).experiments
    assert (experiment.interpreter_id, experiment.experiment, experiment.arm) == ("carl", "warmer", "control")


async def test_row_level_security_decides_what_an_export_shows(house: House, dial: Open) -> None:
    ada = await house.client()
    await live(ada, dial, MARK)
    await house.change("CREATE POLICY none ON dreams AS RESTRICTIVE FOR SELECT TO authenticated USING (false)")
    assert read(await ada.get("/me/export")).dreams == []


FILL = """
WITH talk AS (
    INSERT INTO conversations (user_id, interpreter_id, status) VALUES (%s, 'carl', 'completed') RETURNING id
)
INSERT INTO messages (conversation_id, event_id, sender, content)
SELECT talk.id, n::text, 'user', repeat('x', 1900) || n FROM talk, generate_series(1, 10000) AS n
"""


async def test_ten_thousand_messages_are_exported_whole_and_in_order_within_bounded_memory(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.get("/me")
    await house.change(FILL, user_id)
    tracemalloc.start()
    try:
        written = await house.app.state.exports.of(user_id, by="a test")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with written.file:
        document = json.loads(b"".join(written.chunks()))
    assert written.size > 19_000_000
    assert peak < 6_000_000
    assert [line["content"].lstrip("x") for line in document["messages"]] == [str(n) for n in range(1, 10001)]


async def test_who_reads_slowly_or_goes_away_holds_no_connection_of_the_database(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.get("/me")
    await house.change(FILL, user_id)
    async with ada.stream("GET", "/me/export") as answer:
        assert answer.status_code == 200
        held = await house.rows(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
            """ AND query LIKE '%%"export"%%'"""
        )
        assert held == []
    assert (await ada.get("/me")).status_code == 200


async def test_more_exports_than_there_is_room_for_are_asked_to_come_again(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.get("/me")
    await house.change(FILL, user_id)
    answers = await asyncio.gather(*(ada.get("/me/export") for _ in range(5)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(refused) <= 3
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "rate_limited")}
    assert all(answer.headers["retry-after"] for answer in refused)


async def test_an_operator_s_export_is_noted_and_a_dreamer_may_not_take_another_s(house: House, dial: Open) -> None:
    user_id, operator_id = uuid4(), uuid4()
    ada, bea = await house.client(user_id), await house.client()
    operator = await house.client(operator_id, operator=True)
    await live(ada, dial, MARK)
    assert read(await operator.get(f"/admin/dreamers/{user_id}/export")).profile.user_id == user_id
    viewed = await house.rows("SELECT * FROM system_events WHERE event_type = 'operator.viewed'")
    assert [(event["user_id"], event["event_data"]) for event in viewed] == [
        (user_id, {"what": "export", "by": str(operator_id)})
    ]
    assert (await bea.get(f"/admin/dreamers/{user_id}/export")).status_code == 403
    unknown = await operator.get(f"/admin/dreamers/{uuid4()}/export")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "dreamer_not_found")
    assert (await operator.get("/admin/dreamers/%00/export")).status_code == 404


async def test_the_api_s_description_holds_the_shape_of_an_export(house: House) -> None:
    ada = await house.client()
    described = (await ada.get(f"{house.url}/openapi.json")).json()
    answer = described["paths"]["/v1/me/export"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/Export"}
    assert set(described["components"]["schemas"]["Export"]["properties"]) == set(Export.model_fields)


def test_every_field_of_the_description_is_in_its_page() -> None:
    page = PAGE.read_text()
    schema: dict[str, Any] = Export.model_json_schema()
    fields = {name for part in (schema, *schema["$defs"].values()) for name in part["properties"]}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []
