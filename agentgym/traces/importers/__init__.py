"""From log files to traces, one conversation at a time, whatever the format and the size."""

from agentgym.traces.importers.files import SourceFile, following_bytes
from agentgym.traces.importers.formats import (
    BUILT_IN_FORMATS,
    LogFormat,
    TraceFormat,
    file_by_file,
    format_names,
    import_traces,
    known_format,
    log_bytes,
    read_records,
    source_files,
)
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.s3_path import log_path

__all__ = [
    "BUILT_IN_FORMATS",
    "Log",
    "LogFormat",
    "Place",
    "Record",
    "RejectedLine",
    "SourceFile",
    "TraceFormat",
    "file_by_file",
    "following_bytes",
    "format_names",
    "import_traces",
    "known_format",
    "log_bytes",
    "log_path",
    "read_each",
    "read_records",
    "source_files",
]
