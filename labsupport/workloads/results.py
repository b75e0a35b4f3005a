"""What a run has shown: the verdict with its reasons, and the numbers, as one JSON object and as text.

A verdict is true, false or "unknown"; the whole is false if any part is, else unknown if any part is. The numbers are
counted as Maelstrom counts them: messages per operation are different messages over all operations that were begun.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labsupport.checkers.finding import Anomaly, Finding, Result
from labsupport.history import Ending, History
from labsupport.workloads.strokes import Stroke
from labsupport.workloads.workload import MALFORMED, Workload

Valid = bool | str
UNKNOWN = "unknown"
QUANTILES = (0.5, 0.95, 0.99, 1)
MOST_ANOMALIES = 5  # of each name are explained; the others are counted
MOST_SENTENCES = 10  # of problems and malformed replies
LONGEST = 160  # characters of a line with an operation: a read may show thousands of elements
EXIT = {True: 0, False: 1, UNKNOWN: 2}


@dataclasses.dataclass
class Record:
    """All that is known of a run.

    Args:
        history: what the clients asked and were told, times in ms.
        final_from: when the final steps began, in ms; None if there were none.
        counts: messages by group ("all", "clients", "servers"): each a mapping of "sent", "received" and "unique".
        errors: for each step that ended with one: its kind, the kind of error, what was said about it.
        broken: what ended the run early or makes it worthless: a node that died by itself, one that never started.
        problems: what nodes did that is not forbidden but strange, such as stray lines.
        strokes: what the nemesis did.
    """

    history: History = dataclasses.field(default_factory=History)
    final_from: float | None = None
    counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    errors: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    broken: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    strokes: list[Stroke] = dataclasses.field(default_factory=list)


def results(workload: Workload, record: Record, availability: float | None = None) -> dict[str, Any]:
    """Everything about a run as a JSON object.

    Args:
        workload: the one that was run.
        record: of the run.
        availability: the share of operations that have to succeed, 0 to 1; None: any.
    """
    malformed = [why for _, error, why in record.errors if error == MALFORMED]
    checks = {
        "workload": _found(workload.check(record.history, record.final_from)),
        "stats": _stats(record.history),
        "availability": _availability(record.history, availability),
        "replies": {"valid": not malformed, "malformed": _first(malformed)},
        "nodes": {"valid": not record.broken, "broken": record.broken, "problems": _first(record.problems)},
    }
    return {
        "valid": merged(part["valid"] for part in checks.values()),
        "name": workload.name,
        "setting": dataclasses.asdict(workload.setting),
        **checks,
        "net": _net(record),
        "latency_ms": _latencies(record.history),
        "errors": _errors(record.errors),
        "nemesis": [
            {"at_s": round(stroke.at_s, 3), "what": stroke.what, "nodes": stroke.nodes} for stroke in record.strokes
        ],
    }


def merged(parts: Iterable[Valid]) -> Valid:
    """False if any part is false, else unknown if any is.

    >>> merged([True, "unknown", True]), merged(["unknown", False]), merged([])
    ('unknown', False, True)
    """
    parts = list(parts)
    return False if False in parts else UNKNOWN if UNKNOWN in parts else True


def _found(finding: Finding) -> dict[str, Any]:
    valid = {Result.OK: True, Result.VIOLATION: False, Result.UNKNOWN: UNKNOWN}[finding.result]
    details = {name: value for name, value in finding.details.items() if name != "stable latency"}
    found = {
        "valid": valid,
        "summary": finding.summary,
        "counts": dict(Counter(anomaly.name for anomaly in finding.anomalies)),
        "anomalies": [_explained(anomaly) for anomaly in _few_of_each(finding.anomalies)],
        "details": details,
    }
    if finding.details.get("stable latency"):
        found["stable_latency_ms"] = _rounded(finding.details["stable latency"])
    return found


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 4]} ..."


def _few_of_each(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    shown: Counter = Counter()
    few = []
    for anomaly in anomalies:
        shown[anomaly.name] += 1
        if shown[anomaly.name] <= MOST_ANOMALIES:
            few.append(anomaly)
    return few


def _explained(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "name": anomaly.name,
        "summary": anomaly.summary,
        "reasons": list(anomaly.reasons),
        "key": anomaly.key,
        "operations": [_cut(repr(operation)) for operation in anomaly.operations],
        "picture": "\n".join(map(_cut, anomaly.picture.splitlines())) if anomaly.operations else "",
    }


def _errors(errors: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """How often each error ended a step of each kind, the most frequent first, with an example of what was said."""
    counts = Counter((kind, error) for kind, error, _ in errors)
    examples = {(kind, error): why for kind, error, why in reversed(errors)}
    return [
        {"kind": kind, "error": error, "count": count, "example": examples[kind, error]}
        for (kind, error), count in counts.most_common()
    ]


def _first(sentences: Sequence[str]) -> list[str]:
    hidden = len(sentences) - MOST_SENTENCES
    return [*sentences[:MOST_SENTENCES], *([f"({hidden} more)"] if hidden > 0 else [])]


def _stats(history: History) -> dict[str, Any]:
    """Counts by kind; with no success at all of a kind, nothing was shown about it."""
    by_kind: dict[str, Counter] = {}
    for operation in history:
        by_kind.setdefault(operation.kind, Counter())[operation.ending] += 1
    rows = {kind: _counted(counts) for kind, counts in sorted(by_kind.items())}
    total = _counted(sum(by_kind.values(), Counter()))
    enough = rows and all(row["ok"] for row in rows.values())
    return {"valid": True if enough else UNKNOWN, **total, "by_kind": rows}


def _counted(counts: Mapping[Ending, int]) -> dict[str, int]:
    return {
        "count": sum(counts.values()),
        "ok": counts.get(Ending.OK, 0),
        "fail": counts.get(Ending.FAILED, 0),
        "info": counts.get(Ending.UNKNOWN, 0),
    }


def _availability(history: History, wanted: float | None) -> dict[str, Any]:
    succeeded = sum(operation.ending is Ending.OK for operation in history)
    share = succeeded / len(history) if len(history) else 1.0
    return {"valid": wanted is None or share >= wanted, "ok_fraction": share, "wanted": wanted}


def _net(record: Record) -> dict[str, Any]:
    begun = len(record.history)
    rows = {}
    for group, counts in record.counts.items():
        per_op = counts["unique"] / begun if begun else None
        rows[group] = {
            "send_count": counts["sent"],
            "recv_count": counts["received"],
            "msg_count": counts["unique"],
            "msgs_per_op": per_op,
        }
    return rows


def _latencies(history: History) -> dict[str, Any]:
    """Quantiles of how long answers took, over all operations that succeeded and for each kind."""
    taken: dict[str, list[float]] = {}
    for operation in history:
        if operation.ending is Ending.OK:
            taken.setdefault(operation.kind, []).append(operation.returned - operation.called)
    every = [one for part in taken.values() for one in part]
    return {"all": quantiles(every), "by_kind": {kind: quantiles(part) for kind, part in sorted(taken.items())}}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The quantiles .5 .95 .99 and 1.

    >>> quantiles([3, 1, 2])
    {'0.5': 2, '0.95': 3, '0.99': 3, '1': 3}
    """
    ordered = sorted(values)
    last = len(ordered) - 1
    return _rounded({part: ordered[min(int(len(ordered) * part), last)] for part in QUANTILES}) if ordered else {}


