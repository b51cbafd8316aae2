#!/bin/sh
# What a pull request has to pass. It builds nothing; the table in plan.md says what a build would do.
set -eu
cd "$(dirname "$0")/.."
layered-template validate --format github ./*.toml
layered-template lock --check proxy.toml app.toml jobs.toml

# Status 1 means that something would be built, and is no fault.
status=0
layered-template plan --exit-code --format github proxy.toml app.toml jobs.toml >plan.md || status=$?
test "$status" -lt 2
