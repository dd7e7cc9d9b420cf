/* SPDX-License-Identifier: MIT */
#include "tests/lib/sim_device.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct event {
	uint64_t at;
	size_t len; /* 0: a flush */
	uint8_t *bytes;
};

struct failure {
	size_t at; /* counts down; 0: off */
	bool sticky;
	bool hit;
};

struct knot_sim {
	struct knot_device device; /* first: what the volume sees */
	struct knot_device *base;
	struct knot_device *now;     /* overlay: all writes */
	struct knot_device *durable; /* overlay: what is flushed at `durable_events` */
	size_t durable_events;
	struct event *events;
	size_t count, room;
	struct failure fail_read, fail_write, fail_flush;
	knot_sim_hook_fn *hook;
	void *hook_arg;
	bool in_hook;
};

uint64_t knot_test_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool fails(struct failure *failure)
{
	if (failure->hit && failure->sticky)
		return true;
	if (failure->at == 0 || --failure->at > 0)
		return false;
	failure->hit = true;
	return true;
}

static void add_event(struct knot_sim *sim, struct event event)
{
	if (sim->count == sim->room) {
		sim->room = sim->room ? sim->room * 2 : 1024;
		sim->events = realloc(sim->events, sim->room * sizeof(*sim->events));
		assert(sim->events);
	}
	sim->events[sim->count++] = event;
}

static void call_hook(struct knot_sim *sim, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	if (!sim->hook || sim->in_hook)
		return;
	sim->in_hook = true;
	sim->hook(sim->hook_arg, is_write, at_bytes, len_bytes);
	sim->in_hook = false;
}

static int sim_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct knot_sim *sim = (struct knot_sim *)device;

	call_hook(sim, false, at_bytes, len_bytes);
	return fails(&sim->fail_read) ? -EIO : knot_device_read(sim->now, buffer, len_bytes, at_bytes);
}

