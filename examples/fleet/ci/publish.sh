#!/bin/sh
# Builds what was merged, and pushes it: publish.sh REGISTRY/TEAM KEYFILE
set -eu
team=$1 key=$2
cd "$(dirname "$0")/.."
layered-template build --locked proxy.toml app.toml jobs.toml
for role in proxy app jobs; do
    layered-template push --locked --sign "$key" "$role.toml" "$team/$role"
done
