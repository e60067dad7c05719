"""The plain way leaves FastAPI's out, so it has to do all that FastAPI would do for its route."""

from typing import Any, get_args

import pytest
from fastapi import APIRouter

from oneiro.conversations.routes import PlainRoute, Reporting, ReportRoute, Starting, StartRoute, lines, starts
from oneiro.http import accepting, identity
from oneiro.idempotency.service import IdempotencyKey


def dependency(part: Any) -> Any:
    return get_args(part)[1].dependency


@pytest.mark.parametrize(
    ("router", "kind", "dependencies", "fields"),
    [
        (lines, ReportRoute, [identity, dependency(Reporting)], {"conversation_id", "new"}),
        (starts, StartRoute, [accepting, identity, dependency(Starting)], {"idempotency_key", "request"}),
    ],
)
def test_a_plain_way_performs_exactly_what_its_route_depends_on(
    router: APIRouter, kind: type[PlainRoute], dependencies: list[Any], fields: set[str]
) -> None:
    [route] = router.routes

    assert isinstance(route, kind)
    needs = route.dependant
    assert [each.call for each in needs.dependencies] == dependencies
    read = (needs.path_params, needs.query_params, needs.header_params, needs.cookie_params, needs.body_params)
    assert {field.name for group in read for field in group} == fields
    assert (needs.response_param_name, needs.background_tasks_param_name) == (None, None)


def test_a_key_has_no_bounds_but_those_that_the_plain_way_knows() -> None:
    [bounds] = get_args(IdempotencyKey)[1:]

    assert {type(each).__name__ for each in bounds.metadata} == {"MinLen", "MaxLen"}