def _rounded(by_part: Mapping[float, float]) -> dict[str, float]:
    return {f"{part:g}": round(value, 3) for part, value in by_part.items()}


# ------------------------------------------------------------------------------------------------ text


def as_text(found: Mapping[str, Any]) -> str:
    """The results for the eye."""
    setting = found["setting"]
    nodes, clients, seed = len(setting["nodes"]), setting["concurrency"], setting["seed"]
    lines = [f"{found['name']}: {nodes} nodes, {clients} clients, seed {seed}", ""]
    lines += [*_numbers(found), *_strokes(found["nemesis"]), *_reasons(found)]
    closing = {
        True: "Valid: all that was looked at holds.",
        False: "INVALID.",
        UNKNOWN: "Unknown: too little has succeeded to say anything.",
    }[found["valid"]]
    return "\n".join([*lines, "", closing])


def _numbers(found: Mapping[str, Any]) -> list[str]:
    stats, latency = found["stats"], found["latency_ms"]["by_kind"]
    lines = [
        f"{'operations':<12} {'begun':>7} {'ok':>7} {'fail':>6} {'info':>6}"
        f"   ms: {'.5':>7} {'.95':>7} {'.99':>7} {'1':>7}"
    ]
    for kind, row in [*stats["by_kind"].items(), ("all", stats)]:
        parts = (latency.get(kind) if kind != "all" else found["latency_ms"]["all"]) or {}
        times = " ".join(f"{value:7.1f}" for value in parts.values())
        lines.append(f"{kind:<12} {row['count']:>7,} {row['ok']:>7,} {row['fail']:>6,} {row['info']:>6,}     {times}")
    lines.append("")
    lines.append(f"{'messages':<12} {'sent':>8} {'received':>9} {'different':>10} {'per operation':>14}")
    for group, row in found["net"].items():
        per_op = "" if row["msgs_per_op"] is None else f"{row['msgs_per_op']:.2f}"
        counts = f"{row['send_count']:>8,} {row['recv_count']:>9,} {row['msg_count']:>10,}"
        lines.append(f"{group:<12} {counts} {per_op:>14}")
    stable = found["workload"].get("stable_latency_ms")
    if stable:
        parts = ", ".join(f"{part}: {value:,.0f}" for part, value in stable.items())
        lines += ["", f"stable latency in ms, by quantile: {parts}"]
    return lines


