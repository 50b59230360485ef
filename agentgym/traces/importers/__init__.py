"""From log files to traces, one conversation at a time, whatever the format and the size."""

from agentgym.traces.importers.files import SourceFile, source_files
from agentgym.traces.importers.formats import TraceFormat, import_traces, read_records
from agentgym.traces.importers.record import Record, RejectedLine

__all__ = ["Record", "RejectedLine", "SourceFile", "TraceFormat", "import_traces", "read_records", "source_files"]
