"""The file that consumer and provider share."""

import json
from pathlib import Path
from typing import Any

PACT = Path(__file__).parents[1] / "pacts/storefront-orders.json"


def interactions() -> list[dict[str, Any]]:
    """Return what the consumer expects of the provider."""
    return json.loads(PACT.read_text("utf-8"))["interactions"]
