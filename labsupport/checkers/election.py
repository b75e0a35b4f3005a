"""Election safety: in one term at most one node leads."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from labsupport.checkers.finding import Anomaly, Finding, conclude


class Claim(NamedTuple):
    """A node says that it leads a term (an epoch, a view, a ballot).

    Args:
        node: who.
        term: which term.
        at: when, for the explanation.
    """

    node: Hashable
    term: Hashable
    at: float | None = None


def election_safety(claims: Iterable[Claim | tuple]) -> Finding:
    """Whether no term has two leaders. Two leaders of *different* terms at one time are allowed.

    Args:
        claims: every time that a node became leader, in any order.

    Source: D. Ongaro and J. Ousterhout, *In Search of an Understandable Consensus Algorithm*, USENIX ATC 2014,
    figure 3.

    >>> election_safety([("n1", 1), ("n2", 2), ("n3", 2)]).anomalies[0].summary
    'term 2 has two leaders, n2 and n3.'
    """
    leaders: dict[Hashable, dict[Hashable, Claim]] = {}
    for claim in claims:
        claim = Claim(*claim)
        leaders.setdefault(claim.term, {}).setdefault(claim.node, claim)
    anomalies = [_split(term, list(nodes.values())) for term, nodes in leaders.items() if len(nodes) > 1]
    unknown = "" if leaders else "No node ever led, so nothing can be said."
    good = f"{len(leaders)} terms had one leader each."
    return conclude("election safety", anomalies, good=good, unknown=unknown, details={"terms": len(leaders)})


def _split(term: Hashable, claims: list[Claim]) -> Anomaly:
    how_many = {2: "two"}.get(len(claims), str(len(claims)))
    names = " and ".join(str(claim.node) for claim in claims)
    reasons = tuple(f"{claim.node} led term {term} at {claim.at}." for claim in claims if claim.at is not None)
    return Anomaly("two leaders", f"term {term} has {how_many} leaders, {names}.", reasons, (), term)
