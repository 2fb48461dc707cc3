"""The HTTP interface: FastAPI routers, one per resource."""
