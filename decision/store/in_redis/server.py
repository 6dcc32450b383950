"""What a Redis server must be to hold the store, by its own account in `INFO`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.store.health import ServerState

_OLDEST: Final = (6, 2)


def parse_info(reply: bytes) -> dict[str, str]:
    """The fields of `INFO`."""
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def check_server(info: dict[str, str], where: str, *, cluster: bool = False) -> None:
    """Checks that the store can use a server; `where` names it in messages.

    `cluster`: as a node of a cluster.

    Raises:
        StoreUnavailable: it cannot.
    """
    version = info["redis_version"]
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise _unfit(where, "VERSION", f"is of version {version}", "6.2 or newer is needed")
    if info.get("cluster_enabled") == "1" and not cluster:
        fix = "write redis+cluster://host:port,host:port in NEXTBEST_REDIS_URL"
        raise _unfit(where, "CLUSTERDOWN", "is part of a cluster", fix)
    if info.get("cluster_enabled") != "1" and cluster:
        fix = "write redis://host:port in NEXTBEST_REDIS_URL for a single server"
        raise _unfit(where, "CLUSTERDOWN", "is not part of a cluster", fix)
    if info.get("role") == "slave":
        fix = "point NEXTBEST_REDIS_URL at the primary"
        raise _unfit(where, "READONLY", "is a replica", fix)


def _unfit(where: str, code: str, reason: str, fix: str) -> StoreUnavailable:
    message = f"{where} {reason}; {fix}"
    return StoreUnavailable(message, code=code, reason=f"it {reason}", fix=fix)


def risks(info: dict[str, str], replicas: int = 0) -> dict[str, str]:
    """How a server may lose data, by the setting at fault, and what to set instead.

    `replicas` is how many are waited for (`wait:N`).
    """
    found = {}
    if (has := int(info.get("connected_slaves", 0))) < replicas:
        found["replicas"] = (
            f"has {has} of the {replicas} replicas that NEXTBEST_DURABILITY=wait:{replicas} waits "
            "for, so what it acknowledges may be lost; start more, or wait for fewer"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found["maxmemory-policy"] = (
            f"has maxmemory-policy {policy} and may drop customers, caps and the log; "
            "set maxmemory-policy noeviction"
        )
    if info.get("aof_enabled") == "0":
        found["appendonly"] = (
            "keeps no append-only file: a crash loses what was written since its last snapshot; "
            "set appendonly yes"
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        found["appendonly"] = "cannot write its append-only file: free disk space, see its log"
    return found


def state_of(info: dict[str, str], replicas: int = 0) -> ServerState:
    """What a server tells of itself, from `INFO`; see `risks`."""
    return ServerState(
        run_id=info["run_id"],
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        evicted=int(info.get("evicted_keys", 0)),
        risks=risks(info, replicas),
    )


def state_of_all(states: Mapping[str, ServerState]) -> ServerState:
    """What the nodes of a cluster tell of themselves, by where they are, as if they were one.

    Memory is what there is if the fullest may be as full as the others.
    """
    told: dict[tuple[str, str], list[str]] = {}
    for where, state in states.items():
        for setting, text in state.risks.items():
            told.setdefault((setting, text), []).append(where)
    risks: dict[str, str] = {}
    for (setting, text), places in told.items():
        one = f"at {', '.join(places)} {text}"
        risks[setting] = f"{risks[setting]}; {one}" if setting in risks else one
    most = [state.max_memory for state in states.values() if state.max_memory]
    return ServerState(
        run_id=" ".join(state.run_id for state in states.values()),
        used_memory=sum(state.used_memory for state in states.values()),
        max_memory=min(most, default=0) * len(states),
        evicted=sum(state.evicted for state in states.values()),
        risks=risks,
    )
