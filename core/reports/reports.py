"""Reports of a process: assembled from the store, written as a file of one of three kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from core.config import Settings
from core.domain import Reader
from core.errors import ReportTooLargeError
from core.reports.predictions_csv import predictions_csv
from core.reports.report import Report, ReportFormat, ReportRequest, assemble_report
from core.store.engine import Store
from core.store.predictions import MAX_PAGE_ROWS, PredictionFilter, PredictionRow, select_predictions


class Reports:
    """Safe to share between threads."""

    def __init__(
        self, settings: Settings, store: Store, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._store = store
        self._now = now

    def assemble(self, request: ReportRequest, *, reader: Reader) -> Report:
        """All that a report says but the predictions one by one: of what `reader` may see now."""
        return assemble_report(
            self._store,
            request,
            reader=reader,
            models_dir=self._settings.models_dir,
            installed_models_dir=self._settings.installed_models_dir,
            made_at=self._now(),
        )

    def write(self, report: Report, format: ReportFormat, file: BinaryIO, *, reader: Reader) -> None:
        """Write a report to `file`.

        Raises
        ------
        ReportTooLargeError
            It would list more predictions than `max_report_rows`; a PDF lists none.
        """
        if format is ReportFormat.PDF:
            from core.reports.document import write_pdf  # reportlab: half a second that only PDF reports need

            write_pdf(report, file)
            return
        if report.n_predictions > self._settings.max_report_rows:
            raise ReportTooLargeError(report.n_predictions, self._settings.max_report_rows)
        if format is ReportFormat.CSV:
            for lines in predictions_csv(self._store, reader=reader, filter=report.filter):
                file.write(lines.encode())
            return
        from core.reports.workbook import write_xlsx

        write_xlsx(report, _predictions(self._store, reader, report.filter), file)


def _predictions(store: Store, reader: Reader, filter: PredictionFilter) -> Iterator[PredictionRow]:
    page = select_predictions(store, reader=reader, filter=filter, limit=MAX_PAGE_ROWS)
    yield from page.items
    while page.next_cursor is not None:
        page = select_predictions(store, reader=reader, filter=filter, limit=MAX_PAGE_ROWS, cursor=page.next_cursor)
        yield from page.items
