#include "core/gradients.h"

#include <utility>

#include "core/error.h"

namespace ladarts {

// Gradient state of one forward value while its contributions arrive.
struct Pending {
  Tensor grad;            // null until the first contribution
  bool borrowed = false;  // grad is somebody else's value: copy before adding to it
  std::vector<Backward::Late> late;
};

class GradientBuilder {
 public:
  GradientBuilder(Graph& graph, std::span<const Tensor> wrt, const GradientOptions& options)
      : graph_(graph),
        into_(graph.values_.size()),
        needed_(graph.values_.size(), 0),
        wrt_(wrt),
        recompute_(options.recompute) {
    LADARTS_CHECK(options.into.empty() || options.into.size() == wrt.size());
    for (size_t i = 0; i < wrt.size(); ++i) {
      needed_[size_t(wrt[i].id())] = 1;
      if (!options.into.empty()) into_[size_t(wrt[i].id())] = options.into[i];
    }
    forward_nodes_ = graph.nodes_.size();
    for (size_t n = 0; n < forward_nodes_; ++n) {  // what depends on wrt
      const Node& node = graph.nodes_[n];
      bool any = false;
      for (int in : node.inputs) any = any || needed_[size_t(in)];
      if (any)
        for (int out : node.outputs) needed_[size_t(out)] = 1;
    }
    pending_.resize(graph.values_.size());
    again_.resize(graph.values_.size());
  }

  std::vector<Tensor> run(std::span<const Tensor> outputs, std::span<const Tensor> seeds) {
    Graph::Scope scope(graph_, "backward");
    for (size_t i = 0; i < outputs.size(); ++i)
      if (needed_[size_t(outputs[i].id())]) borrow(outputs[i].id(), seeds[i]);
    for (size_t n = forward_nodes_; n-- > 0;) visit(int(n));
    std::vector<Tensor> result;
    for (const Tensor& w : wrt_) result.push_back(finish(w.id()));
    return result;
  }

  Graph& graph() { return graph_; }
  const std::string& scope() const { return current_scope_; }
  const Node& node(int n) const { return graph_.nodes_[size_t(n)]; }
  bool needed(int value) const { return needed_[size_t(value)] != 0; }
  Pending& pending(int value) { return pending_[size_t(value)]; }

  Tensor zeros(Shape shape) { return graph_.add(std::make_shared<Fill>(0.f), {}, {{shape, DType::f32}})[0]; }

  // Adds the existing value t to the gradient of `value`.
  void borrow(int value, Tensor t) {
    Pending& p = pending(value);
    if (!p.grad) {
      p.grad = t;
      p.borrowed = true;
      return;
    }
    own(value);
    append(std::make_shared<Accumulate>(), {t}, {value}, {});
  }

  // Turns a borrowed gradient into a value that can be added to.
  void own(int value) {
    Pending& p = pending(value);
    if (!p.grad || !p.borrowed) return;
    const Tensor source = p.grad;
    p = Pending{};
    append(std::make_shared<Accumulate>(), {source}, {value}, {});
  }

  // Records op; output k contributes to the gradient of forward value targets[k].
  std::vector<Tensor> append(std::shared_ptr<const Op> op, const std::vector<Tensor>& operands,
                             const std::vector<int>& targets, const std::vector<OutputSpec>& extra) {
    Node node;
    for (const Tensor& t : operands) {
      LADARTS_CHECK(bool(t));
      node.inputs.push_back(recompute_ ? again(t.id()) : t.id());
    }
    std::vector<std::pair<int, Tensor>> separate;  // op cannot accumulate: added by a node of its own
    for (size_t k = 0; k < targets.size(); ++k) {
      bool repeated = false;  // one node never writes a value through two outputs
      for (size_t j = 0; j < k; ++j) repeated = repeated || targets[j] == targets[k];
      own(targets[k]);
      Pending& p = pending(targets[k]);
      const bool add = bool(p.grad);
      if (add && !repeated && op->can_accumulate(int(k))) {
        node.outputs.push_back(p.grad.id());
        node.accumulate.push_back(1);
        continue;
      }
      const int id = new_value(graph_.values_[size_t(targets[k])].shape, DType::f32, {});
      if (add) {
        separate.emplace_back(targets[k], Tensor(&graph_, id));
      } else {
        p.grad = Tensor(&graph_, id);
        bind_target(targets[k], id);
      }
      node.outputs.push_back(id);
      node.accumulate.push_back(0);
    }
    std::vector<Tensor> result;
    for (const OutputSpec& spec : extra) {
      node.outputs.push_back(new_value(spec.shape, spec.dtype, {}));
      node.accumulate.push_back(0);
      result.emplace_back(&graph_, node.outputs.back());
    }
    const int at = int(graph_.nodes_.size());  // own() above may have appended nodes
    for (int out : node.outputs) graph_.values_[size_t(out)].writers.push_back(at);
    node.op = std::move(op);
    node.scope = current_scope_;
    graph_.nodes_.push_back(std::move(node));
    for (auto& [target, t] : separate) append(std::make_shared<Accumulate>(), {t}, {target}, {});
    return result;
  }

