"""The client's address, and the host that it asked for, from forwarded headers (requirement 4).

Only `client_address` and `forwarded_host` read forwarded headers. The last entry of X-Forwarded-For
is believed whatever the peer is; X-Forwarded-Host is believed only from a trusted peer. The peer's
own address is that of the gateway, and counts as the client's only in development. The results are
kept only as long as the request, and go into the hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from signal_pipeline.events.addresses import canonical_host, canonical_ip
from signal_pipeline.settings import Network

MAX_HOPS = 50  # Nobody has this many proxies, but a header has room for thousands.


def client_address(
    forwarded_for: Sequence[str], trusted: Sequence[Network], fallback: str | None
) -> str | None:
    """Return the client's address: the last hop of the chain that is not a trusted proxy.

    `forwarded_for` are the values of all X-Forwarded-For headers, in order. The chain is read from
    right to left: each proxy appends the address it saw, so anything to the left of the first
    untrusted hop can be forged. If every hop is trusted, the first (of the last 50) is the client.
    Without a chain, the result is `fallback`. An invalid hop is returned as it is, so that the
    ingest can count it.
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
    """Return the host that the client asked for, as a trusted proxy forwarded it.

    Return None if no trusted proxy forwarded one, or if it is not a valid host. `values` are all
    X-Forwarded-Host headers, in order. The last entry is the proxy's own; anything left of it can
    come from the client.
    """
    if not values or not is_trusted(peer or "", trusted):
        return None
    try:
        return canonical_host(values[-1].rpartition(",")[2].strip())
    except ValueError:
        return None


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Return whether an address belongs to a trusted proxy. An invalid address does not."""
    text = canonical_ip(address) if trusted else ""
    if not text:
        return False
    parsed = ip_address(text)
    return any(parsed.version == network.version and parsed in network for network in trusted)
