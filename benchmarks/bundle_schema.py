"""Write the JSON schema of a bundle's manifest, from the manifest itself.

python -m benchmarks.bundle_schema
"""

import json
import sys
from pathlib import Path
from typing import Final

from serving.registry.manifest import Manifest

SCHEMA: Final = Path(__file__).parents[1] / "serving" / "registry" / "bundle.schema.json"


def schema_text() -> str:
    """Return the schema as it is stored."""
    schema = Manifest.model_json_schema(mode="validation")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(whole, indent=2) + "\n"


def main() -> int:
    """Rewrite the schema."""
    SCHEMA.write_text(schema_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
