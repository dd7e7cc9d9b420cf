#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Size: what grows with the number of entries, the log, the volume, and what must not. long_scale.sh is the same with a
# million entries.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/scale.sh"

# shellcheck disable=SC2034 # scale.sh uses them
entries=100000 megabytes=1024 trees=0

run_cases \
	a_directory_costs_the_same_at_any_size \
	a_listing_neither_loses_nor_repeats_a_name \
	memory_stays_within_a_small_cache \
	a_large_log_is_replayed_in_seconds \
	a_huge_volume_mounts_like_a_small_one
