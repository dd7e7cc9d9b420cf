/* SPDX-License-Identifier: MIT */
/* Messages for people. The library never prints: it hands whole lines to the sink that its caller gave. */
#ifndef KNOT_UTIL_MESSAGE_H
#define KNOT_UTIL_MESSAGE_H

enum knot_severity { KNOT_NOTE, KNOT_WARNING, KNOT_ERROR };

/* Owned by the caller; must outlive what it was given to. `emit` may be called from any thread, with locks held: it
 * must not call back. */
struct knot_messages {
	void (*emit)(void *arg, enum knot_severity severity, const char *line);
	void *arg;
	const char *volume; /* the image's name, put in front of each line; may be NULL */
};

/* Emit "VOLUME: text"; does nothing when `messages` or its emit is NULL. */
__attribute__((format(printf, 3, 4))) void knot_message(const struct knot_messages *messages,
							enum knot_severity severity, const char *format, ...);

#endif
