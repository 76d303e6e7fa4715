#!/bin/bash
# What cubeos-boot-detect.sh chooses; cubeos-boot.sh has all of it.
set -Eeuo pipefail
exec "$(dirname "$(readlink -f "$0")")/cubeos-boot.sh" first
