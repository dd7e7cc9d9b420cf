#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon at random moments under load: what was fsynced is there after the next mount, whole, what was not
# is old or new, and fsck is content. KNOT_KILLS rounds, 12 if unset; KNOT_SEED as everywhere.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

clients=4
kills=${KNOT_KILLS:-12}
# cleaner and log under pressure: small caches and buffers among them
options=(
	"data=ordered,flush_log_at_commit=1"
	"data=strict,flush_log_at_commit=1"
	"data=ordered,flush_log_at_commit=2"
	"data=strict,flush_log_at_commit=1,cache=16M,log_buffer=2M"
	"data=ordered,flush_log_at_commit=1,cache=16M,log_buffer=2M,commit=1"
	"data=ordered,flush_log_at_commit=0,commit=1"
	"data=strict,flush_log_at_commit=0"
	"data=strict,flush_log_at_commit=2,commit=1"
)

start_clients() {
	local i

	children=()
	rm -f killed
	for ((i = 0; i < clients; i++)); do
		"$tools/tool_durable" run "$dir" "$work/state$i" $i "$work/killed" "$1" 2>"client$i.err" &
		children+=($!)
	done
}

wait_clients() {
	local i

	for ((i = 0; i < clients; i++)); do
		wait "${children[i]}" || fail "round $round: $(cat "client$i.err")"
	done
	children=()
}

verify_clients() {
	local i

	for ((i = 0; i < clients; i++)); do
		"$tools/tool_durable" verify "$dir" "$work/state$i" $i >"verified$i" 2>err || fail "round $round, $1: $(cat err)"
	done
}

# Kill a daemon that is recovering, too.
kill_while_mounting() {
	local pid

	"$bin/knotfs" -f "$image" "$dir" -o "$1" 2>/dev/null &
	pid=$!
	sleep "0.0$((RANDOM % 10))"
	kill -KILL $pid
	wait $pid 2>/dev/null
}

what_was_synced_survives_kill_9() {
	local round option sync seed=${KNOT_SEED:-1} recoveries=0

	echo "    KNOT_SEED=$seed"
	new_image 256M --log-size 8M
	mount_it "${options[0]}"
	for ((round = 1; round <= kills; round++)); do
		option=${options[(round - 1) % ${#options[@]}]}
		sync=sync
		[[ $option != *at_commit=0* ]] || sync=nosync
		start_clients $sync
		sleep "$((RANDOM % 2)).$((RANDOM % 9 + 1))"
		touch killed
		kill_daemon
		wait_clients
		if [ $((RANDOM % 3)) -eq 0 ]; then
			fsck_is_clean "round $round, after the kill"
		fi
		if [ $((RANDOM % 3)) -eq 0 ]; then
			kill_while_mounting "$option"
			recoveries=$((recoveries + 1))
		fi
		option=${options[round % ${#options[@]}]}
		mount_it "$option"
		verify_clients "now $option"
		# What the clients set right must be certain, whatever fsync promised them.
		[[ $option != *at_commit=0* ]] || "$bin/knotctl" checkpoint "$dir" || fail "checkpoint"
		if [ $((round % 2)) -eq 0 ] || [ $round -eq "$kills" ]; then
			unmount_it
			fsck_is_clean "round $round, after an unmount"
			[ $round -eq "$kills" ] || mount_it "$option"
		fi
		[ $failures -eq 0 ] || break
	done
	cat verified* | awk -v rounds="$kills" -v recoveries="$recoveries" '{ o += $1; s += $2 }
		END { print "    " rounds " kills, " recoveries " more of a recovering daemon: " o " operations, " s " syncs verified" }'
	[ $failures -eq 0 ] || [ -z "${KNOT_KEEP:-}" ] || cp "$image" "$KNOT_KEEP"
}

run_cases what_was_synced_survives_kill_9
