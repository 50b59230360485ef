"""The naive side: the whole log in pandas, judged by Great Expectations, redacted with regular expressions, written as Parquet.

It does what a notebook would: e-mails, telephone numbers and street addresses by one pattern each, no check of calls against their schemas,
no pairing of calls and results, no near-duplicates, no placeholders that keep equality. Prints one JSON object.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import great_expectations as gx
import pandas as pd

from agentgym.cli.memory import peak_memory

PATTERNS = {
    "EMAIL": r"[\w.+-]+@[\w-]+\.[\w.]+",
    "PHONE": r"\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}",
    "ADDRESS": r"\d{1,5} (?:[A-Z]\w+ ){1,3}(?:Street|Avenue|Road|Lane)",
}
ROLES = ["system", "user", "assistant", "tool"]
OUTCOMES = ["resolved", "escalated", "unresolved", "abandoned"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    with peak_memory() as memory:
        started = time.perf_counter()
        accepted = run(given.log, given.target)
        seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {"conversations": accepted, "seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime}
    print(json.dumps(measured | {"peak_memory_bytes": memory.peak_bytes}))


def run(log: Path, target: Path) -> int:
    conversations = pd.read_json(log, lines=True)
    messages = conversations[["conversation_id", "messages"]].explode("messages", ignore_index=True)
    messages = messages[["conversation_id"]].join(pd.json_normalize(messages["messages"].tolist()))
    calls = messages.dropna(subset="tool_calls").explode("tool_calls", ignore_index=True)
    calls = calls[["conversation_id"]].join(pd.json_normalize(calls["tool_calls"].tolist()))
    calls["arguments"] = calls["function.arguments"].map(json.loads)
    validate(conversations.drop(columns=["messages", "tools", "tags"]), messages, calls)
    for kind, pattern in PATTERNS.items():
        messages["content"] = messages["content"].str.replace(pattern, f"<{kind}>", regex=True)
        calls["function.arguments"] = calls["function.arguments"].str.replace(pattern, f"<{kind}>", regex=True)
    messages["calls"] = messages["tool_calls"].map(lambda made: json.dumps(made) if isinstance(made, list) else None)
    said = messages.drop(columns="tool_calls").groupby("conversation_id", sort=False).apply(lambda rows: rows.to_json(orient="records"))
    rows = conversations.drop(columns=["messages", "tools", "tags"]).assign(messages=conversations["conversation_id"].map(said))
    held_out = pd.util.hash_pandas_object(rows["customer_id"], index=False) % 5 == 0
    rows.assign(is_held_out=held_out).to_parquet(target, compression="zstd")
    return len(rows)


def validate(conversations: pd.DataFrame, messages: pd.DataFrame, calls: pd.DataFrame) -> None:
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_pandas("log")
    expect = gx.expectations
    rules = {
        "conversations": [
            expect.ExpectColumnValuesToNotBeNull(column="conversation_id"),
            expect.ExpectColumnValuesToBeUnique(column="conversation_id"),
            expect.ExpectColumnValuesToBeInSet(column="outcome", value_set=OUTCOMES),
            expect.ExpectColumnValuesToBeBetween(column="satisfaction_score", min_value=1, max_value=5),
        ],
        "messages": [expect.ExpectColumnValuesToBeInSet(column="role", value_set=ROLES)],
        "calls": [expect.ExpectColumnValuesToNotBeNull(column="function.name"), expect.ExpectColumnValuesToNotBeNull(column="arguments")],
    }
    tables = {"conversations": conversations, "messages": messages.drop(columns="tool_calls"), "calls": calls}
    for name, table in tables.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
        result = batch.validate(gx.ExpectationSuite(name=name, expectations=rules[name]), result_format="COMPLETE")
        assert result.success, result


if __name__ == "__main__":
    main()
