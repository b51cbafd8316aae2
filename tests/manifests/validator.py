"""Judges TOML files by a JSON schema: one line each, in the order given.

A line is `pass` or `fail`; after `--faults` it has the places of all faults.
"""

import json
import sys
import tomllib

import jsonschema

arguments = sys.argv[1:]
faults = arguments[0] == "--faults"
if faults:
    del arguments[0]
with open(arguments[0], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in arguments[1:]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            value = tomllib.loads(file.read())
    except tomllib.TOMLDecodeError:
        print("fail")
        continue
    if faults:
        print(*sorted(error.json_path for error in validator.iter_errors(value)))
    else:
        print("pass" if validator.is_valid(value) else "fail")
