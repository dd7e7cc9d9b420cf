/* SPDX-License-Identifier: MIT */
/* Leader and followers, with a socket in the place of /dev/fuse: each message is a request. */
#include "fs/fuse/pool.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
	int client, server;
	struct knot_pool *pool;
	sem_t entered;  /* a request waits */
	sem_t released; /* one of those may go on */
};

/* 'q': answer. 'b': wait, then answer. 'a': wait until alone, then answer. The answer is the serving thread. */
static void serve(void *arg, struct knot_slot *slot, size_t len_bytes)
{
	struct bench *bench = arg;
	pthread_t self = pthread_self();

	assert_int_equal(len_bytes, 1);
	assert_ptr_equal(knot_pool_slot(bench->pool), slot);
	if (slot->header[0] == 'b') {
		knot_request_will_block(&slot->request);
		knot_request_will_block(&slot->request); /* the second time does nothing */
		sem_post(&bench->entered);
		while (sem_wait(&bench->released) != 0) {
		}
	} else if (slot->header[0] == 'a') {
		knot_pool_wait_alone(bench->pool);
	}
	assert_int_equal(write(bench->server, &self, sizeof(self)), sizeof(self));
}

static void on_stop(int number)
{
	(void)number;
}

static void start(struct bench *bench, unsigned threads)
{
	struct sigaction action = { .sa_handler = on_stop };
	struct knot_pool_options options = { .threads_max = threads, .serve = serve, .arg = bench };
	int pair[2];

	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	bench->client = pair[0];
	bench->server = options.fd = pair[1];
	sem_init(&bench->entered, 0, 0);
	sem_init(&bench->released, 0, 0);
	assert_int_equal(knot_pool_new(&options, &bench->pool), 0);
}

static void send_request(const struct bench *bench, char what)
{
	assert_int_equal(write(bench->client, &what, 1), 1);
}

static pthread_t answer(const struct bench *bench)
{
	pthread_t thread;

	assert_int_equal(read(bench->client, &thread, sizeof(thread)), sizeof(thread));
	return thread;
}

static void wait_until_blocked(struct bench *bench, unsigned requests)
{
	for (unsigned i = 0; i < requests; i++)
		while (sem_wait(&bench->entered) != 0) {
		}
}

static void release(struct bench *bench, unsigned requests)
{
	for (unsigned i = 0; i < requests; i++)
		sem_post(&bench->released);
}

static void wait_for_end(const struct bench *bench)
{
	struct pollfd fd = { .fd = knot_pool_ended_fd(bench->pool), .events = POLLIN };

	assert_int_equal(poll(&fd, 1, -1), 1);
}

/* The other side hangs up: read(2) returns 0, the end. */
static void finish(struct bench *bench)
{
	shutdown(bench->client, SHUT_WR);
	wait_for_end(bench);
	assert_int_equal(knot_pool_free(bench->pool), 0);
	close(bench->client);
	close(bench->server);
	sem_destroy(&bench->entered);
	sem_destroy(&bench->released);
}

static void count_slot(void *arg, const struct knot_slot *slot)
{
	unsigned *count = arg;

	(void)slot;
	(*count)++;
}

static unsigned threads_of(const struct bench *bench)
{
	unsigned count = 0;

	knot_pool_each(bench->pool, count_slot, &count);
	return count;
}

static void requests_that_do_not_wait_are_all_served_by_one_thread(void **state)
{
	struct bench bench = { 0 };
	pthread_t first;

	(void)state;
	start(&bench, 8);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	send_request(&bench, 'q');
	first = answer(&bench);
	for (int i = 0; i < 100; i++) {
		send_request(&bench, 'q');
		assert_true(pthread_equal(answer(&bench), first));
	}
	assert_int_equal(threads_of(&bench), 1);
	finish(&bench);
}

static void while_a_request_waits_another_thread_reads_on(void **state)
{
	struct bench bench = { 0 };
	pthread_t quick;

	(void)state;
	start(&bench, 8);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	send_request(&bench, 'b');
	wait_until_blocked(&bench, 1);
	send_request(&bench, 'q');
	quick = answer(&bench);
	release(&bench, 1);
	assert_false(pthread_equal(answer(&bench), quick));
	assert_int_equal(threads_of(&bench), 2);
	finish(&bench);
}

static void there_are_never_more_threads_than_allowed_and_the_first_done_reads_on(void **state)
{
	struct bench bench = { 0 };

	(void)state;
	start(&bench, 3);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	for (int i = 0; i < 3; i++)
		send_request(&bench, 'b');
	wait_until_blocked(&bench, 3);
	send_request(&bench, 'q'); /* nobody is there to read it */
	send_request(&bench, 'q');
	assert_int_equal(threads_of(&bench), 3);
	release(&bench, 1);
	for (int i = 0; i < 3; i++)
		(void)answer(&bench);
	release(&bench, 2);
	for (int i = 0; i < 2; i++)
		(void)answer(&bench);
	finish(&bench);
}

