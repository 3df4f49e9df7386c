#include "predictor/speed_probe.h"

#include <algorithm>
#include <limits>

#include "core/clock.h"
#include "core/error.h"
#include "core/parameters.h"
#include "ops/conv2d.h"

namespace ladarts {

namespace {

constexpr int kFirstProbes = 50;

// Depthwise and pointwise convolutions in turn, as in the cells of a network at batch 1: arithmetic in the
// caches, and at each step the threads read what the others have just written.
Program compile_probe(ThreadPool& pool) {
  constexpr int64_t kChannels = 64, kSide = 16, kSteps = 4;
  Graph graph;
  ParameterSet weights;
  Tensor x = graph.leaf(Storage::create({1, kChannels, kSide, kSide}));
  for (int64_t i = 0; i < kSteps; ++i) {
    const std::string step = fmt::format("step{}", i);
    x = conv2d(x, weights.get(graph, step + ".depthwise", {kChannels, 1, 3, 3}, Init::fan_in(9)),
               {.padding = 1, .groups = kChannels, .relu_input = true});
    x = conv2d(
        x, weights.get(graph, step + ".pointwise", {kChannels, kChannels, 1, 1}, Init::fan_in(kChannels)));
  }
  graph.bind_output(x);
  weights.values();
  return compile(graph, {.pool = &pool});
}

}  // namespace

SpeedProbe::SpeedProbe(ThreadPool& pool, double known_best_ms)
    : program_(compile_probe(pool)),
      start_(std::chrono::steady_clock::now()),
      best_s_(known_best_ms > 0 ? known_best_ms * 1e-3 : std::numeric_limits<double>::infinity()) {
  for (int i = 0; i < kFirstProbes; ++i) slowdown();
}

double SpeedProbe::time() {
  program_.run();  // wakes the threads and warms the caches
  const Stopwatch watch;
  program_.run();
  const double seconds = watch.seconds();
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  while (!fastest_.empty() && fastest_.front().first < now - kWindowSeconds) fastest_.pop_front();
  while (!fastest_.empty() && fastest_.back().second >= seconds) fastest_.pop_back();
  best_s_ = std::min(best_s_, seconds);
  fastest_.emplace_back(now, seconds);
  return seconds;
}

double SpeedProbe::slowdown() {
  const double seconds = time();
  return seconds / fastest_.front().second;
}

double SpeedProbe::slowdown_of_best() {
  const double seconds = time();
  return seconds / best_s_;
}

}  // namespace ladarts
