// One epoch of fitting the paper's regressor (features-512-512-1) to made-up rows. The peer is
// benchmarks/peers/pytorch_predictor.py; scripts/bench_peers.sh runs both. With --own the whole of a fit of
// ladarts' own: additive start, five small networks, as many epochs as the default takes.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/philox.h"
#include "core/thread_pool.h"
#include "predictor/metrics.h"
#include "predictor/mlp.h"

using namespace ladarts;

int main(int argc, char** argv) try {
  CLI::App app(
      "Times one epoch of fitting the MLP predictor.\nExample: mlp_fit_bench --rows 80000 --batch 64 "
      "--threads 2");
  int rows = 80000, features = 224, batch = 64, epochs = 4, threads = 0;
  bool json = false, own = false;
  app.add_option("--rows", rows, "rows to fit")->check(CLI::PositiveNumber);
  app.add_option("--features", features)->check(CLI::PositiveNumber);
  app.add_option("--batch", batch, "rows of a step")->check(CLI::PositiveNumber);
  app.add_option("--epochs", epochs, "epochs; the fastest counts")->check(CLI::Range(2, 1000));
  app.add_option("--threads", threads, "CPU threads; 0: all");
  app.add_flag("--own", own, "ladarts' own MLP, the whole fit; --epochs and --batch are left aside");
  app.add_flag("--json", json, "JSON instead of a line");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(threads);

  // As many ones as the encoding of a DARTS architecture has, 16 of 224. A hundredth more, kept apart to
  // check the fit on.
  Dataset data;
  const int all = rows + rows / 99 + 1;
  Random random(1, 0);
  std::vector<float> row(static_cast<size_t>(features));
  std::vector<double> weights(static_cast<size_t>(features));
  for (double& w : weights) w = double(random.uniform(0, 1));
  for (int r = 0; r < all; ++r) {
    double cost = 1;
    for (int f = 0; f < features; ++f) {
      const float v = random.below(14) == 0 ? 1.f : 0.f;
      row[size_t(f)] = v;
      cost += double(v) * weights[size_t(f)];
      if (f > 0 && f < 32) cost += 2 * double(v) * double(row[size_t(f - 1)]);  // what is not additive
    }
    data.features.append(row);
    data.costs.push_back(cost);
  }

  using clock = std::chrono::steady_clock;
  std::vector<clock::time_point> ends;
  if (own) {
    const auto start = clock::now();
    const auto model = fit_mlp(data);
    const double seconds = std::chrono::duration<double>(clock::now() - start).count();
    const double error = error_report(model->predict(data.features), data.costs).mean_relative_error;
    if (json) {
      fmt::print("{}\n", nlohmann::json{{"rows", rows},
                                        {"features", features},
                                        {"threads", ThreadPool::global().threads()},
                                        {"fit_seconds", seconds},
                                        {"relative_error", error}}
                             .dump());
    } else {
      fmt::print("{} rows, {} features, {} threads: fitted in {:.1f} s, error {:.3f}%\n", rows, features,
                 ThreadPool::global().threads(), seconds, 100 * error);
    }
    return 0;
  }
  MlpOptions options = MlpOptions::paper();
  options.validation_fraction = 0.01;
  options.epochs = epochs;
  options.most_row_visits = 0;
  options.batch = batch;
  options.progress = [&](int, int, double) { ends.push_back(clock::now()); };
  fit_mlp(data, options);
  double best = 1e30;
  for (size_t i = 1; i < ends.size(); ++i)
    best = std::min(best, std::chrono::duration<double>(ends[i] - ends[i - 1]).count());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  if (json) {
    fmt::print("{}\n", nlohmann::json{{"rows", rows},
                                      {"features", features},
                                      {"batch", batch},
                                      {"threads", ThreadPool::global().threads()},
                                      {"epoch_seconds", best},
                                      {"peak_rss_mib", double(usage.ru_maxrss) / 1024}}
                           .dump());
  } else {
    fmt::print("{} rows, {} features, batch {}, {} threads: {:.3f} s an epoch\n", rows, features, batch,
               ThreadPool::global().threads(), best);
  }
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
