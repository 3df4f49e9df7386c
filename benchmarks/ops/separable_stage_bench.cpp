// Separable stages of the CIFAR supernets, forward and backward, on the shapes of the cells of PC-DARTS (4 to
// 16 channels), DARTS (16 to 64) and derived networks (36 to 144): all convolutions that leave one state on
// one edge.
#include "ops/separable_stage.h"

#include <CLI/CLI.hpp>

#include "benchmarks/support/random_storage.h"
#include "benchmarks/support/report.h"
#include "core/gradients.h"
#include "core/program.h"

using namespace ladarts;
using namespace ladarts::benchmark;

namespace {

struct Case {
  int64_t batch, channels, size;
  int kernel, dilation, stride;
};

enum class Pass : uint8_t { forward, input_gradient, all_gradients };

void measure(Report& report, const Case& c, Pass pass, const std::string& filter, double budget_ms) {
  Graph g;
  const Tensor x = g.leaf(random_storage({c.batch, c.channels, c.size, c.size}, 0)),
               depthwise = g.leaf(random_storage({c.channels, 1, c.kernel, c.kernel}, 1)),
               pointwise = g.leaf(random_storage({c.channels, c.channels, 1, 1}, 2));
  const DeferredNorm y =
      separable_stage({{x, {}}}, {{0, depthwise, pointwise, c.dilation}}, {.stride = c.stride})[0];
  g.bind_output(y.y);
  const char* name = "forward";
  if (pass != Pass::forward) {
    name = pass == Pass::input_gradient ? "and input gradient" : "and all gradients";
    std::vector<Tensor> wrt{x};
    if (pass == Pass::all_gradients) wrt.insert(wrt.end(), {depthwise, pointwise});
    std::vector<Storage> into;
    for (const Tensor& t : wrt) into.push_back(Storage::create(t.shape()));
    vector_jacobian(std::vector{y.y}, std::vector{g.leaf(random_storage(y.y.shape(), 3))}, wrt,
                    {.into = into});
  }
  const std::string full = fmt::format("{}x{} d{} s{}, {:>2} channels {}x{} n{:<2} {}", c.kernel, c.kernel,
                                       c.dilation, c.stride, c.channels, c.size, c.size, c.batch, name);
  if (full.find(filter) == std::string::npos) return;
  Program program = compile(g);
  const Timing timing = time_repeated(budget_ms, [&] { program.run(); });
  report.add({full, timing, {program.stats().flops, program.stats().bytes_moved}});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Speed of separable stages on this machine's CPU.\nExample: separable_stage_bench --threads 1 --batch "
      "4 --json");
  int threads = 0;
  int64_t batch = 64;
  double budget_ms = 100;
  bool json = false;
  std::string filter;
  app.add_option("--threads", threads, "CPU threads; 0: all");
  app.add_option("--batch", batch, "images; few of them stay in the cache")->check(CLI::PositiveNumber);
  app.add_option("--budget-ms", budget_ms, "time spent on each measurement");
  app.add_option("--filter", filter,
                 "only cases whose name holds this text, such as '5x5 d2' or '16 channels'");
  app.add_flag("--json", json, "JSON instead of a table");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(threads);
  ThreadPool& pool = ThreadPool::global();
  Report report(measure_machine_peak(pool), pool.threads(), json);
  for (auto [channels, size] : {std::pair<int64_t, int64_t>{4, 32},
                                {8, 16},
                                {16, 8},
                                {16, 32},
                                {32, 16},
                                {64, 8},
                                {36, 32},
                                {72, 16},
                                {144, 8}})
    for (int kernel : {3, 5})
      for (int dilation : {1, 2})
        for (Pass pass : {Pass::forward, Pass::input_gradient, Pass::all_gradients})
          measure(report, {batch, channels, size, kernel, dilation, 1}, pass, filter, budget_ms);
}
