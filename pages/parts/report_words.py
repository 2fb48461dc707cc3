"""What the kinds of report are called, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping

from core.reports.report import ReportFormat

FORMAT_WORDS: Mapping[ReportFormat, str] = {
    ReportFormat.PDF: "PDF",
    ReportFormat.XLSX: "Excel",
    ReportFormat.CSV: "CSV",
}
FORMAT_HELP: Mapping[ReportFormat, str] = {
    ReportFormat.PDF: "To read and to print: figures, charts, the most uncertain recordings, the model and caveats.",
    ReportFormat.XLSX: "To work with: every prediction and all figures, on five sheets with charts.",
    ReportFormat.CSV: "For programs: every prediction with all digits, and nothing else.",
}
