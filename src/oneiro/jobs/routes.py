"""`/v1/admin/jobs`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from oneiro.http import Cursor, ListOf, Operator, Paged, part
from oneiro.jobs.models import Job, JobState
from oneiro.jobs.service import Jobs

router = APIRouter(prefix="/admin/jobs", tags=["jobs"])


Service = Annotated[Jobs, part("jobs")]


@router.get("")
async def list_jobs(
    caller: Operator,
    jobs: Service,
    page: Paged,
    state: JobState | None = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
) -> ListOf[Job]:
    """Jobs, newest first."""
    after = page.cursor and (page.cursor.at, page.cursor.uuid)
    found = await jobs.list(state, kind, after, page.limit + 1)
    items = found[: page.limit]
    last = items[-1] if len(found) > page.limit else None
    return ListOf(items=items, next_cursor=last and Cursor(last.created_at, str(last.id)).encode())


@router.post("/{job_id}/retry")
async def retry_job(caller: Operator, jobs: Service, job_id: UUID) -> Job:
    """Run a dead job again, with all its attempts."""
    return await jobs.retry(job_id)
