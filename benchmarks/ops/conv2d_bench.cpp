// Convolutions of the search spaces: derived CIFAR networks (36 to 144 channels) at batch 1, 32 and 96,
// supernets (4 to 64 channels) at batch 64; forward, gradient of the input, gradient of the weight.
#include "ops/conv2d.h"

#include <CLI/CLI.hpp>
#include <numeric>

#include "benchmarks/support/random_storage.h"
#include "benchmarks/support/report.h"
#include "core/program.h"

using namespace ladarts;
using namespace ladarts::benchmark;

namespace {

struct Case {
  std::string name;
  int64_t channels, size, outputs, kernel;
  Conv2dDesc desc;
  int parts = 1;  // that hold the channels of x
  int joint = 1;  // convolutions of it
};

std::vector<Case> derived_network_cases() {
  std::vector<Case> cases;
  for (auto [channels, size] : {std::pair<int64_t, int64_t>{36, 32}, {72, 16}, {144, 8}}) {
    for (int kernel : {3, 5})
      for (int dilation : {1, 2})
        cases.push_back({fmt::format("depthwise {0}x{0} d{1}", kernel, dilation),
                         channels,
                         size,
                         channels,
                         kernel,
                         {.padding = dilation * (kernel - 1) / 2,
                          .dilation = dilation,
                          .groups = int(channels),
                          .relu_input = true}});
    cases.push_back({"pointwise", channels, size, channels, 1, {}});
    cases.push_back({"pointwise 4x in, relu", 4 * channels, size, channels, 1, {.relu_input = true}});
    cases.push_back({"depthwise 3x3 s2",
                     channels,
                     size,
                     channels,
                     3,
                     {.stride = 2, .padding = 1, .groups = int(channels), .relu_input = true}});
    cases.push_back({"pointwise s2", channels, size, channels / 2, 1, {.stride = 2}});
  }
  cases.push_back({"stem 3x3", 3, 32, 108, 3, {.padding = 1}});
  return cases;
}

std::vector<Case> supernet_cases() {
  std::vector<Case> cases;
  for (auto [channels, size] :
       {std::pair<int64_t, int64_t>{4, 32}, {16, 32}, {8, 16}, {32, 16}, {16, 8}, {64, 8}}) {
    for (int kernel : {3, 5})
      cases.push_back({fmt::format("depthwise {0}x{0}", kernel),
                       channels,
                       size,
                       channels,
                       kernel,
                       {.padding = (kernel - 1) / 2, .groups = int(channels), .relu_input = true}});
    cases.push_back({"pointwise", channels, size, channels, 1, {}});
    cases.push_back({"dense 3x3", channels, size, channels, 3, {.padding = 1, .relu_input = true}});
  }
  for (auto [inputs, size, outputs] : {std::tuple<int64_t, int64_t, int64_t>{48, 32, 16},
                                       {64, 32, 16},
                                       {64, 32, 32},
                                       {128, 16, 32},
                                       {256, 8, 64},
                                       {144, 32, 36},
                                       {288, 16, 72},
                                       {576, 8, 144}})
    for (auto [parts, joint] : {std::pair{1, 1}, {4, 1}, {4, 2}})
      cases.push_back(
          {fmt::format("preprocess of {}{}", parts > 1 ? "4 parts" : "1 part", joint > 1 ? ", twice" : ""),
           inputs,
           size,
           outputs,
           1,
           {.relu_input = true},
           parts,
           joint});
  return cases;
}

template <class O>
void measure(Report& report, const std::string& name, O op, const std::vector<Storage>& operands,
             const std::vector<Shape>& results, double budget_ms) {
  Graph graph;
  std::vector<Tensor> inputs;
  std::vector<Shape> shapes;
  for (const Storage& s : operands) {
    inputs.push_back(graph.leaf(s));
    shapes.push_back(s.shape());
  }
  std::vector<OutputSpec> outputs;
  for (const Shape& shape : results) outputs.push_back({shape});
  for (const Tensor& y : graph.add(std::make_shared<O>(op), inputs, outputs)) graph.bind_output(y);
  Program program = compile(graph);
  const Timing timing = time_repeated(budget_ms, [&] { program.run(); });
  report.add({name, timing, op.cost({shapes, results})});
}

void measure_case(Report& report, const Case& c, int64_t batch, bool backward, const std::string& filter,
                  double budget_ms) {
  const std::string name =
      fmt::format("{:<28} {:>3}->{:<3} {}x{} n{:<2}", c.name, c.channels, c.outputs, c.size, c.size, batch);
  if (name.find(filter) == std::string::npos) return;
  const Shape part{batch, c.channels / c.parts, c.size, c.size};
  std::vector<Storage> x;
  for (int i = 0; i < c.parts; ++i) x.push_back(random_storage(part, uint64_t(3 + i)));
  const int64_t out =
      (c.size + 2 * c.desc.padding - c.desc.dilation * (c.kernel - 1) - 1) / c.desc.stride + 1;
  std::vector<Storage> w, d_y;
  for (int i = 0; i < c.joint; ++i) {
    w.push_back(
        random_storage({c.outputs, c.channels / c.desc.groups, c.kernel, c.kernel}, uint64_t(20 + i)));
    d_y.push_back(random_storage({batch, c.outputs, out, out}, uint64_t(30 + i)));
  }
  const auto together = [](std::vector<Storage> operands, const std::vector<Storage>& more) {
    operands.insert(operands.end(), more.begin(), more.end());
    return operands;
  };
  const auto several = [&](const Shape& shape, int n) { return std::vector<Shape>(size_t(n), shape); };
  measure(report, name + " forward", Conv2d(c.desc, c.parts, c.joint), together(x, w),
          several(d_y[0].shape(), c.joint), budget_ms);
  if (!backward) return;
  std::vector<int> parts(size_t(c.parts));
  std::iota(parts.begin(), parts.end(), 0);
  const std::vector<Storage> d_y_w = together(d_y, w);
  measure(report, name + " grad input", Conv2dGradInput(c.desc, parts, c.joint),
          c.desc.relu_input ? together(d_y_w, x) : d_y_w, several(part, c.parts), budget_ms);
  measure(report, name + " grad weight", Conv2dGradWeight(c.desc, c.joint), together(d_y, x),
          several(w[0].shape(), c.joint), budget_ms);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Speed of convolutions on this machine's CPU.\nExample: conv2d_bench --threads 2 --filter pointwise "
      "--json");
  int threads = 0;
  double budget_ms = 100;
  bool json = false;
  std::string filter;
  app.add_option("--threads", threads, "CPU threads; 0: all");
  app.add_option("--budget-ms", budget_ms, "time spent on each measurement");
  app.add_option("--filter", filter,
                 "only cases whose name holds this text, such as 'depthwise 3x3' or 'n32'");
  app.add_flag("--json", json, "JSON instead of a table");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(threads);
  ThreadPool& pool = ThreadPool::global();
  Report report(measure_machine_peak(pool), pool.threads(), json);
  for (int64_t batch : {1, 32, 96})
    for (const Case& c : derived_network_cases())
      measure_case(report, c, batch, batch == 96, filter, budget_ms);
  for (const Case& c : supernet_cases()) measure_case(report, c, 64, true, filter, budget_ms);
}
