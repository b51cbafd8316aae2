#!/bin/sh
# Says what the host has left.
set -eu
df -h /