 private:
  // The value that stands for forward value `id` in the backward pass: itself, or what a node makes that is
  // recorded when the first backward node asks for it.
  int again(int id) {
    if (size_t(id) >= again_.size()) return id;  // of the backward pass
    if (again_[size_t(id)]) return *again_[size_t(id)];
    int result = id;
    const Value& value = graph_.values_[size_t(id)];
    if (value.writers.size() == 1 && !value.storage) {
      const Node forward = node(value.writers[0]);  // a copy: the node list grows
      const std::optional<Recomputation> how =
          forward.outputs[0] == id ? forward.op->recomputation() : std::nullopt;
      if (how) result = record_again(forward, *how);
    }
    again_[size_t(id)] = result;
    return result;
  }

  int record_again(const Node& forward, const Recomputation& how) {
    Node node;
    node.op = how.op ? how.op : forward.op;
    node.scope = forward.scope.empty() ? "backward" : forward.scope + "/backward";
    if (!how.op) {
      LADARTS_CHECK(forward.outputs.size() == 1 && forward.updates.empty());
      for (const int in : forward.inputs) node.inputs.push_back(again(in));
    }
    for (const int i : how.inputs) node.inputs.push_back(again(forward.inputs[size_t(i)]));
    for (const int i : how.outputs) node.inputs.push_back(forward.outputs[size_t(i)]);
    const Value& value = graph_.values_[size_t(forward.outputs[0])];
    const int id = new_value(value.shape, value.dtype, {int(graph_.nodes_.size())});
    graph_.values_[size_t(id)].again_of = forward.outputs[0];
    node.outputs.push_back(id);
    node.accumulate.push_back(0);
    graph_.nodes_.push_back(std::move(node));
    return id;
  }

  int new_value(Shape shape, DType dtype, std::vector<int> writers) {
    Value v;
    v.shape = shape;
    v.dtype = dtype;
    v.writers = std::move(writers);
    graph_.values_.push_back(std::move(v));
    return int(graph_.values_.size()) - 1;
  }

  void bind_target(int target, int id) {
    if (into_[size_t(target)]) {
      graph_.values_[size_t(id)].storage = into_[size_t(target)];
      into_[size_t(target)] = {};
    }
  }

  void record_late(int value) {
    for (Backward::Late& l : std::exchange(pending(value).late, {})) {
      current_scope_ = std::move(l.scope);
      append(std::move(l.op), l.operands, {value}, {});
    }
  }

  void visit(int n) {
    const std::vector<int> outputs = node(n).outputs;  // the node list grows
    for (int out : outputs) record_late(out);
    bool reached = false, wanted = false;
    for (int out : node(n).outputs) reached = reached || (needed(out) && pending(out).grad);
    for (int in : node(n).inputs) wanted = wanted || needed(in);
    if (!reached || !wanted) return;
    current_scope_ = node(n).scope.empty() ? "backward" : node(n).scope + "/backward";
    const std::shared_ptr<const Op> op = node(n).op;  // the node list grows during the call
    Backward b(*this, n);
    op->backward(b);
  }

  Tensor finish(int value) {
    record_late(value);
    Pending& p = pending(value);
    current_scope_ = "backward";
    if (into_[size_t(value)]) {  // nothing owned was written there yet
      if (!p.grad) {
        p.grad = zeros(graph_.values_[size_t(value)].shape);
        graph_.values_[size_t(p.grad.id())].storage = into_[size_t(value)];
        into_[size_t(value)] = {};
      } else {
        own(value);
      }
    }
    if (!p.grad) p.grad = zeros(graph_.values_[size_t(value)].shape);
    return p.grad;
  }

