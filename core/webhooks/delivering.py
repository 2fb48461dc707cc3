"""Deliveries as durable jobs: one for each attempt, kept waiting until it is due."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

from core.domain import PROCESS, JobState
from core.jobs.jobs import Jobs
from core.jobs.runs import Lane
from core.webhooks.webhooks import Due, Webhooks

KIND = "webhook"


def deliver_by_jobs(webhooks: Webhooks, jobs: Jobs) -> None:
    """Have `jobs` make the attempts of `webhooks`, from their start on, with what waits from before.

    The id of a job follows from delivery and attempt, so that one that is handed over twice is made once: by the sweep
    after a start, by a job that was killed between the attempt and what it hands over.
    """

    def deliver(_workbench: object, delivery_id: str, number: int) -> None:
        due = webhooks.attempt(UUID(delivery_id), number)
        if due is not None:
            enqueue([due])

    def enqueue(all_due: Sequence[Due]) -> None:
        for due in all_due:
            job = jobs.enqueue(
                KIND,
                owner=due.owner_id,
                job_id=job_id(due.delivery_id, due.number),
                arguments={"delivery_id": str(due.delivery_id), "number": due.number},
                delay_s=due.delay_s,
            )
            if job.state is JobState.FAILED:  # the store did not answer then
                jobs.retry(job.id, reader=PROCESS)

    jobs.register(KIND, deliver, title="Webhook", lane=Lane.DELIVERIES, is_housekeeping=True)
    webhooks.hand_over = enqueue
    jobs.when_started(webhooks.start)


def job_id(delivery_id: UUID, number: int) -> UUID:
    """The id of the job that makes attempt `number` of a delivery."""
    return uuid5(delivery_id, str(number))
