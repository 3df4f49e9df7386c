#include "core/graph.h"

#include "core/error.h"

namespace ladarts {

Cost Op::cost(const NodeShapes& s) const {
  Cost c;
  for (const Shape& shape : s.inputs) c.bytes_moved += 4.0 * double(shape.elements());
  for (const Shape& shape : s.outputs) c.bytes_moved += 4.0 * double(shape.elements());
  return c;
}

void Op::backward(Backward&) const {
  fail("[{}] has no gradient; ask for gradients of values that do not pass through it", name());
}

const Shape& Tensor::shape() const {
  require(graph_ != nullptr, "[tensor] an empty tensor has no shape: record the op that makes it first");
  return graph_->value(*this).shape;
}
DType Tensor::dtype() const {
  require(graph_ != nullptr, "[tensor] an empty tensor has no type: record the op that makes it first");
  return graph_->value(*this).dtype;
}

Tensor Graph::leaf(const Storage& storage, std::string label) {
  LADARTS_CHECK(storage);
  require_here(storage);
  auto& ids = leaves_[{storage.buffer().get(), storage.offset()}];
  for (int id : ids) {
    const Value& v = values_[size_t(id)];
    if (v.shape == storage.shape() && v.dtype == storage.dtype()) return Tensor(this, id);
  }
  Value v;
  v.shape = storage.shape();
  v.dtype = storage.dtype();
  v.storage = storage;
  v.label = std::move(label);
  values_.push_back(std::move(v));
  ids.push_back(int(values_.size()) - 1);
  return Tensor(this, ids.back());
}

std::vector<Tensor> Graph::add(std::shared_ptr<const Op> op, const std::vector<Tensor>& inputs,
                               const std::vector<OutputSpec>& outputs, std::vector<int> updates) {
  Node node;
  const int index = int(nodes_.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    require(bool(inputs[i]), "[{}] input {} is empty", op->name(), i);
    require(&inputs[i].graph() == this, "[{}] input {} belongs to another graph", op->name(), i);
    node.inputs.push_back(inputs[i].id());
  }
  for (int u : updates) LADARTS_CHECK(values_[size_t(node.inputs[size_t(u)])].storage.has_value());
  std::vector<Tensor> result;
  for (const OutputSpec& spec : outputs) {
    Value v;
    v.shape = spec.shape;
    v.dtype = spec.dtype;
    v.writers = {index};
    values_.push_back(std::move(v));
    node.outputs.push_back(int(values_.size()) - 1);
    result.emplace_back(this, node.outputs.back());
  }
  node.accumulate.assign(node.outputs.size(), 0);
  node.op = std::move(op);
  node.updates = std::move(updates);
  node.scope = scope_;
  nodes_.push_back(std::move(node));
  return result;
}

void Graph::bind(Tensor t, const Storage& storage) {
  Value& v = values_[size_t(t.id())];
  LADARTS_CHECK(!v.storage.has_value() && !v.writers.empty());
  require(v.shape.elements() == storage.shape().elements() && v.dtype == storage.dtype(),
          "[bind] value of shape {} ({}) does not fit storage of shape {} ({})", v.shape.str(),
          to_string(v.dtype), storage.shape().str(), to_string(storage.dtype()));
  require_here(storage);
  v.storage = storage;
}

void Graph::require_here(const Storage& storage) const {
  const Device where = storage.buffer()->device();
  require(where == device_, "[graph] a value of shape {} is kept on {}, the graph is of {}",
          storage.shape().str(), where.str(), device_.str());
}

Storage Graph::bind_output(Tensor t) {
  Storage s = Storage::create(t.shape(), t.dtype(), device_);
  bind(t, s);
  return s;
}

Graph::Scope::Scope(Graph& graph, const std::string& name) : graph_(graph), length_(graph.scope_.size()) {
  if (!graph.scope_.empty()) graph.scope_ += '/';
  graph.scope_ += name;
}

Graph::Scope::~Scope() {
  graph_.scope_.resize(length_);
}

}  // namespace ladarts
