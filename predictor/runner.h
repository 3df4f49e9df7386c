// A runner: a command of the user's that measures an ONNX model on whatever it reaches (a phone, a board,
// another library) and prints what it found. docs/other-hardware.md is its contract.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "predictor/measure.h"

namespace ladarts {

// The last line that a runner prints on standard output: one JSON object.
struct RunnerReply {
  std::optional<Timing> latency;          // "times_ms", or "latency_ms" and what else is known of it
  std::optional<double> energy_mj;        // of one run
  std::optional<double> peak_memory_mib;  // while running
  // What it ran on, and by what; empty or 0 where it does not say.
  std::string device, precision, library;
  int threads = 0;
};

// Throws Error saying what is wrong with it: no JSON, unknown or mistyped fields, numbers that are not
// positive, and {"error": "..."}, by which a runner tells that it cannot measure.
RunnerReply parse_runner_reply(const std::string& standard_output);

// Thrown where Ctrl-C came while the command ran; the command has been ended.
struct RunnerInterrupted {};

class Runner {
 public:
  // `command` names {model}, and may name {batch} and {threads}. Throws Error where it does not.
  Runner(std::string command, double timeout_s);

  // Runs the command through /bin/sh with the three filled in. Throws Error where it fails, with how it ended
  // and the end of what it said on standard error; RunnerInterrupted.
  RunnerReply run(const std::filesystem::path& model, int batch, int threads) const;

  const std::string& command() const { return command_; }

 private:
  std::string command_;
  double timeout_s_;
};

}  // namespace ladarts
