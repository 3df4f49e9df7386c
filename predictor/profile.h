// Where a program's time goes: each node timed alone, beside whole runs that no timer interrupts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/program.h"
#include "predictor/machine_peak.h"

namespace ladarts {

struct ProfileOptions {
  int warmup_runs = 3;
  int repeats = 30;  // pairs of a whole run and a timed one
  // As in MeasureOptions: a pair next to a slowdown above max_slowdown is disturbed and not counted, unless
  // `repeats` further tries bring no half of the pairs; then all count and the profile is marked noisy.
  std::function<double()> slowdown = {};
  double max_slowdown = 1.12;
  bool kernels = false;  // trace `repeats` runs more, on a GPU: each kernel as the device's tracer saw it
  std::function<void(int done)> progress = {};  // pairs counted so far; what it throws passes through
};

// One kernel of a node: the median of its time over the traced runs.
struct KernelTime {
  int node = 0;
  double us = 0;
  double start_us = 0;  // after the first kernel's begin, in the traced run of median length
  KernelRecord record;  // of that run
};

struct ProgramProfile {
  std::vector<NodeInfo> nodes;
  std::vector<double> node_us;      // per node: median over the timed runs
  std::vector<double> node_spread;  // per node: 1.4826 * median absolute deviation / median
  std::vector<int64_t> marks_ns;    // Program::run_timed() of the timed run of median length
  double whole_us = 0;              // median of whole runs: what a user waits for
  double whole_best_us = 0, whole_spread = 0;
  double timed_us = 0;  // median of timed runs, from first mark to last
  double clock_us = 0;  // reading the clock as often as a timed run does
  // Time of a whole run outside of its ops: the median over pairs of whole run - (timed run - clock_us). On a
  // CPU, where ops follow one another at once, it is about 0; below 0 where timing disturbs the ops.
  double gap_us = 0;
  int repeats = 0, disturbed = 0;  // pairs
  bool noisy = false;

  // With ProfileOptions::kernels, in the order in which they run.
  std::vector<KernelTime> kernels;
  std::string no_kernels;     // why there are none: what the tracer lacks
  double kernel_span_us = 0;  // from the first begin to the last end, median
  double kernel_gap_us = 0;   // of that, when no kernel ran, median
  double kernels_us() const;  // sum of their medians

  double nodes_us() const;  // sum of node_us
};

// Whole and timed runs take turns, so that a machine that slows down meets both alike.
ProgramProfile profile_program(Program& program, const ProfileOptions& options = {});

enum class Bound : uint8_t { nothing, memory, compute };  // nothing: no FLOPs and no bytes
const char* to_string(Bound bound);

// What the machine's measured peaks allow, were no operand in a cache: the longer of the arithmetic at full
// speed and of the bytes at the speed of copies (the roofline of Williams et al., 2009).
struct Roofline {
  double floor_us = 0;
  Bound bound = Bound::nothing;
};
Roofline roofline(const Cost& cost, const MachinePeak& peak);

}  // namespace ladarts
