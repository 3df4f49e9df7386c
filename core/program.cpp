#include "core/program.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <utility>

#include "core/denormals.h"
#include "core/error.h"
#include "core/memory_plan.h"
#include "core/program_state.h"
#include "core/schedule.h"

namespace ladarts {

namespace {

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

// Debug mode for programs of this process: LADARTS_DEBUG=1.
bool debug_from_environment() {
  const char* value = std::getenv("LADARTS_DEBUG");
  if (!value || !*value || std::string_view(value) == "0") return false;
  require(std::string_view(value) == "1", "[debug] LADARTS_DEBUG={} is unknown; use 1 (on) or 0 (off)",
          value);
  return true;
}

}  // namespace

Program::Program(std::unique_ptr<State> state) : state_(std::move(state)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

const ProgramStats& Program::stats() const {
  return state_->stats;
}

void Program::run() {
  const FlushDenormals flush;
  if (state_->debug) return run_debug(*state_);
  if (!state_->stream) return state_->run_steps();
  if (std::exchange(state_->loads_at_first_run, false)) return state_->run_steps();
  if (!state_->recording)
    state_->recording = state_->record([this] {
      for (const Step& s : state_->steps) s.run();
    });
  state_->recording->replay();
}

void Program::wait() {
  if (state_->stream) state_->stream->wait();
}

void Program::run_node_by_node() {
  const FlushDenormals flush;
  state_->run_steps();
}

std::unique_ptr<DeviceRecording> Program::State::record(const std::function<void()>& queue) {
  stream->begin_recording();
  try {
    queue();
  } catch (...) {
    stream->end_recording();
    throw;
  }
  return stream->end_recording();
}

void Program::State::run_steps_with_marks() {
  marks.clear();
  for (const Step& s : steps) {
    marks.push_back(stream->mark());
    s.run();
  }
  marks.push_back(stream->mark());
}

std::vector<NodeInfo> Program::nodes() const {
  std::vector<NodeInfo> result;
  for (const Step& s : state_->steps)
    result.push_back({std::string(s.op->name()), s.scope, s.input_shapes, s.output_shapes,
                      s.op->cost({s.input_shapes, s.output_shapes}), s.scratch_bytes, s.kernel.name()});
  return result;
}

void Program::run_timed(std::vector<int64_t>& marks_ns) {
  using clock = std::chrono::steady_clock;
  const FlushDenormals flush;
  State& s = *state_;
  marks_ns.resize(s.steps.size() + 1);
  marks_ns[0] = 0;
  if (s.stream) {
    if (std::exchange(s.loads_at_first_run, false)) {
      s.run_steps_with_marks();
    } else {
      if (!s.timed_recording) s.timed_recording = s.record([&s] { s.run_steps_with_marks(); });
      s.timed_recording->replay();
    }
    for (size_t i = 1; i < s.marks.size(); ++i)
      marks_ns[i] = std::llround(s.marks[i]->milliseconds_since(*s.marks[0]) * 1e6);
    return;
  }
  const auto start = clock::now();
  const auto now = [&] {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start).count();
  };
  // Steps that run at the same time share the time of their group as they would have alone.
  s.own_ns.resize(s.steps.size());
  size_t begin = 0;
  for (const int group_end : s.group_ends) {
    const auto end = size_t(group_end);
    const auto run = [&](size_t i) {
      const int64_t before = now();
      s.steps[i].run();
      s.own_ns[i] = now() - before;
    };
    if (end - begin == 1)
      run(begin);
    else
      s.pool->parallel_for(int64_t(end - begin), [&](int64_t i, int) { run(begin + size_t(i)); });
    const int64_t first = marks_ns[begin], took = now() - first;
    int64_t sum = 0, all = 0;
    for (size_t i = begin; i < end; ++i) all += s.own_ns[i];
    for (size_t i = begin; i < end; ++i) {
      sum += s.own_ns[i];
      marks_ns[i + 1] = first + (all > 0 ? int64_t(double(took) * double(sum) / double(all)) : took);
    }
    begin = end;
  }
}

Program::TracedRuns Program::run_traced(int runs) {
  State& s = *state_;
  LADARTS_CHECK(runs > 0);
  require(s.stream != nullptr,
          "[program] a tracer of kernels is for GPUs; on the CPU each op is timed itself");
  if (std::exchange(s.loads_at_first_run, false)) s.run_steps();
  TracedRuns traced;
  const std::vector<KernelRecord> kernels = s.stream->trace([&] {
    const auto recording = s.record([&] {
      for (size_t i = 0; i < s.steps.size(); ++i) {
        s.steps[i].run();
        traced.node_of.resize(size_t(s.stream->recorded_kernels()), int(i));
      }
    });
    for (int i = 0; i < runs; ++i) {
      recording->replay();
      s.stream->wait();
    }
  });
  const size_t each = traced.node_of.size();
  require(kernels.size() == each * size_t(runs),
          "[program] the device's tracer saw {} kernels in {} runs of {}; time the ops without it",
          kernels.size(), runs, each);
  for (size_t i = 0; i < kernels.size(); i += each)
    traced.runs.emplace_back(kernels.begin() + int64_t(i), kernels.begin() + int64_t(i + each));
  return traced;
}

namespace {

// A graph turned into steps, with everything but addresses.
struct Plan {
  std::unique_ptr<Program::State> state;
  std::vector<size_t> executed;   // node of each step
  std::vector<int> group_of;      // of each step
  std::vector<int> request_of;    // value -> memory request; -1: bound or unused
  std::vector<int> workspace_of;  // step -> memory request; -1: none
  MemoryPlan memory;
};

void plan_order(const Graph& graph, Plan& plan) {
  const std::vector<uint8_t> live = find_live(graph);
  std::vector<size_t> nodes;
  for (size_t n = 0; n < live.size(); ++n)
    if (live[n]) nodes.push_back(n);
  plan.state->stats.nodes_removed = int(live.size() - nodes.size());
  const bool on_cpu = graph.device().kind == DeviceKind::cpu;
  for (const NodeGroup& group : schedule(graph, nodes, on_cpu ? plan.state->pool->threads() : 1)) {
    for (const size_t n : group) {
      plan.executed.push_back(n);
      plan.group_of.push_back(int(plan.state->group_ends.size()));
    }
    plan.state->group_ends.push_back(int(plan.executed.size()));
  }
}

void plan_values(const Graph& graph, Plan& plan, std::vector<LifetimeRequest>& requests) {
  const auto& values = graph.values();
  std::vector<int> first(values.size(), std::numeric_limits<int>::max()), last(values.size(), -1);
  // What a group of steps touches lives at the same time.
  for (size_t k = 0; k < plan.executed.size(); ++k) {
    const int group = plan.group_of[k];
    auto touch = [&](int id) {
      first[size_t(id)] = std::min(first[size_t(id)], group);
      last[size_t(id)] = std::max(last[size_t(id)], group);
    };
    for (int in : graph.nodes()[plan.executed[k]].inputs) touch(in);
    for (int out : graph.nodes()[plan.executed[k]].outputs) touch(out);
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
    requests.push_back({bytes, first[i], last[i]});
  }
}

// Steps that run beside others have one thread each.
ThreadPool& step_pool(const Plan& plan, size_t step) {
  Program::State& state = *plan.state;
  const int group = plan.group_of[step], begin = group > 0 ? state.group_ends[size_t(group) - 1] : 0;
  return state.group_ends[size_t(group)] - begin > 1 ? state.one_thread : *state.pool;
}

size_t bytes_of_buffers(const std::vector<Storage>& storages) {
  std::set<const Buffer*> buffers;
  size_t bytes = 0;
  for (const Storage& s : storages)
    if (buffers.insert(s.buffer().get()).second) bytes += s.buffer()->bytes();
  return bytes;
}

Plan make_plan(const Graph& graph, const CompileOptions& options) {
  require(device_backend(graph.device().kind) != nullptr,
          "[compile] device {}: this build has no such device", graph.device().str());
  Plan plan;
  plan.state = std::make_unique<Program::State>();
  Program::State& state = *plan.state;
  state.pool = options.pool ? options.pool : &ThreadPool::global();
  state.debug = options.debug || debug_from_environment();
  state.stream = device_backend(graph.device().kind)->stream(graph.device());
  const KernelPolicy& policy = options.kernels ? *options.kernels : kernel_policy(graph.device().kind);
  const auto& values = graph.values();
  std::vector<LifetimeRequest> requests;
  plan_order(graph, plan);
  plan_values(graph, plan, requests);

  state.steps.resize(plan.executed.size());
  plan.workspace_of.assign(plan.executed.size(), -1);
  for (size_t k = 0; k < plan.executed.size(); ++k) {
    const Node& node = graph.nodes()[plan.executed[k]];
    Step& s = state.steps[k];
    s.op = node.op;
    s.scope = node.scope;
    s.accumulates = node.accumulate;
    s.updates = node.updates;
    for (int in : node.inputs) {
      s.input_shapes.push_back(values[size_t(in)].shape);
      s.input_types.push_back(values[size_t(in)].dtype);
    }
    for (int out : node.outputs) {
      s.output_shapes.push_back(values[size_t(out)].shape);
      s.output_types.push_back(values[size_t(out)].dtype);
    }
    const NodeShapes shapes{s.input_shapes, s.output_shapes};
    const Cost cost = node.op->cost(shapes);
    state.stats.flops += cost.flops;
    state.stats.bytes_moved += cost.bytes_moved;
    size_t workspace = 0;
    if (graph.device().kind == DeviceKind::cpu) {
      s.kernel.own = find_cpu_kernel(*node.op, current_cpu_isa());
      workspace = node.op->workspace_bytes(shapes, step_pool(plan, k).threads());
    } else {
      s.kernel =
          choose_kernel({*node.op, shapes, s.accumulates, graph.device(), policy.tf32}, policy, state.stream);
      workspace = s.kernel.workspace_bytes;
      state.loads_at_first_run |= s.kernel.prepared != nullptr;
    }
    if (workspace > 0) {
      s.scratch_bytes = workspace;
      plan.workspace_of[k] = int(requests.size());
      requests.push_back({workspace, plan.group_of[k], plan.group_of[k]});
    }
  }
  save_kernel_choices(policy);
  plan.memory = plan_memory(requests);
  state.stats.nodes = int(plan.executed.size());
  state.stats.arena_bytes = plan.memory.bytes;
  state.stats.bound_bytes = bytes_of_buffers(state.kept_alive);
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
              .pool = &step_pool(plan, k),
              .stream = state.stream ? state.stream->handle() : nullptr,
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
  LADARTS_CHECK(!graphs.empty());
  for (const Graph* graph : graphs) {
    LADARTS_CHECK(graph->device() == graphs[0]->device());
    plans.push_back(make_plan(*graph, options));
    bytes = std::max(bytes, plans.back().memory.bytes);
  }
  auto arena = std::make_shared<Buffer>(graphs[0]->device());
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
