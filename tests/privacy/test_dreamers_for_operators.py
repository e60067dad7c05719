"""`/v1/admin/dreamers…`: who there is, never what she said, and every look is noted with it."""

from typing import Any
from uuid import uuid4

from tests.privacy.conftest import House, Open, erase, live

MARK = "marzipan"


async def test_operators_see_who_there_is_without_a_word_of_hers_and_each_look_is_noted(
    house: House, dial: Open
) -> None:
    user_id, operator_id = uuid4(), uuid4()
    ada, operator = await house.client(user_id), await house.client(operator_id, operator=True)
    await live(ada, dial, MARK)
    listed = await operator.get("/admin/dreamers")
    [item] = listed.json()["items"]
    assert (item["user_id"], item["conversations"]) == (str(user_id), 1)
    assert MARK not in listed.text.lower()
    one = (await operator.get(f"/admin/dreamers/{user_id}")).json()
    assert (one["name"], one["dreams"], one["safety_tier"]) == (f"Ada {MARK}", 1, "active_danger")
    viewed = await house.rows("SELECT * FROM system_events WHERE event_type = 'operator.viewed' ORDER BY seq")
    assert [(event["user_id"], event["event_data"]) for event in viewed] == [
        (None, {"what": "dreamers", "by": str(operator_id), "count": 1}),
        (user_id, {"what": "dreamer", "by": str(operator_id)}),
    ]


async def test_the_list_comes_in_pages(house: House) -> None:
    operator = await house.client(operator=True)
    ids = [uuid4() for _ in range(5)]
    for user_id in ids:
        await (await house.client(user_id)).get("/me")
    first = (await operator.get("/admin/dreamers", params={"limit": 3})).json()
    rest = (await operator.get("/admin/dreamers", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    seen = [item["user_id"] for item in first["items"] + rest["items"]]
    assert seen == [str(user_id) for user_id in reversed(ids)]
    assert rest["next_cursor"] is None


async def test_operators_decide_whom_she_may_talk_to(house: House) -> None:
    user_id, operator_id = uuid4(), uuid4()
    ada, operator = await house.client(user_id), await house.client(operator_id, operator=True)
    await ada.get("/me")
    path = f"/admin/dreamers/{user_id}"
    changed = await operator.patch(path, json={"allowed_interpreters": ["lakshmi"]})
    assert changed.json()["allowed_interpreters"] == ["lakshmi"]
    refused = await ada.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "interpreter_not_allowed")
    for _ in range(2):  # A repeat changes nothing; it shows her again.
        assert (await operator.patch(path, json={"allowed_interpreters": None})).json()["allowed_interpreters"] is None
    noted = await house.rows(
        "SELECT * FROM system_events WHERE event_type IN ('dreamer.permitted', 'operator.viewed') ORDER BY seq"
    )
    by, viewed = {"by": str(operator_id)}, ("operator.viewed", {"what": "dreamer", "by": str(operator_id)})
    assert [(event["event_type"], event["event_data"]) for event in noted] == [
        ("dreamer.permitted", {"allowed": ["lakshmi"]} | by),
        viewed,
        ("dreamer.permitted", {"allowed": None} | by),
        viewed,
        viewed,
    ]
    assert {event["user_id"] for event in noted} == {user_id}


async def test_what_makes_no_sense_is_refused(house: House) -> None:
    user_id = uuid4()
    ada, operator = await house.client(user_id), await house.client(operator=True)
    await ada.get("/me")
    path = f"/admin/dreamers/{user_id}"
    named: list[Any] = [["freud"], ["carl\0"], ["x"] * 101, ["Carl"], [""], "carl", 7]
    bodies: list[Any] = [{}, {"name": "x"}, [], *({"allowed_interpreters": each} for each in named)]
    for body in bodies:
        assert (await operator.patch(path, json=body)).status_code == 422, body
    unknown = f"/admin/dreamers/{uuid4()}"
    assert (await operator.get(unknown)).status_code == 404
    assert (await operator.patch(unknown, json={"allowed_interpreters": None})).status_code == 404
    assert (await operator.get("/admin/dreamers/nobody")).status_code == 422
    for refused in (
        await ada.get("/admin/dreamers"),
        await ada.get(path),
        await ada.patch(path, json={"allowed_interpreters": None}),
        await erase(ada, path),
    ):
        assert refused.status_code == 403


async def test_an_operator_erases_a_dreamer_as_she_could_herself(house: House, dial: Open) -> None:
    user_id, operator_id = uuid4(), uuid4()
    ada, operator = await house.client(user_id), await house.client(operator_id, operator=True)
    await live(ada, dial, MARK, end=False)
    path = f"/admin/dreamers/{user_id}"
    assert (await operator.delete(path)).status_code == 422
    assert [(await erase(operator, path)).status_code for _ in range(2)] == [204, 204]
    assert await house.holding(MARK) == set()
    [event] = await house.rows("SELECT * FROM system_events WHERE event_type = 'dreamer.erased'")
    assert event["event_data"] == {"user_id": str(user_id), "by": str(operator_id)}
