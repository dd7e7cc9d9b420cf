/* SPDX-License-Identifier: MIT */
#include "fs/fuse/sink.h"

#include <stdio.h>
#include <syslog.h>

static int priority_of(enum knot_severity severity)
{
	switch (severity) {
	case KNOT_NOTE:
		return LOG_INFO;
	case KNOT_WARNING:
		return LOG_WARNING;
	default:
		return LOG_ERR;
	}
}

static void emit(void *arg, enum knot_severity severity, const char *line)
{
	struct knot_sink *sink = arg;

	if (atomic_load(&sink->syslog) || (sink->quiet && severity == KNOT_NOTE))
		syslog(priority_of(severity), "%s", line);
	else
		fprintf(stderr, "knotfs: %s\n", line);
}

void knot_sink_init(struct knot_sink *sink, const char *image, bool quiet)
{
	openlog("knotfs", LOG_PID, LOG_DAEMON);
	*sink = (struct knot_sink){
		.volume = { .emit = emit, .arg = sink, .volume = image },
		.plain = { .emit = emit, .arg = sink },
		.quiet = quiet,
	};
}

void knot_sink_detach(struct knot_sink *sink)
{
	atomic_store(&sink->syslog, true);
}
