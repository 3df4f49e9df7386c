// A recorded computation. Free functions such as conv2d() append nodes and return handles; shapes are known
// and checked at record time. Nothing is executed here: see core/program.h.
//
// Values are either leaves, bound to a Storage that outlives the graph (weights, batches, scalars), or
// produced by a node and planned into a Program's arena. A value may have several writers: the first
// overwrites, later ones accumulate (only differentiation makes these).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/op.h"
#include "core/storage.h"

namespace ladarts {

class Graph;

// Handle of a value in a graph; cheap to copy. The graph must outlive it.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Graph* graph, int id) : graph_(graph), id_(id) {}

  explicit operator bool() const { return graph_ != nullptr; }
  Graph& graph() const { return *graph_; }
  int id() const { return id_; }
  const Shape& shape() const;
  int rank() const { return shape().rank(); }
  int64_t dim(int i) const { return shape()[i]; }
  DType dtype() const;
  bool operator==(const Tensor&) const = default;

 private:
  Graph* graph_ = nullptr;
  int id_ = -1;
};

struct Value {
  Shape shape;
  DType dtype = DType::f32;
  std::optional<Storage> storage;  // where bound to memory outside of the arena
  std::vector<int> writers;        // node indices in order; empty for a pure leaf
  std::string label;
  int again_of = -1;  // the value that this one is, computed again for the backward pass
};

struct Node {
  std::shared_ptr<const Op> op;
  std::vector<int> inputs;          // value ids
  std::vector<int> outputs;         // value ids
  std::vector<uint8_t> accumulate;  // per output: add to what is there
  std::vector<int>
      updates;        // positions in `inputs` that the node also writes (optimiser state, running stats)
  std::string scope;  // "cell3/edge2", for messages and profiles
};

struct OutputSpec {
  Shape shape;
  DType dtype = DType::f32;
};

class Graph {
 public:
  // Everything that is bound to it lies on `device`, where its programs run.
  explicit Graph(Device device = {}) : device_(device) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  Device device() const { return device_; }

  // The value bound to this storage; the same storage gives the same handle every time. Throws Error for a
  // storage of another device.
  Tensor leaf(const Storage& storage, std::string label = {});

  // Appends a node; returns its outputs. `updates` are positions of inputs, which must be leaves, that it
  // changes in place. Throws Error when an input is of another graph.
  std::vector<Tensor> add(std::shared_ptr<const Op> op, const std::vector<Tensor>& inputs,
                          const std::vector<OutputSpec>& outputs, std::vector<int> updates = {});

  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Value& value(Tensor t) const { return values_[size_t(t.id())]; }

  // Binds a produced value to memory outside of the arena: a loss to read back, a gradient for the optimiser.
  // Shapes must hold the same number of elements. Call before compile().
  void bind(Tensor t, const Storage& storage);
  // Binds to a new storage and returns it.
  Storage bind_output(Tensor t);

  // Names the nodes recorded during its lifetime: nested scopes are joined by '/'.
  class Scope {
   public:
    Scope(Graph& graph, const std::string& name);
    ~Scope();
    Scope(const Scope&) = delete;

   private:
    Graph& graph_;
    size_t length_;
  };

 private:
  friend class GradientBuilder;
  friend class NormDeferral;
  void require_here(const Storage& storage) const;

  Device device_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::map<std::pair<const Buffer*, size_t>, std::vector<int>> leaves_;
  std::string scope_;
};

}  // namespace ladarts
