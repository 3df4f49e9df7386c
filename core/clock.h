// Time for logs and progress: dates in UTC, durations as people read them, a stopwatch.
#pragma once

#include <chrono>
#include <string>

namespace ladarts {

std::string to_iso8601(std::chrono::system_clock::time_point time);  // "2020-02-29T23:59:59Z"
std::string utc_now();
// "0.4s", "42s", "3m05s", "2h07m", "3d04h"; "?" for what is not a finite, non-negative number.
std::string format_duration(double seconds);

// Measures from its construction, by a clock that is never set back.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  double milliseconds() const { return 1e3 * seconds(); }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace ladarts