static int sim_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	struct knot_sim *sim = (struct knot_sim *)device;
	struct event event = { .at = at_bytes };
	size_t done = 0;

	for (int i = 0; i < iov_count; i++)
		event.len += iov[i].iov_len;
	call_hook(sim, true, at_bytes, event.len);
	if (fails(&sim->fail_write))
		return -EIO;
	event.bytes = malloc(event.len);
	assert(event.bytes);
	for (int i = 0; i < iov_count; i++) {
		memcpy(event.bytes + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	add_event(sim, event);
	return knot_device_writev(sim->now, iov, iov_count, at_bytes);
}

static int sim_flush(struct knot_device *device)
{
	struct knot_sim *sim = (struct knot_sim *)device;

	if (fails(&sim->fail_flush))
		return -EIO;
	add_event(sim, (struct event){ .len = 0 });
	return 0;
}

static void sim_close(struct knot_device *device)
{
	(void)device;
}

static const struct knot_device_ops sim_ops = {
	.read = sim_read,
	.writev = sim_writev,
	.flush = sim_flush,
	.close = sim_close,
};

struct knot_sim *knot_sim_open(struct knot_device *base)
{
	struct knot_sim *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return NULL;
	sim->base = base;
	if (knot_device_open_overlay(base, &sim->now) || knot_device_open_overlay(base, &sim->durable)) {
		knot_device_close(sim->now);
		free(sim);
		return NULL;
	}
	sim->device = *base;
	sim->device.ops = &sim_ops;
	sim->device.read_only = false;
	sim->device.name = "simulated";
	return sim;
}

void knot_sim_close(struct knot_sim *sim)
{
	if (!sim)
		return;
	for (size_t i = 0; i < sim->count; i++)
		free(sim->events[i].bytes);
	free(sim->events);
	knot_device_close(sim->now);
	knot_device_close(sim->durable);
	free(sim);
}

struct knot_device *knot_sim_device(struct knot_sim *sim)
{
	return &sim->device;
}

size_t knot_sim_events(const struct knot_sim *sim)
{
	return sim->count;
}

bool knot_sim_is_flush(const struct knot_sim *sim, size_t event)
{
	return sim->events[event].len == 0;
}

bool knot_sim_write_at(const struct knot_sim *sim, size_t event, uint64_t *at_bytes, size_t *len_bytes)
{
	*at_bytes = sim->events[event].at;
	*len_bytes = sim->events[event].len;
	return *len_bytes != 0;
}

void knot_sim_set_hook(struct knot_sim *sim, knot_sim_hook_fn *hook, void *arg)
{
	sim->hook = hook;
	sim->hook_arg = arg;
}

void knot_sim_fail_write(struct knot_sim *sim, size_t n, bool sticky)
{
	sim->fail_write = (struct failure){ .at = n, .sticky = sticky };
}

void knot_sim_fail_flush(struct knot_sim *sim, size_t n, bool sticky)
{
	sim->fail_flush = (struct failure){ .at = n, .sticky = sticky };
}

void knot_sim_fail_read(struct knot_sim *sim, size_t n, bool sticky)
{
	sim->fail_read = (struct failure){ .at = n, .sticky = sticky };
}

bool knot_sim_has_failed(const struct knot_sim *sim)
{
	return sim->fail_read.hit || sim->fail_write.hit || sim->fail_flush.hit;
}

/* One past the last flush before `events`: what is before it is durable. */
static size_t durable_end(const struct knot_sim *sim, size_t events)
{
	while (events > 0 && sim->events[events - 1].len != 0)
		events--;
	return events;
}

size_t knot_sim_unflushed(const struct knot_sim *sim, size_t events)
{
	return events - durable_end(sim, events);
}

static void write_part(struct knot_device *to, const struct event *event, size_t from, size_t len)
{
	int err = len ? knot_device_write(to, event->bytes + from, len, event->at + from) : 0;

	assert(!err);
	(void)err;
}

static void write_torn(struct knot_device *to, const struct event *event, size_t unit, uint64_t *seed)
{
	for (size_t from = 0; from < event->len; from += unit) {
		if (knot_test_random(seed) & 1)
			write_part(to, event, from, event->len - from < unit ? event->len - from : unit);
	}
}

void knot_sim_replay_unflushed(const struct knot_sim *sim, size_t events, struct knot_device *to)
{
	for (size_t i = durable_end(sim, events); i < events; i++)
		write_part(to, &sim->events[i], 0, sim->events[i].len);
}

struct knot_device *knot_sim_cut(struct knot_sim *sim, size_t events, enum knot_cut kind, uint64_t seed)
{
	size_t durable = durable_end(sim, events);
	struct knot_device *cut;

	assert(durable >= sim->durable_events);
	for (; sim->durable_events < durable; sim->durable_events++) {
		if (sim->events[sim->durable_events].len)
			write_part(sim->durable, &sim->events[sim->durable_events], 0,
				   sim->events[sim->durable_events].len);
	}
	if (knot_device_open_overlay(sim->durable, &cut))
		return NULL;
	for (size_t i = durable; i < events; i++) {
		const struct event *event = &sim->events[i];

		if (kind == KNOT_CUT_KEEP || (kind == KNOT_CUT_SUBSET && (knot_test_random(&seed) & 1)) ||
		    (kind == KNOT_CUT_REORDER && i >= durable + (events - durable + 1) / 2))
			write_part(cut, event, 0, event->len);
		else if (kind == KNOT_CUT_PREFIX)
			write_part(cut, event, 0,
				   i + 1 < events ? event->len : knot_test_random(&seed) % (event->len / 512) * 512);
		else if (kind == KNOT_CUT_TORN_512)
			write_torn(cut, event, 512, &seed);
		else if (kind == KNOT_CUT_TORN_4096)
			write_torn(cut, event, 4096, &seed);
	}
	return cut;
}
