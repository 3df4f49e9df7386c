#include "core/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/clock.h"

namespace ladarts {

namespace {

constexpr double kRedrawSeconds = 0.1, kPlainSeconds = 10;
std::atomic<bool> silenced{false};

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Progress::Progress(std::string title, int64_t total, ProgressOptions options)
    : title_(std::move(title)), total_(total), done_(options.start), options_(std::move(options)) {
  if (!options_.now) options_.now = steady_seconds;
  tty_ = options_.tty.value_or(::isatty(::fileno(options_.out)) == 1);
  begin_ = options_.now();
  last_draw_ = begin_;
}

Progress::~Progress() {
  try {
    finish();
  } catch (...) {
    // A destructor must not throw, and a progress line is not worth ending a program for.
  }
}

void Progress::set_silent(bool silent) {
  silenced = silent;
}

void Progress::say(const std::string& text) {
  if (silenced) return;
  const std::string line = text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

bool Progress::silent() {
  return silenced;
}

std::string Progress::line(double now) const {
  std::string text = total_ > 0 ? fmt::format("{}  {}/{}  {:.0f}%", title_, done_, total_,
                                              100.0 * double(done_) / double(total_))
                                : fmt::format("{}  {}", title_, done_);
  const double elapsed = now - begin_;
  const double rate = elapsed > 0 ? double(done_ - options_.start) / elapsed : 0;
  if (rate > 0) text += fmt::format("  {:.{}f} {}/s", rate, rate < 100 ? 1 : 0, options_.unit);
  if (total_ > 0 && done_ >= total_)
    text += "  in " + format_duration(elapsed);
  else if (total_ > 0 && rate > 0)
    text += "  ETA " + format_duration(double(total_ - done_) / rate);
  if (!note_.empty()) text += "  " + note_;
  return text;
}

void Progress::draw(bool last) {
  last_draw_ = options_.now();
  if (silenced) return;
  const std::string text = line(last_draw_);
  // "\x1b[K" erases what a longer line left behind.
  const std::string bytes = tty_ ? "\r" + text + "\x1b[K" + (last ? "\n" : "") : text + "\n";
  std::fwrite(bytes.data(), 1, bytes.size(), options_.out);
  std::fflush(options_.out);
  drawn_ = !last;
}

void Progress::update(int64_t done, std::string note) {
  done_ = done;
  note_ = std::move(note);
  if (finished_) return;
  const double waited = options_.now() - last_draw_;
  if (waited >= (tty_ ? kRedrawSeconds : kPlainSeconds)) draw(false);
}

void Progress::clear() {
  if (!tty_ || !drawn_ || silenced) return;
  std::fputs("\r\x1b[K", options_.out);
  std::fflush(options_.out);
  drawn_ = false;
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  draw(true);
}

}  // namespace ladarts
