#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
KNOT_KILLS=${KNOT_KILLS:-100} exec "$BASH" "$(dirname "$0")/test_kill.sh"
