#include "core/deferral.h"

#include <map>
#include <utility>

namespace ladarts {

class NormDeferral {
 public:
  explicit NormDeferral(Graph& graph) : graph_(graph), readers_(graph.values_.size()) {
    for (size_t n = 0; n < graph.nodes_.size(); ++n)
      for (const int input : graph.nodes_[n].inputs)
        if (auto& of = readers_[size_t(input)]; of.empty() || of.back() != int(n)) of.push_back(int(n));
  }

  int run() {
    int deferred = 0;
    for (size_t n = 0; n < graph_.nodes_.size(); ++n) deferred += int(defer(int(n)));
    return deferred;
  }

 private:
  Node& node(int n) { return graph_.nodes_[size_t(n)]; }
  // Made by one node, for nobody outside of the graph.
  bool internal(int value) const {
    const Value& v = graph_.values_[size_t(value)];
    return v.writers.size() == 1 && !v.storage;
  }

  bool defer(int norm) {
    const std::shared_ptr<const Op> op = node(norm).op->deferred();
    const int result = node(norm).outputs[0], x = node(norm).inputs.empty() ? -1 : node(norm).inputs[0];
    if (!op || !internal(result)) return false;
    // What stands for the result: it, it again, and what ops that commute make of x.
    std::vector<std::pair<int, int>> meant{{result, x}};  // and the value that is read in its place
    for (size_t v = 0; v < graph_.values_.size(); ++v)
      if (graph_.values_[v].again_of == result) meant.emplace_back(int(v), x);
    std::map<int, std::vector<int>> reads;  // node: positions
    std::vector<int> commuting;
    for (size_t i = 0; i < meant.size(); ++i) {
      const int value = meant[i].first;
      for (const int reader : readers_[size_t(value)]) {
        const Node& at = node(reader);
        if (at.op->commutes_with_affine()) {
          if (!internal(at.outputs[0])) return false;
          commuting.push_back(reader);
          meant.emplace_back(at.outputs[0], at.outputs[0]);
          continue;
        }
        for (int k = 0; k < int(at.inputs.size()); ++k)
          if (at.inputs[size_t(k)] == value) reads[reader].push_back(k);
      }
    }
    std::map<int, std::shared_ptr<const Op>> ops;
    for (const auto& [reader, positions] : reads) {
      ops[reader] = node(reader).op->reading_affine(positions, int(node(reader).inputs.size()));
      if (!ops[reader]) return false;
    }
    const std::map<int, int> in_place_of(meant.begin(), meant.end());
    for (const auto& [reader, positions] : reads) {
      Node& at = node(reader);
      at.op = ops[reader];
      for (const int k : positions) at.inputs[size_t(k)] = in_place_of.at(at.inputs[size_t(k)]);
      at.inputs.push_back(result);
    }
    for (const int reader : commuting) node(reader).inputs[0] = x;
    node(norm).op = op;
    Value& affine = graph_.values_[size_t(result)];
    affine.shape = Shape{2, affine.shape[1]};
    return true;
  }

  Graph& graph_;
  std::vector<std::vector<int>> readers_;  // of each value: nodes, in order
};

int defer_norms(Graph& graph) {
  return NormDeferral(graph).run();
}

}  // namespace ladarts
