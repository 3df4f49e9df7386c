// Sizes at which every command takes a moment, and waiting for one that is to be stopped midway.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonl_log.h"
#include "tests/support/run_program.h"

namespace ladarts {

// Arguments of a network that is searched, measured or trained in milliseconds a step.
inline const std::vector<std::string> kSmallNetwork = {"--channels", "4", "--layers", "3"};

// The arguments `a`, then `b`.
inline std::vector<std::string> with(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline ProgramResult run(const std::vector<std::string>& arguments) {
  return run_program(LADARTS_PROGRAM, arguments);
}

// Writes 64 training and 24 test images of 16x16 pixels; returns their folder.
inline std::string small_images(const TempFolder& folder) {
  const std::string images = folder / "images";
  const ProgramResult r = run({"data", "generate", images, "--train", "64", "--test", "24", "--image", "16"});
  require(r.code == 0, "{}", r.err);
  return images;
}

inline void wait_until(const std::function<bool()>& ready, RunningProgram& program) {
  for (Stopwatch watch; !ready();) {
    require(program.running(), "the program ended too early");
    require(watch.seconds() < 120, "nothing happened within 120 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// The log of a search or a training, so far.
inline std::vector<Json> log_of(const std::string& out) {
  return std::filesystem::exists(out + "/epochs.jsonl") ? read_jsonl(out + "/epochs.jsonl")
                                                        : std::vector<Json>{};
}

// Records of a log without what differs from run to run.
inline std::vector<Json> without_times(std::vector<Json> records) {
  for (Json& record : records) record.erase("seconds");
  return records;
}

}  // namespace ladarts
