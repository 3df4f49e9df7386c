#include "core/program.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "core/error.h"
#include "core/memory_plan.h"

namespace ladarts {

namespace {

constexpr size_t kGuardBytes = 64;
constexpr uint32_t kGuardWord = 0x7fc0dead;  // a NaN

struct Step {
  std::shared_ptr<const Op> op;
  CpuKernel kernel = nullptr;
  std::vector<Shape> input_shapes, output_shapes;
  std::vector<void*> inputs, outputs;
  std::vector<uint8_t> accumulates;
  std::vector<DType> output_types;
  std::vector<uint8_t> output_guarded;
  std::string scope;
  KernelArgs args{};
};

// Which nodes have an effect that outlives the run, or feed one that has.
std::vector<uint8_t> find_live(const Graph& graph) {
  const auto& nodes = graph.nodes();
  std::vector<uint8_t> live(nodes.size(), 0);
  std::vector<uint8_t> wanted(graph.values().size(), 0);
  for (size_t i = 0; i < graph.values().size(); ++i) wanted[i] = graph.values()[i].storage.has_value();
  for (size_t n = nodes.size(); n-- > 0;) {
    bool any = !nodes[n].updates.empty();
    for (int out : nodes[n].outputs) any = any || wanted[size_t(out)];
    if (!any) continue;
    live[n] = 1;
    for (int in : nodes[n].inputs) wanted[size_t(in)] = 1;
  }
  return live;
}

}  // namespace

struct Program::State {
  std::vector<Step> steps;
  std::vector<Storage> kept_alive;
  std::shared_ptr<Buffer> arena;
  ProgramStats stats;
  ThreadPool* pool = nullptr;
  bool debug = false;

