"""What things are known by: content as text that is equal for equal things, and a hash of it.

Points are found again in a store by such hashes, so what goes into one may not change without a
new ``MODEL_VERSION``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """Plain data as text that is equal for equal values: sorted JSON without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def content_hash(content: str | bytes) -> bytes:
    """16 bytes of SHA-256: of ten million contents no two share them by chance."""
    whole = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(whole).digest()[:16]
