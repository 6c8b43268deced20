"""The client's address and host, from headers that trusted proxies wrote (requirement 4).

Only these two functions read forwarded headers. The socket's own address is the gateway's: it
stands for the client in development only. Results live for one call and go into the hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from signal_pipeline.events.addresses import canonical_host, canonical_ip
from signal_pipeline.settings import Network

MAX_HOPS = 50  # Nobody has so many proxies; a header has room for thousands.


def client_address(
    forwarded_for: Sequence[str], trusted: Sequence[Network], fallback: str | None
) -> str | None:
    """The address of the client: the last hop of the chain that is not a trusted proxy.

    `forwarded_for` are the values of all X-Forwarded-For headers, in order. Read right to left:
    each proxy appends the address it saw, so what stands left of the first untrusted hop may be
    forged. Where every hop is trusted, the first (of the last 50) is the client. Without a chain it
    is `fallback`. An invalid hop is returned as it is, for the ingest to count.
    """
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    hops = [hop for hop in hops if hop][-MAX_HOPS:]
    for hop in reversed(hops):
        if not is_trusted(hop, trusted):
            return hop
    return hops[0] if hops else fallback


def forwarded_host(
    values: Sequence[str], peer: str | None, trusted: Sequence[Network]
) -> str | None:
    """The host that the client asked, if a trusted proxy says it; None where there is none, or it
    is no host.

    `values` are all X-Forwarded-Host headers, in order. The last entry is the proxy's own; what
    stands left of it may be the client's.
    """
    if not values or not is_trusted(peer or "", trusted):
        return None
    try:
        return canonical_host(values[-1].rpartition(",")[2].strip())
    except ValueError:
        return None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address belongs to a trusted proxy; an invalid one does not."""
    text = canonical_ip(address) if trusted else ""
    if not text:
        return False
    parsed = ip_address(text)
    return any(parsed.version == network.version and parsed in network for network in trusted)