  Graph& graph_;
  std::vector<Storage> into_;
  std::vector<uint8_t> needed_;
  std::span<const Tensor> wrt_;
  size_t forward_nodes_ = 0;
  std::vector<Pending> pending_;
  bool recompute_;
  std::vector<std::optional<int>> again_;  // of forward values, once known
  std::string current_scope_;
};

Graph& Backward::graph() const {
  return builder_.graph();
}
Tensor Backward::input(int i) const {
  return Tensor(&graph(), builder_.node(node_).inputs[size_t(i)]);
}
Tensor Backward::output(int i) const {
  return Tensor(&graph(), builder_.node(node_).outputs[size_t(i)]);
}
int Backward::inputs() const {
  return int(builder_.node(node_).inputs.size());
}
int Backward::outputs() const {
  return int(builder_.node(node_).outputs.size());
}
bool Backward::needs(int i) const {
  return builder_.needed(builder_.node(node_).inputs[size_t(i)]);
}

bool Backward::has_grad(int i) const {
  return bool(builder_.pending(builder_.node(node_).outputs[size_t(i)]).grad);
}

Tensor Backward::grad(int i) const {
  const int out = builder_.node(node_).outputs[size_t(i)];
  Pending& p = builder_.pending(out);
  if (!p.grad) {
    p.grad = builder_.zeros(graph().values()[size_t(out)].shape);
    p.borrowed = false;
  }
  return p.grad;
}

std::vector<Tensor> Backward::emit(std::shared_ptr<const Op> op, const std::vector<Tensor>& operands,
                                   const std::vector<int>& grads_of, const std::vector<OutputSpec>& extra) {
  std::vector<int> targets;
  for (int i : grads_of) {
    LADARTS_CHECK(needs(i));
    targets.push_back(input(i).id());
  }
  return builder_.append(std::move(op), operands, targets, extra);
}

void Backward::emit_late(int i, std::shared_ptr<const Op> op, const std::vector<Tensor>& operands) {
  LADARTS_CHECK(needs(i));
  builder_.pending(input(i).id()).late.push_back({std::move(op), operands, builder_.scope()});
}

std::vector<Backward::Late> Backward::take_late(int i, const std::function<bool(const Late&)>& wanted) {
  std::vector<Late>& waiting = builder_.pending(input(i).id()).late;
  std::vector<Late> taken, rest;
  for (Late& l : waiting) (wanted(l) ? taken : rest).push_back(std::move(l));
  waiting = std::move(rest);
  return taken;
}

void Backward::pass(int i, Tensor t) {
  LADARTS_CHECK(needs(i) && t.shape().elements() == input(i).shape().elements());
  builder_.borrow(input(i).id(), t);
}

std::vector<Tensor> vector_jacobian(std::span<const Tensor> outputs, std::span<const Tensor> seeds,
                                    std::span<const Tensor> wrt, const GradientOptions& options) {
  require(!outputs.empty(), "[gradients] no loss given");
  require(outputs.size() == seeds.size(), "[gradients] {} outputs but {} seeds", outputs.size(),
          seeds.size());
  Graph& graph = outputs[0].graph();
  for (size_t i = 0; i < outputs.size(); ++i)
    require(outputs[i].shape().elements() == seeds[i].shape().elements(),
            "[gradients] output {} has shape {}, its seed {}", i, outputs[i].shape().str(),
            seeds[i].shape().str());
  for (const Tensor& w : wrt) {
    require(bool(w) && &w.graph() == &graph, "[gradients] asked for a value of another graph");
    require(w.dtype() == DType::f32, "[gradients] asked for an integer value");
  }
  GradientBuilder builder(graph, wrt, options);
  return builder.run(outputs, seeds);
}

std::vector<Tensor> gradients(std::span<const Tensor> losses, std::span<const Tensor> wrt,
                              const GradientOptions& options) {
  std::vector<Tensor> seeds;
  for (const Tensor& loss : losses) {
    require(loss.shape().elements() == 1, "[gradients] a loss has one element; this one has shape {}",
            loss.shape().str());
    seeds.push_back(loss.graph().add(std::make_shared<Fill>(1.f), {}, {{loss.shape(), DType::f32}})[0]);
  }
  return vector_jacobian(losses, seeds, wrt, options);
}

std::vector<Tensor> gradients(Tensor loss, std::span<const Tensor> wrt, const GradientOptions& options) {
  return gradients(std::span<const Tensor>(&loss, 1), wrt, options);
}

}  // namespace ladarts
