/* SPDX-License-Identifier: MIT */
#include "fs/util/message.h"

#include <stdarg.h>
#include <stdio.h>

void knot_message(const struct knot_messages *messages, enum knot_severity severity, const char *format, ...)
{
	char text[896];
	char line[1024];
	va_list args;

	if (!messages || !messages->emit)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(line, sizeof(line), "%s%s%s", messages->volume ? messages->volume : "", messages->volume ? ": " : "",
		 text);
	messages->emit(messages->arg, severity, line);
}
