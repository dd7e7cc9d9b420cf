#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
KNOT_LONG=1 exec "$BASH" "$(dirname "$0")/test_programs.sh"
