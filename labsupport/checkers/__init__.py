"""Checkers: pure functions from a history to a finding, which says ok, violation or unknown and why.

    linearizability  linearizable(history, model): registers with cas, stores, queues, sets, logs, counters, any model
    transactions     transactions(history, workload, model): isolation, over list-append and rw-register
    delivery         delivery(history, guarantee): lost, duplicated, reordered, never sent
    kafka            partitioned_log(history): offsets, lost writes, skipped polls
    convergence      broadcast, final_reads, counter_total
    ordering         ordering(events, order): first in first out, causal, total
    agreement        log_agreement(logs, history): applied logs against one another and against what clients were told
    election         election_safety(claims): one leader for each term
    ids              unique_ids(history)
    readers          from_jepsen(text), from_porcupine(text)

All answers are a `finding.Finding`; the models are in `models`. The rest of the modules are their algorithms.
"""
