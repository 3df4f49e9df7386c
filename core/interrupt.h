// Ctrl-C and SIGTERM as a request to stop at the next safe point.
#pragma once

namespace ladarts {

// From now on the first SIGINT or SIGTERM only sets a flag; the second ends the process at once, with the
// exit status 128 + signal.
void catch_interrupts();

// Whether one has come. Cheap; any thread.
bool interrupted();
// The signal that came, or 0. A program that stopped for it exits with 128 + signal.
int interrupt_signal();
// Forgets it, for programs that go on.
void clear_interrupt();

}  // namespace ladarts
