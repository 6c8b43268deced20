"""What messages call an entry of the landing.

Dagster stores these messages, and logs keep them. So they must not hold what requirement 2.7 calls
private, such as an e-mail address in a file's name.
"""

from __future__ import annotations

from signal_pipeline.events.pii import holds_pii

NAME_CHARACTERS = 100


def label_of(name: str, *, inode: int, size: int) -> str:
    """Return a name for people: quoted, on one line, and not too long.

    A name that holds personal data, as far as `holds_pii` can tell, is not repeated. The label then
    says how to find the entry: by its inode and its size in bytes.
    """
    if holds_pii(name):
        return f"an item with a private name (inode {inode} in `ls -i`, {size} bytes)"
    text = repr(name)
    return text if len(text) <= NAME_CHARACTERS else f"{text[:NAME_CHARACTERS]}..."
