/* SPDX-License-Identifier: MIT */
/* From a problem and its place to a line of text. */
#include "fsck/fsck_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct line {
	char text[860]; /* what is longer is cut: knot_message() takes this and the number */
	size_t used;
};

static void put_text(struct line *line, const char *text)
{
	size_t room = sizeof(line->text) - 1 - line->used, bytes = strlen(text);

	if (bytes > room)
		bytes = room;
	memcpy(line->text + line->used, text, bytes);
	line->used += bytes;
	line->text[line->used] = '\0';
}

static void put_number(struct line *line, uint64_t number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	put_text(line, digits);
}

static void put_name(struct line *line, const uint8_t *name, size_t name_bytes)
{
	char piece[8];

	put_text(line, "\"");
	for (size_t i = 0; i < name_bytes; i++) {
		bool is_plain = name[i] >= ' ' && name[i] != 0x7f && name[i] != '"' && name[i] != '\\';

		snprintf(piece, sizeof(piece), is_plain ? "%c" : "\\x%02x", name[i]);
		put_text(line, piece);
	}
	put_text(line, "\"");
}

static void put_placeholder(struct line *line, char placeholder, const struct knot_fsck_at *at)
{
	switch (placeholder) {
	case 'o':
		put_number(line, at->object);
		break;
	case 'p':
		put_number(line, at->page);
		break;
	case 'f':
		put_number(line, at->file_page);
		break;
	case 'a':
		put_number(line, at->a);
		break;
	case 'b':
		put_number(line, at->b);
		break;
	case 'n':
		put_name(line, at->name, at->name_bytes);
		break;
	case 'w':
		put_text(line, at->why ? at->why : "value");
		break;
	default:
		break;
	}
}

/* The first name of the object that the walk is in, where the problem is its. */
static void put_first_name(struct line *line, const struct knot_fsck_object *object, const struct knot_fsck_at *at)
{
	if (!object->is_open || at->object != object->number || !object->name_bytes || at->name)
		return;
	put_text(line, "; it is ");
	put_name(line, object->name, object->name_bytes);
	put_text(line, " in directory ");
	put_number(line, object->name_dir);
}

void knot_fsck_problem(struct knot_fsck *fsck, enum knot_fsck_problem problem, const struct knot_fsck_at *at)
{
	const struct knot_fsck_problem_info *info = knot_fsck_problem_info(problem);
	const struct knot_fsck_options *options = fsck->options;
	struct line line = { .used = 0 };
	char plain[2] = { 0 };

	fsck->report->problems++;
	if (!options->found && !(options->messages && options->messages->emit))
		return;
	for (const char *c = info->text; *c; c++) {
		if (*c == '%') {
			put_placeholder(&line, *++c, at);
			continue;
		}
		plain[0] = *c;
		put_text(&line, plain);
	}
	put_first_name(&line, &fsck->object, at);
	if (options->found)
		options->found(options->found_arg, problem, line.text);
	knot_message(options->messages, info->severity, "%s [%d]", line.text, (int)problem);
}
