#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_scale.sh with a million entries in a directory, a file of 2 GiB and real trees.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/scale.sh"

# shellcheck disable=SC2034 # scale.sh uses them
entries=1000000 megabytes=2048 trees=1

run_cases \
	a_directory_costs_the_same_at_any_size \
	a_listing_neither_loses_nor_repeats_a_name \
	memory_stays_within_a_small_cache \
	memory_stays_within_the_default_cache \
	a_large_log_is_replayed_in_seconds \
	a_huge_volume_mounts_like_a_small_one
