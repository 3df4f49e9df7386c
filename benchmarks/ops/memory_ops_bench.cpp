// Ops bound by memory, on the shapes of a supernet (16 to 144 channels, 32x32 to 8x8): normalisation,
// pooling, sums of many tensors, concatenation and slices. A result is the bytes that the op's definition
// moves over the time taken, beside what large copies reach on this machine. Small operands stay in cache and
// exceed that, as they do in a program; give --batch 1024 to see memory.
#include <CLI/CLI.hpp>

#include "benchmarks/support/random_storage.h"
#include "benchmarks/support/report.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "ops/batch_norm.h"
#include "ops/channels.h"
#include "ops/pool2d.h"

using namespace ladarts;
using namespace ladarts::benchmark;

namespace {

struct Bench {
  Report report;
  ThreadPool pool;
  double budget_ms;
  std::string filter;

  void measure(const std::string& name, std::shared_ptr<const Op> op, const std::vector<Shape>& operands,
               const std::vector<Shape>& results);
};

void Bench::measure(const std::string& name, std::shared_ptr<const Op> op, const std::vector<Shape>& operands,
                    const std::vector<Shape>& results) {
  if (name.find(filter) == std::string::npos) return;
  Graph graph;
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < operands.size(); ++i)
    inputs.push_back(graph.leaf(random_storage(operands[i], i, 0.1f)));
  std::vector<OutputSpec> specs;
  for (const Shape& s : results) specs.push_back({s});
  for (Tensor t : graph.add(op, inputs, specs)) graph.bind_output(t);
  Program program = compile(graph, {.pool = &pool});
  const Timing timing = time_repeated(budget_ms, [&] { program.run(); });
  report.add({name, timing, op->cost({operands, results})});
}

void measure_normalisation(Bench& b, const std::string& at, Shape x) {
  const Shape c{x[1]};
  b.measure("batch_norm training " + at, std::make_shared<BatchNorm>(true, true, false, 1e-5f, 0.1f),
            {x, c, c}, {x, c, c});
  b.measure("batch_norm evaluation " + at, std::make_shared<BatchNorm>(false, true, true, 1e-5f, 0.1f),
            {x, c, c, c, c}, {x, c, c});
  b.measure("batch_norm backward " + at, std::make_shared<BatchNormGrad>(true, true, true, true, true),
            {x, x, c, c, c}, {x, c, c});
}

void measure_pooling(Bench& b, const std::string& at, Shape x) {
  for (int stride : {1, 2}) {
    const Pool2dDesc d{3, stride, 1};
    const Shape y{x[0], x[1], (x[2] - 1) / stride + 1, (x[3] - 1) / stride + 1};
    const std::string tail = fmt::format(" 3x3 s{} {}", stride, at);
    b.measure("max_pool2d" + tail, std::make_shared<Pool2d>(PoolKind::max, d), {x}, {y});
    b.measure("avg_pool2d" + tail, std::make_shared<Pool2d>(PoolKind::average, d), {x}, {y});
    b.measure("max_avg_pool2d" + tail, std::make_shared<Pool2d>(PoolKind::both, d), {x}, {y, y});
    auto backward = [&](const char* kind, std::vector<Shape> operands, GradientSum d_max,
                        GradientSum d_average, GradientSum late) {
      auto op = std::make_shared<Pool2dGrad>();
      op->desc = d;
      op->x = d_max.empty() ? -1 : 0;
      op->d_max = std::move(d_max);
      op->d_average = std::move(d_average);
      op->late = std::move(late);
      b.measure(fmt::format("{} backward{}", kind, tail), op, operands, {x});
    };
    const GradientSum first{{.source = 1}}, only{{}};
    backward("max_pool2d", {x, y}, first, {}, {});
    backward("avg_pool2d", {y}, {}, only, {});
    // As of a state that three nodes read: 3 factors each of maxima, averages and the state itself.
    const Shape factors{9, x[1]};
    auto sum = [](int kind) {
      GradientSum s;
      for (int node = 0; node < 3; ++node)
        s.push_back({.source = 1 + node, .factors = 4, .row = 3 * kind + node});
      return s;
    };
    backward("max_avg_pool2d", {x, y, y, y, factors}, sum(0), sum(1), stride == 1 ? sum(2) : GradientSum{});
  }
}

void measure_sums(Bench& b, const std::string& at, Shape x) {
  b.measure("add " + at, std::make_shared<Binary>(BinaryKind::add), {x, x}, {x});
  for (int terms : {8, 40}) {
    if (double(terms) * double(x.elements()) > 4e8) continue;  // more than 1.6 GB of operands
    const std::vector<Shape> xs(size_t(terms), x);
    std::vector<Shape> weighted = xs, gradient{x, Shape{terms}}, results = xs;
    weighted.push_back({terms});
    gradient.insert(gradient.end(), xs.begin(), xs.end());
    results.push_back({terms});
    std::vector<int> wanted;
    for (int k = 0; k < terms; ++k) wanted.push_back(k);
    const std::string tail = fmt::format(" of {} {}", terms, at);
    b.measure("add_n" + tail, std::make_shared<AddN>(), xs, {x});
    b.measure("weighted_sum" + tail, std::make_shared<WeightedSum>(), weighted, {x});
    b.measure("weighted_sum backward" + tail, std::make_shared<WeightedSumGrad>(wanted, true), gradient,
              results);
  }
}

void measure_channels(Bench& b, const std::string& at, Shape x) {
  const Shape wide{x[0], 4 * x[1], x[2], x[3]};
  const std::vector<Shape> parts(4, x);
  const std::vector<int64_t> begins{0, x[1], 2 * x[1], 3 * x[1]};
  b.measure("concat_channels of 4 " + at, std::make_shared<Concat>(1), parts, {wide});
  b.measure("concat_channels backward of 4 " + at, std::make_shared<ConcatGrad>(1, begins), {wide}, parts);
  b.measure("slice_channels quarter of 4C " + at, std::make_shared<Slice>(1, 0), {wide}, {x});
  b.measure("slice_channels backward " + at, std::make_shared<SliceGrad>(1, 0), {x}, {wide});
  b.measure("channel_shuffle 4 groups " + at, std::make_shared<ChannelShuffle>(4), {x}, {x});
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0, batch = 64;
  double budget_ms = 100;
  bool json = false;
  std::string filter;
  CLI::App app{"Speed of the ops bound by memory"};
  app.add_option("--threads", threads, "Threads; 0: one per core");
  app.add_option("--batch", batch, "Images")->check(CLI::Range(1, 4096));
  app.add_option("--budget-ms", budget_ms, "Time for each op");
  app.add_option("--filter", filter, "Only names that contain this");
  app.add_flag("--json", json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  ThreadPool machine(threads);
  const MachinePeak peak = measure_machine_peak(machine);
  Bench b{Report(peak, machine.threads(), json), ThreadPool(threads), budget_ms, filter};
  for (auto [channels, size] : {std::pair{16, 32}, std::pair{36, 32}, std::pair{32, 16}, std::pair{72, 16},
                                std::pair{64, 8}, std::pair{144, 8}}) {
    const Shape x{batch, channels, size, size};
    const std::string at = x.str();
    measure_normalisation(b, at, x);
    measure_pooling(b, at, x);
    measure_sums(b, at, x);
    measure_channels(b, at, x);
  }
  return 0;
}
