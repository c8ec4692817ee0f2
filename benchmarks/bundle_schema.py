"""Write the JSON schemas of a bundle's manifest and of its data contract, from these themselves.

python -m benchmarks.bundle_schema
"""

import json
import sys
from pathlib import Path
from typing import Final

from serving.registry.bundles.manifest import Manifest
from serving.registry.contracts.contract_model import ContractModel

REGISTRY: Final = Path(__file__).parents[1] / "serving" / "registry"
SCHEMA: Final = REGISTRY / "bundles/bundle.schema.json"
CONTRACT_SCHEMA: Final = REGISTRY / "contracts/contract.schema.json"


def schema_text() -> str:
    """Return the schema as it is stored."""
    schema = Manifest.model_json_schema(mode="validation")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(whole, indent=2) + "\n"


def contract_schema_text() -> str:
    """Return the schema of `contract.yaml` as it is stored."""
    schema = ContractModel.model_json_schema(mode="validation")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(whole, indent=2) + "\n"


def main() -> int:
    """Rewrite the schemas."""
    SCHEMA.write_text(schema_text())
    CONTRACT_SCHEMA.write_text(contract_schema_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
