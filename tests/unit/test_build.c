/* SPDX-License-Identifier: MIT */
/* Proves that tests build and run while there are no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void tests_build_and_run(void **state)
{
	(void)state;
	assert_true(sizeof KNOT_VERSION > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tests_build_and_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
