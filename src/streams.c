/*
 * Keeps a standard stream that is closed from looking like one that is open.
 *
 * Rust's runtime opens /dev/null in the place of closed streams, for both directions, so that no
 * other file gets their numbers; afterwards nobody can tell them from a /dev/null that was meant.
 * This runs before it and opens /dev/null in the wrong direction, as gnulib's stdopen does: the
 * numbers are taken, and what reads or writes there finds that it can't.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void take_closed_streams(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) == -1 && errno == EBADF) {
            /* The lowest free number is given. Where there is no /dev/null Rust's runtime ends. */
            (void)open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}
