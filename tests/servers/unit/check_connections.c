/* The state machine of the event-driven stages, turn by turn, in a world that the test controls. */
#include "tests/servers/unit/connections.h"

#include <stdlib.h>

int main(void)
{
    Suite *suite = suite_create("connections");

    add_conversation_tests(suite);
    add_deadline_tests(suite);
    add_shutdown_tests(suite);
    add_shortage_tests(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
