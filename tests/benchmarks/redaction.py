"""How fast conversations are redacted. Prints one JSON object.

The ratio is messages a CPU second against the 5,000 that ingestion wants on one core.
"""

import json
import platform
import time

from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.importers import Record
from agentgym.traces.redaction import SECRET_BYTES, Redactor

CONVERSATIONS = 2000
NEEDED_MESSAGES_PER_SECOND = 5000


def main() -> None:
    scenario = CustomerSupport()
    traces = list(write_logs(scenario, scenario.legacy_agent(), CONVERSATIONS, 0))
    records = [Record(source="log", line=1, fields=trace.model_dump(mode="json", exclude={"tools"})) for trace in traces]
    words = [message.content for trace in traces for message in trace.messages if message.content]
    redactor = Redactor(b"0" * SECRET_BYTES)
    started = time.process_time()
    for record in records:
        redactor.redact(record)
    whole = sum(len(trace.messages) for trace in traces) / (time.process_time() - started)
    started = time.process_time()
    for text in words:
        redactor.redact_text(text)
    plain = len(words) / (time.process_time() - started)
    print(
        json.dumps(
            {
                "ratios": {"messages_per_second": whole / NEEDED_MESSAGES_PER_SECOND},
                "figures": {
                    "messages_per_second": round(whole),
                    "texts_per_second": round(plain),
                    "characters_of_a_text": round(sum(map(len, words)) / len(words)),
                    "replaced": dict(redactor.counts),
                },
                "machine": {"platform": platform.platform(), "python": platform.python_version()},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
