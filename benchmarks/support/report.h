// Timing and reporting of single ops: microseconds, GFLOP/s, GB/s and the share of what the machine allows,
// as a table and as JSON.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/kernel.h"
#include "core/op.h"
#include "predictor/machine_peak.h"

namespace ladarts::benchmark {

struct Timing {
  double median_us = 0, best_us = 0;
  int repeats = 0;
};

// Warms up, then repeats f for about `budget_ms`, five times at least.
template <class F>
Timing time_repeated(double budget_ms, F f) {
  using clock = std::chrono::steady_clock;
  f();
  std::vector<double> us;
  const auto start = clock::now();
  for (auto now = start;
       us.size() < 5 || now - start < std::chrono::duration<double, std::milli>(budget_ms);) {
    f();
    const auto after = clock::now();
    us.push_back(std::chrono::duration<double, std::micro>(after - now).count());
    now = after;
  }
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us.front(), int(us.size())};
}

struct Measurement {
  std::string name;
  Timing timing;
  Cost cost;
};

class Report {
 public:
  Report(MachinePeak peak, int threads, bool json) : peak_(peak), threads_(threads), json_(json) {
    if (json_) return;
    fmt::print("{} threads, {}: {:.0f} GFLOP/s, copies {:.1f} GB/s\n\n", threads,
               to_string(current_cpu_isa()), peak.gflops, peak.copy_gbs);
    fmt::print("{:<58}{:>10}{:>10}{:>10}{:>8}{:>8}{:>8}\n", "", "median us", "best us", "GFLOP/s", "GB/s",
               "% peak", "% roof");
  }

  // "% peak": multiply-adds against the machine's. "% roof": the least time that arithmetic and memory allow,
  // were nothing in cache, against the measured; above 100 where operands stay in cache.
  void add(const Measurement& m) {
    const double us = m.timing.median_us, gflops = m.cost.flops / us * 1e-3,
                 gbs = m.cost.bytes_moved / us * 1e-3;
    const double share = gflops / peak_.gflops, roof = std::max(share, gbs / peak_.copy_gbs);
    if (json_) {
      rows_.push_back({{"name", m.name},
                       {"median_us", us},
                       {"best_us", m.timing.best_us},
                       {"repeats", m.timing.repeats},
                       {"gflops", gflops},
                       {"gbs", gbs},
                       {"share_of_peak", share},
                       {"share_of_roof", roof}});
    } else {
      fmt::print("{:<58}{:>10.1f}{:>10.1f}{:>10.1f}{:>8.1f}{:>8.1f}{:>8.1f}\n", m.name, us, m.timing.best_us,
                 gflops, gbs, 100 * share, 100 * roof);
      std::fflush(stdout);
    }
  }

  ~Report() {
    if (!json_) return;
    const nlohmann::json all{{"threads", threads_},
                             {"isa", to_string(current_cpu_isa())},
                             {"peak_gflops", peak_.gflops},
                             {"copy_gbs", peak_.copy_gbs},
                             {"results", rows_}};
    fmt::print("{}\n", all.dump(2));
  }

 private:
  MachinePeak peak_;
  int threads_;
  bool json_;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace ladarts::benchmark
