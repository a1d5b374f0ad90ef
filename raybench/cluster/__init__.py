"""Everything that runs on Ray, and the only package that imports it.

Each job here splits, places, retries and merges; what it runs is a plain function of the packages below,
and a test shows that both give the same result.
"""

__all__ = [
    "address",
    "beforehand",
    "choice",
    "dashboard",
    "epochs",
    "exported",
    "failures",
    "fanout",
    "fitting",
    "own_memory",
    "packing",
    "preparation",
    "ran_on",
    "residency",
    "resources",
    "scoring_pool",
    "search",
    "session",
    "starting",
    "trial",
    "trials",
    "watch",
]