  void run_step(Step& s) { s.kernel(*s.op, s.args); }
  void run_debug();
  void mark_outputs(const Step& s);
  std::string describe(const Step& s) const;
};

std::string Program::State::describe(const Step& s) const {
  std::string text = fmt::format("[{}]", s.op->name());
  if (!s.scope.empty()) text += " in " + s.scope;
  text += ", inputs";
  for (const Shape& shape : s.input_shapes) text += " " + shape.str();
  return text;
}

// Marks what s is about to write for the first time, and the guard behind it: other values used this memory
// before.
void Program::State::mark_outputs(const Step& s) {
  for (size_t k = 0; k < s.outputs.size(); ++k) {
    if (!s.output_guarded[k] || s.accumulates[k]) continue;
    auto* words = static_cast<uint32_t*>(s.outputs[k]);
    const size_t count = size_t(s.output_shapes[k].elements()) + kGuardBytes / 4;
    for (size_t i = 0; i < count; ++i) words[i] = kGuardWord;
  }
}

void Program::State::run_debug() {
  auto* words = reinterpret_cast<uint32_t*>(arena->data());
  for (size_t i = 0; i < arena->bytes() / 4; ++i) words[i] = kGuardWord;
  for (Step& s : steps) {
    mark_outputs(s);
    run_step(s);
    for (size_t k = 0; k < s.outputs.size(); ++k) {
      if (s.output_guarded[k]) {
        const auto* guard = reinterpret_cast<const uint32_t*>(static_cast<const std::byte*>(s.outputs[k]) +
                                                              size_t(s.output_shapes[k].elements()) * 4);
        for (size_t i = 0; i < kGuardBytes / 4; ++i)
          if (guard[i] != kGuardWord) fail("{}: output {} was written beyond its end", describe(s), k);
      }
      if (s.output_types[k] != DType::f32) continue;
      const auto* x = static_cast<const float*>(s.outputs[k]);
      const int64_t n = s.output_shapes[k].elements();
      for (int64_t i = 0; i < n; ++i)
        if (!std::isfinite(x[i]))
          fail("{}: output {} holds {} at element {} of {}", describe(s), k, x[i], i, n);
    }
  }
}

Program::Program(std::unique_ptr<State> state) : state_(std::move(state)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

const ProgramStats& Program::stats() const {
  return state_->stats;
}

void Program::run() {
  if (state_->debug) return state_->run_debug();
  for (Step& s : state_->steps) state_->run_step(s);
}

std::vector<NodeProfile> Program::profile(int repeats) {
  using clock = std::chrono::steady_clock;
  std::vector<NodeProfile> result;
  for (const Step& s : state_->steps) {
    NodeProfile p{std::string(s.op->name()), s.scope, 0, {}};
    p.cost = s.op->cost({s.input_shapes, s.output_shapes});
    result.push_back(std::move(p));
  }
  for (int r = 0; r < repeats; ++r) {
    auto before = clock::now();
    for (size_t i = 0; i < state_->steps.size(); ++i) {
      state_->run_step(state_->steps[i]);
      const auto after = clock::now();
      result[i].microseconds += std::chrono::duration<double, std::micro>(after - before).count() / repeats;
      before = after;
    }
  }
  return result;
}

namespace {

// A graph turned into steps, with everything but addresses.
struct Plan {
  std::unique_ptr<Program::State> state;
  std::vector<size_t> executed;   // node of each step
  std::vector<int> request_of;    // value -> memory request; -1: bound or unused
  std::vector<int> workspace_of;  // step -> memory request; -1: none
  MemoryPlan memory;
};

void plan_values(const Graph& graph, const std::vector<uint8_t>& live, Plan& plan,
                 std::vector<LifetimeRequest>& requests) {
  const auto& values = graph.values();
  std::vector<int> first(values.size(), std::numeric_limits<int>::max()), last(values.size(), -1);
  for (size_t n = 0; n < live.size(); ++n) {
    if (!live[n]) {
      ++plan.state->stats.nodes_removed;
      continue;
    }
    const int step = int(plan.executed.size());
    plan.executed.push_back(n);
    auto touch = [&](int id) {
      first[size_t(id)] = std::min(first[size_t(id)], step);
      last[size_t(id)] = std::max(last[size_t(id)], step);
    };
    for (int in : graph.nodes()[n].inputs) touch(in);
    for (int out : graph.nodes()[n].outputs) touch(out);
  }
  plan.request_of.assign(values.size(), -1);
  for (size_t i = 0; i < values.size(); ++i) {
    if (last[i] < 0) continue;
    if (values[i].storage) {
      plan.state->kept_alive.push_back(*values[i].storage);
      continue;
    }
    LADARTS_CHECK(!values[i].writers.empty());
    const size_t bytes = size_t(values[i].shape.elements()) * bytes_of(values[i].dtype);
    plan.state->stats.value_bytes += bytes;
    plan.request_of[i] = int(requests.size());
    requests.push_back({bytes + (plan.state->debug ? kGuardBytes : 0), first[i], last[i]});
  }
}

Plan make_plan(const Graph& graph, const CompileOptions& options) {
  require(options.device.kind == DeviceKind::cpu, "[compile] device {}: this build runs programs on the cpu",
          options.device.str());
  Plan plan;
  plan.state = std::make_unique<Program::State>();
  Program::State& state = *plan.state;
  state.pool = options.pool ? options.pool : &ThreadPool::global();
  state.debug = options.debug;
  const auto& values = graph.values();
  std::vector<LifetimeRequest> requests;
  plan_values(graph, find_live(graph), plan, requests);

  state.steps.resize(plan.executed.size());
  plan.workspace_of.assign(plan.executed.size(), -1);
  for (size_t k = 0; k < plan.executed.size(); ++k) {
    const Node& node = graph.nodes()[plan.executed[k]];
    Step& s = state.steps[k];
    s.op = node.op;
    s.kernel = find_cpu_kernel(*node.op);
    s.scope = node.scope;
    s.accumulates = node.accumulate;
    for (int in : node.inputs) s.input_shapes.push_back(values[size_t(in)].shape);
    for (int out : node.outputs) {
      s.output_shapes.push_back(values[size_t(out)].shape);
      s.output_types.push_back(values[size_t(out)].dtype);
      s.output_guarded.push_back(options.debug && !values[size_t(out)].storage);
    }
    const NodeShapes shapes{s.input_shapes, s.output_shapes};
    const Cost cost = node.op->cost(shapes);
    state.stats.flops += cost.flops;
    state.stats.bytes_moved += cost.bytes_moved;
    if (size_t bytes = node.op->workspace_bytes(shapes, state.pool->threads())) {
      plan.workspace_of[k] = int(requests.size());
      requests.push_back({bytes, int(k), int(k)});
    }
  }
  plan.memory = plan_memory(requests);
  state.stats.nodes = int(plan.executed.size());
  state.stats.arena_bytes = plan.memory.bytes;
  return plan;
}

void resolve_addresses(const Graph& graph, Plan& plan, const std::shared_ptr<Buffer>& arena) {
  Program::State& state = *plan.state;
  state.arena = arena;
  std::byte* base = arena->data();
  auto pointer = [&](int id) -> void* {
    const Value& v = graph.values()[size_t(id)];
    return v.storage ? v.storage->data() : base + plan.memory.offsets[size_t(plan.request_of[size_t(id)])];
  };
  for (size_t k = 0; k < plan.executed.size(); ++k) {
    const Node& node = graph.nodes()[plan.executed[k]];
    Step& s = state.steps[k];
    for (int in : node.inputs) s.inputs.push_back(pointer(in));
    for (int out : node.outputs) s.outputs.push_back(pointer(out));
    s.args = {.input_shapes = s.input_shapes.data(),
              .output_shapes = s.output_shapes.data(),
              .inputs = s.inputs.data(),
              .outputs = s.outputs.data(),
              .accumulates = s.accumulates.data(),
              .workspace = nullptr,
              .pool = state.pool,
              .n_inputs = int(s.inputs.size()),
              .n_outputs = int(s.outputs.size())};
    if (plan.workspace_of[k] >= 0)
      s.args.workspace = base + plan.memory.offsets[size_t(plan.workspace_of[k])];
  }
}

}  // namespace

std::vector<Program> compile_together(std::span<const Graph* const> graphs, const CompileOptions& options) {
  std::vector<Plan> plans;
  size_t bytes = 0;
  for (const Graph* graph : graphs) {
    plans.push_back(make_plan(*graph, options));
    bytes = std::max(bytes, plans.back().memory.bytes);
  }
  auto arena = std::make_shared<Buffer>(options.device);
  arena->reserve(bytes);
  std::vector<Program> programs;
  for (size_t i = 0; i < plans.size(); ++i) {
    resolve_addresses(*graphs[i], plans[i], arena);
    programs.push_back(Program(std::move(plans[i].state)));
  }
  return programs;
}

Program compile(const Graph& graph, const CompileOptions& options) {
  const Graph* only = &graph;
  return std::move(compile_together({&only, 1}, options).front());
}

}  // namespace ladarts