def _strokes(strokes: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = [f"{stroke['at_s']:7.2f} s  {stroke['what']} {', '.join(stroke['nodes'])}".rstrip() for stroke in strokes]
    return ["", "faults", *shown] if shown else []


def _reasons(found: Mapping[str, Any]) -> list[str]:
    lines = [""]
    if found["errors"]:
        lines += [
            f"{row['count']:>6,} × {row['kind']}: {row['error']}"
            + (f", as: {row['example']}" if row["example"] else "")
            for row in found["errors"][:MOST_SENTENCES]
        ]
    share = found["availability"]["ok_fraction"]
    wanted = found["availability"]["wanted"]
    asked = "" if wanted is None else f", wanted {'all' if wanted == 1 else f'{wanted:.2%}'}"
    lines.append(f"availability: {share:.2%} of all operations succeeded{asked} {_mark(found['availability'])}")
    never = [kind for kind, row in found["stats"]["by_kind"].items() if not row["ok"]]
    if never or not found["stats"]["by_kind"]:
        lines.append(f"operations: {'not one ' + ', '.join(never) if never else 'nothing'} succeeded [unknown]")
    lines.append(f"{found['name']}: {found['workload']['summary']} {_mark(found['workload'])}")
    counts = found["workload"]["counts"]
    if sum(counts.values()) > 1:
        lines.append("  " + ", ".join(f"{count:,} × {name}" for name, count in counts.items()))
    lines += _anomalies(found["workload"]["anomalies"])
    for title, sentences in (
        ("malformed replies [INVALID]", found["replies"]["malformed"][:3]),
        ("nodes [INVALID]", found["nodes"]["broken"]),
        ("what nodes did besides", found["nodes"]["problems"]),
    ):
        lines += ["", title, *sentences] if sentences else []
    return lines


def _anomalies(anomalies: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first of each name with its proof, of the next ones what happened."""
    lines, shown = [], set()
    for anomaly in anomalies:
        if anomaly["name"] in shown:
            lines.append(f"{anomaly['name']}: {anomaly['summary']}")
            continue
        shown.add(anomaly["name"])
        proof = [*anomaly["picture"].splitlines(), *(f"- {reason}" for reason in anomaly["reasons"])]
        lines += ["", f"{anomaly['name']}: {anomaly['summary']}", *proof]
    return lines


def _mark(part: Mapping[str, Any]) -> str:
    return {True: "[valid]", False: "[INVALID]", UNKNOWN: "[unknown]"}[part["valid"]]
