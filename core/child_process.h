// Runs a command of the user's, with a limit on its time, and keeps the end of what it prints. Linux.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ladarts {

struct ChildLimits {
  double timeout_s = 600;
  double grace_s = 2;                 // from asking it to end (SIGTERM) to forcing it (SIGKILL)
  size_t kept_out = size_t(4) << 20;  // bytes of standard output that are kept, from its end
  size_t kept_err = size_t(4) << 10;
};

struct ChildResult {
  enum class End : uint8_t { exited, signalled, timed_out, interrupted };
  End end = End::exited;
  int code = 0;  // exit status, or number of the signal
  double seconds = 0;
  std::string out, err;  // the ends of both outputs
  bool ok() const { return end == End::exited && code == 0; }
  // "ended with exit status 3", "was ended by signal 11 (Segmentation fault)", "still ran after 60 s"
  std::string how_it_ended() const;
};

// /bin/sh -c `command`, in a process group of its own, with nothing to read on standard input, in this
// process's working folder. Whatever ends it, all that is left of its group is killed: commands that it
// started and did not wait for, also where those ignore SIGTERM, and also where ladarts itself is killed.
// Ends early once interrupted(). Throws Error where no process can be made.
ChildResult run_command(const std::string& command, const ChildLimits& limits = {});

}  // namespace ladarts
