#!/usr/bin/env bash
# Dagster's daemon can lose the signal that should end it, and goes on.
#
# Version: dagster 1.13.27, Python 3.11.
#
# The main thread of `dagster-daemon run` waits inside `raise_interrupts_as(KeyboardInterrupt)`. Its
# signal handler raises wherever the main thread is. Python drops what is raised in the callback of a
# weak reference and prints "Exception ignored in". The handler keeps no note of the signal, so nothing
# ends. A daemon that uses SQLAlchemy has such callbacks, because SQLAlchemy cleans up its event
# registry in them: a daemon was seen to print "Exception ignored in: <function _collection_gced"
# after SIGTERM, and to work on for minutes. A second signal ends it.
#
# This script makes the moment certain: the signal comes inside such a callback.
#
# Seen on 2026-11-29:
#   SIGTERM in plain code: ended by KeyboardInterrupt
#   SIGTERM in the callback of a weak reference: goes on
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dagster==1.13.27

cat >run.py <<'PY'
import os
import signal
import time
import weakref

from dagster._utils.interrupts import capture_interrupts, raise_interrupts_as


class Thing: ...


def end(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)


def in_callback() -> None:
    thing = Thing()
    reference = weakref.ref(thing, end)
    del thing
    assert reference() is None


for name, send in (("plain code", end), ("the callback of a weak reference", in_callback)):
    try:
        with capture_interrupts(), raise_interrupts_as(KeyboardInterrupt):
            send()
        print(f"SIGTERM in {name}: goes on")
    except KeyboardInterrupt:
        print(f"SIGTERM in {name}: ended by KeyboardInterrupt")
PY

cat >expected <<'END'
SIGTERM in plain code: ended by KeyboardInterrupt
SIGTERM in the callback of a weak reference: goes on
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
grep -q "Exception ignored in" stderr
