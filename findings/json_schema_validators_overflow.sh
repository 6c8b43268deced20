#!/usr/bin/env bash
# Two validators of JSON Schema raise OverflowError for a valid number instead of judging it.
#
# Versions: fastjsonschema 2.22.3, jsonschema 4.26.0, Python 3.11.
#
# JSON sets no limit to an integer, and Python's json reads one of 400 digits as it is. If
# `multipleOf` is a fraction, both validators divide the number by it as floats. The error is neither
# a result nor the exception that each documents for a value that is not valid, so code that catches
# only that one ends with a traceback. With a whole number as `multipleOf`, both answer.
#
# Seen on 2026-11-29:
#   fastjsonschema, multipleOf 0.5: 7.5 valid, 7.3 not valid, 400 digits OverflowError
#   jsonschema, multipleOf 0.5: 7.5 valid, 7.3 not valid, 400 digits OverflowError
#   fastjsonschema, multipleOf 2: 8 valid, 7 not valid, 400 digits valid
#   jsonschema, multipleOf 2: 8 valid, 7 not valid, 400 digits valid
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastjsonschema==2.22.3 jsonschema==4.26.0

cat >run.py <<'PY'
import json
from collections.abc import Callable

import fastjsonschema
import jsonschema


def judge(validate: Callable[[object], object], text: str) -> str:
    try:
        validate(json.loads(text))
    except (fastjsonschema.JsonSchemaException, jsonschema.ValidationError):
        return "not valid"
    except Exception as error:
        return type(error).__name__
    return "valid"


def line(name: str, step: float, texts: tuple[str, str]) -> None:
    schema = {"multipleOf": step}
    validate = (
        fastjsonschema.compile(schema)
        if name == "fastjsonschema"
        else jsonschema.Draft7Validator(schema).validate
    )
    seen = [f"{text} {judge(validate, text)}" for text in texts]
    print(f"{name}, multipleOf {step}:", ", ".join([*seen, "400 digits " + judge(validate, "4" * 400)]))


line("fastjsonschema", 0.5, ("7.5", "7.3"))
line("jsonschema", 0.5, ("7.5", "7.3"))
line("fastjsonschema", 2, ("8", "7"))
line("jsonschema", 2, ("8", "7"))
PY

cat >expected <<'END'
fastjsonschema, multipleOf 0.5: 7.5 valid, 7.3 not valid, 400 digits OverflowError
jsonschema, multipleOf 0.5: 7.5 valid, 7.3 not valid, 400 digits OverflowError
fastjsonschema, multipleOf 2: 8 valid, 7 not valid, 400 digits valid
jsonschema, multipleOf 2: 8 valid, 7 not valid, 400 digits valid
END

venv/bin/python run.py | tee seen
diff expected seen
