/* SPDX-License-Identifier: MIT */
/* Where the daemon's messages go: to the terminal that started it, and to syslog once it has left that. */
#ifndef KNOT_FUSE_SINK_H
#define KNOT_FUSE_SINK_H

#include "fs/util/message.h"

#include <stdatomic.h>
#include <stdbool.h>

struct knot_sink {
	struct knot_messages volume; /* lines about the image; its name goes in front */
	struct knot_messages plain;
	bool quiet;
	_Atomic bool syslog;
};

/* `image` must outlive the sink. `quiet`: mere notes go to syslog from the start. */
void knot_sink_init(struct knot_sink *sink, const char *image, bool quiet);
/* From now on to syslog. */
void knot_sink_detach(struct knot_sink *sink);

#endif
