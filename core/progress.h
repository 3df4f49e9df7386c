// A line on the terminal that says how far a long job is, how fast, and when it will end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

namespace ladarts {

struct ProgressOptions {
  std::string unit = "it";           // "12.3 it/s"
  int64_t start = 0;                 // already done when the job was resumed; does not count into the rate
  std::FILE* out = stderr;           // not owned
  std::optional<bool> tty = {};      // whether to redraw in place; asks isatty(out) if not given
  std::function<double()> now = {};  // seconds, for tests; a steady clock if not given
};

// On a terminal the line is redrawn in place, at most ten times a second; elsewhere a new line is printed
// about every ten seconds. Never throws for a closed or full output. Not thread-safe.
//   measure  120/1000  12%  3.4 it/s  ETA 4m19s  best 11.2 ms
class Progress {
 public:
  // total <= 0: unknown, neither share nor ETA.
  Progress(std::string title, int64_t total, ProgressOptions options = {});
  ~Progress();  // leaves the last state on a line of its own
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, std::string note = {});
  // Clears a redrawn line, so that the caller can print something of its own; the next update draws again.
  void clear();
  void finish();  // draws the final state, once

  // A line of its own on stderr, unless silent.
  static void say(const std::string& text);
  // Silences every Progress of the process (--quiet).
  static void set_silent(bool silent);
  static bool silent();

 private:
  void draw(bool last);
  std::string line(double now) const;

  std::string title_, note_;
  int64_t total_, done_;
  ProgressOptions options_;
  bool tty_, drawn_ = false, finished_ = false;
  double begin_, last_draw_;
};

}  // namespace ladarts
