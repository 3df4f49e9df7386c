// A compiled graph: dead nodes removed, every lifetime planned into one arena, kernels and pointers resolved.
// run() replays it and allocates nothing.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/graph.h"
#include "core/kernel_choice.h"
#include "core/thread_pool.h"

namespace ladarts {

struct CompileOptions {
  ThreadPool* pool = nullptr;  // null: ThreadPool::global()
  // Debug mode: memory is filled with NaN before each run, and what a node writes (outputs and values updated
  // in place) is guarded on both sides, must be finite, and must equal what the CPU's baseline kernels
  // compute from the same inputs (within 1e-3 of the tensor's largest value). run() throws Error naming the
  // node at fault, before what it wrote is stored. Slow: each node runs twice. LADARTS_DEBUG=1 turns it on
  // for every program.
  bool debug = false;
  const KernelPolicy* kernels = nullptr;  // null: kernel_policy() of the graph's device
};

struct ProgramStats {
  int nodes = 0;           // executed per run
  int nodes_removed = 0;   // dead ones
  size_t arena_bytes = 0;  // planned activations and scratch
  // Storages that the program reads or writes, such as parameters, inputs and outputs: whole buffers, each
  // counted once.
  size_t bound_bytes = 0;
  size_t value_bytes = 0;  // sum of all planned values, before sharing memory
  double flops = 0;        // by definition of the ops
  double bytes_moved = 0;  // operands of all nodes
};

// One executed node, for profiles.
struct NodeInfo {
  std::string op;
  std::string scope;  // "cell3/node1/edge4/sep_conv_3x3", as recorded
  std::vector<Shape> inputs, outputs;
  Cost cost;
  size_t scratch_bytes = 0;  // planned for its kernel
  std::string kernel;        // whose it is: "ladarts", "cudnn implicit_precomp_gemm"
};

class Program {
 public:
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  // On the CPU it is done when it returns. On another device it is queued, as one recording of all nodes (the
  // first time node by node, where some have a library's kernel); reading a storage waits for it.
  void run();
  void wait();
  // Queues each kernel by itself: the same bits, for comparing with a recording and for profilers, which show
  // each node under a name (DeviceStream::begin_range).
  void run_node_by_node();
  const ProgramStats& stats() const;
  std::vector<NodeInfo> nodes() const;  // in the order in which they run
  // One run; returns when it is done. Node i ran from marks_ns[i] to marks_ns[i + 1], nanoseconds since the
  // run began; there is one mark more than nodes. On another device than the CPU these are its own times
  // inside one recording, so that neither launching nor waiting is in them.
  void run_timed(std::vector<int64_t>& marks_ns);

  // `runs` runs of one recording, without marks, as the device's tracer saw them. Throws Error on the CPU,
  // and where the device has no tracer.
  struct TracedRuns {
    std::vector<int> node_of;                     // of each kernel of a run
    std::vector<std::vector<KernelRecord>> runs;  // each with node_of.size() kernels
  };
  TracedRuns run_traced(int runs);

  struct State;

 private:
  friend std::vector<Program> compile_together(std::span<const Graph* const>, const CompileOptions&);
  explicit Program(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What is computed: every node that writes a bound value (Graph::bind, gradients into storage) or updates one
// in place, and what these need. The graph may be destroyed afterwards; its storages are kept alive.
Program compile(const Graph& graph, const CompileOptions& options = {});

// Programs that never run at the same time share one arena, as large as the largest needs: the weight and the
// architecture step of a search. Nothing in the arena survives from one run to the next.
std::vector<Program> compile_together(std::span<const Graph* const> graphs,
                                      const CompileOptions& options = {});

}  // namespace ladarts
