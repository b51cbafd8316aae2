"""Judges TOML files by a JSON schema: one line each, `pass` or `fail`, in the order given."""

import json
import sys
import tomllib

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            value = tomllib.loads(file.read())
    except tomllib.TOMLDecodeError:
        print("fail")
        continue
    print("pass" if validator.is_valid(value) else "fail")
