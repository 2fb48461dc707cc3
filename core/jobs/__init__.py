"""Durable jobs: work that outlives its request and its process. DBOS keeps them; `core.jobs.jobs` is the door."""
