// Clock, progress lines, interrupts.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;

namespace {

// What was written to a FILE.
class Capture {
 public:
  std::FILE* file() { return file_; }
  std::string text() {
    std::string result(size_t(std::ftell(file_)), '\0');
    std::rewind(file_);
    const size_t n = std::fread(result.data(), 1, result.size(), file_);
    CHECK(n == result.size());
    return result;
  }
  ~Capture() { std::fclose(file_); }

 private:
  std::FILE* file_ = std::tmpfile();
};

// The exit code of this program, started afresh, running only the hidden test case `name`. A mere fork would
// not do: in the child of a process that had threads the thread sanitizer delivers no signals.
int exit_code_of(const char* name) {
  return run_program("/proc/self/exe", {name}).code;
}

}  // namespace

TEST_CASE("clock: dates are ISO 8601 in UTC", "[core][clock]") {
  using std::chrono::milliseconds, std::chrono::system_clock;
  CHECK(to_iso8601(system_clock::time_point(milliseconds(0))) == "1970-01-01T00:00:00Z");
  CHECK(to_iso8601(system_clock::time_point(milliseconds(1583020799999))) == "2020-02-29T23:59:59Z");
  CHECK(to_iso8601(system_clock::time_point(milliseconds(-1))) == "1969-12-31T23:59:59Z");
  CHECK(utc_now() >= "2024-01-01T00:00:00Z");
}

TEST_CASE("clock: durations as people read them", "[core][clock]") {
  CHECK(format_duration(0.42) == "0.4s");
  CHECK(format_duration(9.96) == "10s");
  CHECK(format_duration(59.6) == "1m00s");
  CHECK(format_duration(185) == "3m05s");
  CHECK(format_duration(7620) == "2h07m");
  CHECK(format_duration(3 * 86400 + 4 * 3600) == "3d04h");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(format_duration(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("progress: a terminal's line is redrawn in place", "[core][progress]") {
  Capture out;
  double now = 100;
  {
    Progress progress("measure", 200,
                      {.unit = "net", .out = out.file(), .tty = true, .now = [&] { return now; }});
    progress.update(1);  // too soon to be drawn
    now = 110;
    progress.update(50, "best 3 ms");
    now = 140;
    progress.update(200);
  }
  CHECK(out.text() ==
        "\rmeasure  50/200  25%  5.0 net/s  ETA 30s  best 3 ms\x1b[K"
        "\rmeasure  200/200  100%  5.0 net/s  in 40s\x1b[K"
        "\rmeasure  200/200  100%  5.0 net/s  in 40s\x1b[K\n");
}

TEST_CASE("progress: elsewhere a plain line about every ten seconds", "[core][progress]") {
  Capture out;
  double now = 0;
  Progress progress("train", 100, {.start = 40, .out = out.file(), .tty = false, .now = [&] { return now; }});
  for (now = 0; now < 25; now += 1) progress.update(40 + int64_t(now));
  progress.finish();
  progress.finish();
  CHECK(out.text() ==
        "train  50/100  50%  1.0 it/s  ETA 50s\n"
        "train  60/100  60%  1.0 it/s  ETA 40s\n"
        "train  64/100  64%  1.0 it/s  ETA 38s\n");
}

TEST_CASE("progress: an unknown total has no share; silence is silence", "[core][progress]") {
  Capture out;
  double now = 0;
  const ProgressOptions options{.out = out.file(), .tty = false, .now = [&] { return now; }};
  {
    Progress progress("scan", 0, options);
    now = 2;
    progress.update(400);
  }
  Progress::set_silent(true);
  { Progress("quiet", 3, options).update(1); }
  Progress::set_silent(false);
  CHECK(out.text() == "scan  400  200 it/s\n");
}

TEST_CASE("interrupt-child-once", "[.]") {
  catch_interrupts();
  if (interrupted()) ::_exit(1);
  ::raise(SIGINT);
  ::_exit(interrupted() && interrupt_signal() == SIGINT ? 42 : 2);
}

TEST_CASE("interrupt-child-twice", "[.]") {
  catch_interrupts();
  ::raise(SIGINT);
  ::raise(SIGTERM);
  ::sleep(5);  // the thread sanitizer delivers a signal at the next call that can wait
  ::_exit(2);
}

TEST_CASE("interrupt-child-cleared", "[.]") {
  catch_interrupts();
  ::raise(SIGINT);
  clear_interrupt();
  if (interrupted()) ::_exit(1);
  ::raise(SIGINT);
  ::_exit(interrupted() ? 43 : 2);
}

TEST_CASE("interrupt: the first signal sets a flag, the second ends the process", "[core][interrupt]") {
  CHECK(exit_code_of("interrupt-child-once") == 42);
  CHECK(exit_code_of("interrupt-child-twice") == 128 + SIGTERM);
  CHECK(exit_code_of("interrupt-child-cleared") == 43);
}
