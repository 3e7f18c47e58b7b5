"""What `selfc schema` prints is a valid JSON Schema (2020-12) that accepts every example and every description in
tests/models/, and rejects every broken one in tests/messages/schema/. Needs the Python package jsonschema."""
import json
import os
import pathlib
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: the Python package jsonschema is missing")
    sys.exit(77)

root = pathlib.Path(__file__).resolve().parent.parent
text = subprocess.run([os.environ.get("SELFC", "selfc"), "schema"], check=True, capture_output=True, text=True).stdout
schema = json.loads(text)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
good = sorted(root.glob("examples/*/*.json")) + sorted(root.glob("tests/models/*.json"))
broken = sorted(root.glob("tests/messages/schema/*.json"))
failed = 0
for path in good:
    for error in validator.iter_errors(json.loads(path.read_text())):
        print(f"FAIL {path.name} should be accepted: {list(error.path)} {error.message[:200]}")
        failed += 1
for path in broken:
    if validator.is_valid(json.loads(path.read_text())):
        print(f"FAIL {path.name} should be rejected")
        failed += 1
print(f"{len(good)} accepted, {len(broken)} rejected, {failed} wrong")
sys.exit(1 if failed or not good or not broken else 0)