static void one_thread_alone_serves_requests_that_wait(void **state)
{
	struct bench bench = { 0 };

	(void)state;
	start(&bench, 1);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	release(&bench, 50);
	for (int i = 0; i < 50; i++)
		send_request(&bench, 'b');
	for (int i = 0; i < 50; i++)
		(void)answer(&bench);
	assert_int_equal(threads_of(&bench), 1);
	finish(&bench);
}

static void parked_threads_are_used_again(void **state)
{
	struct bench bench = { 0 };

	(void)state;
	start(&bench, 64);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	for (int i = 0; i < 200; i++) {
		send_request(&bench, 'b');
		wait_until_blocked(&bench, 1);
		send_request(&bench, 'q');
		(void)answer(&bench);
		release(&bench, 1);
		(void)answer(&bench);
	}
	/* One reads, one serves; a few may be on their way back when the next is wanted. Never a new one each time. */
	assert_in_range(threads_of(&bench), 2, 32);
	finish(&bench);
}

static void waiting_alone_waits_for_the_others(void **state)
{
	struct bench bench = { 0 };
	struct pollfd fd;

	(void)state;
	start(&bench, 8);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	send_request(&bench, 'b');
	send_request(&bench, 'b');
	wait_until_blocked(&bench, 2);
	send_request(&bench, 'a');
	release(&bench, 1);
	(void)answer(&bench);
	fd = (struct pollfd){ .fd = bench.client, .events = POLLIN };
	assert_int_equal(poll(&fd, 1, 0), 0);
	release(&bench, 1);
	(void)answer(&bench);
	(void)answer(&bench);
	finish(&bench);
}

static void the_first_request_can_be_served_by_the_caller(void **state)
{
	struct bench bench = { 0 };

	(void)state;
	start(&bench, 2);
	send_request(&bench, 'q');
	send_request(&bench, 'q');
	assert_int_equal(knot_pool_serve_first(bench.pool), 0);
	assert_true(pthread_equal(answer(&bench), pthread_self()));
	assert_int_equal(knot_pool_start(bench.pool), 0);
	assert_false(pthread_equal(answer(&bench), pthread_self()));
	finish(&bench);
}

static void stopping_finishes_what_was_read_and_reads_no_more(void **state)
{
	struct bench bench = { 0 };
	struct pollfd ended;
	sigset_t mask;

	(void)state;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &mask, NULL); /* as in the daemon: the pool's threads take it all the same */
	start(&bench, 4);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	send_request(&bench, 'b');
	send_request(&bench, 'b');
	wait_until_blocked(&bench, 2);
	knot_pool_stop(bench.pool);
	release(&bench, 2);
	ended = (struct pollfd){ .fd = knot_pool_ended_fd(bench.pool), .events = POLLIN };
	while (poll(&ended, 1, 1) == 0)
		knot_pool_stop(bench.pool);
	(void)answer(&bench);
	(void)answer(&bench);
	finish(&bench);
}

static void a_pool_that_was_never_started_is_freed(void **state)
{
	struct bench bench = { 0 };

	(void)state;
	start(&bench, 4);
	assert_int_equal(knot_pool_free(bench.pool), 0);
	close(bench.client);
	close(bench.server);
}

static void a_failing_read_ends_the_pool_with_its_error(void **state)
{
	struct bench bench = { 0 };
	struct knot_pool_options options = { .fd = -1, .threads_max = 2, .serve = serve, .arg = &bench };

	(void)state;
	assert_int_equal(knot_pool_new(&options, &bench.pool), 0);
	assert_int_equal(knot_pool_start(bench.pool), 0);
	wait_for_end(&bench);
	assert_int_equal(knot_pool_free(bench.pool), -EBADF);
}

static void the_last_processor_is_read_whatever_the_name_is(void **state)
{
	static const char line[] =
		"42 (a) b) c) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 99 1000 10 18446744073709551615 1 1 "
		"0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

	(void)state;
	assert_int_equal(knot_placement_parse(line, sizeof(line) - 1), 1);
	assert_int_equal(knot_placement_parse(line, 40), -1);
	assert_int_equal(knot_placement_parse("nothing", 7), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_that_do_not_wait_are_all_served_by_one_thread),
		cmocka_unit_test(while_a_request_waits_another_thread_reads_on),
		cmocka_unit_test(there_are_never_more_threads_than_allowed_and_the_first_done_reads_on),
		cmocka_unit_test(one_thread_alone_serves_requests_that_wait),
		cmocka_unit_test(parked_threads_are_used_again),
		cmocka_unit_test(waiting_alone_waits_for_the_others),
		cmocka_unit_test(the_first_request_can_be_served_by_the_caller),
		cmocka_unit_test(stopping_finishes_what_was_read_and_reads_no_more),
		cmocka_unit_test(a_pool_that_was_never_started_is_freed),
		cmocka_unit_test(a_failing_read_ends_the_pool_with_its_error),
		cmocka_unit_test(the_last_processor_is_read_whatever_the_name_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
