#include "core/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <typeinfo>

namespace ladarts {

namespace {

// What forking and joining costs is small beside it, and so is what one node keeps the others waiting.
constexpr double kLeastMicroseconds = 3, kMostMicroseconds = 1000, kMostRatio = 1.15;

// On one core of a present machine; only to tell nodes of the same kind apart.
double microseconds(const Graph& graph, const Node& node) {
  std::vector<Shape> inputs, outputs;
  for (const int in : node.inputs) inputs.push_back(graph.values()[size_t(in)].shape);
  for (const int out : node.outputs) outputs.push_back(graph.values()[size_t(out)].shape);
  const Cost cost = node.op->cost({inputs, outputs});
  return std::max(cost.flops / 60e3, cost.bytes_moved / 10e3);
}

bool changes_values(const Graph& graph, const std::vector<size_t>& nodes) {
  for (const size_t n : nodes) {
    const Node& node = graph.nodes()[n];
    if (!node.updates.empty()) return true;
    for (const int out : node.outputs)
      if (graph.values()[size_t(out)].writers.size() != 1) return true;
  }
  return false;
}

// Nodes become ready when all that they read is there.
class Readiness {
 public:
  Readiness(const Graph& graph, const std::vector<size_t>& nodes) {
    std::map<int, size_t> writer;
    for (const size_t n : nodes) {
      std::set<size_t> before;
      for (const int in : graph.nodes()[n].inputs)
        if (const auto found = writer.find(in); found != writer.end()) before.insert(found->second);
      for (const size_t b : before) after_[b].push_back(n);
      waits_for_[n] = before.size();
      if (before.empty()) ready_.insert(n);
      for (const int out : graph.nodes()[n].outputs) writer[out] = n;
    }
  }
  const std::set<size_t>& ready() const { return ready_; }
  void done(size_t n) {
    ready_.erase(n);
    for (const size_t next : after_[n])
      if (--waits_for_[next] == 0) ready_.insert(next);
  }

 private:
  std::map<size_t, std::vector<size_t>> after_;
  std::map<size_t, size_t> waits_for_;
  std::set<size_t> ready_;  // in the order of the graph
};

}  // namespace

std::vector<NodeGroup> schedule(const Graph& graph, const std::vector<size_t>& nodes, int threads) {
  std::vector<NodeGroup> groups;
  if (threads < 2 || changes_values(graph, nodes)) {
    for (const size_t n : nodes) groups.push_back({n});
    return groups;
  }
  std::map<size_t, double> time;
  for (const size_t n : nodes) time[n] = microseconds(graph, graph.nodes()[n]);
  Readiness state(graph, nodes);
  while (!state.ready().empty()) {
    const size_t first = *state.ready().begin();
    const Op& op = *graph.nodes()[first].op;
    NodeGroup group;
    if (time[first] >= kLeastMicroseconds && time[first] <= kMostMicroseconds)
      for (const size_t n : state.ready()) {
        const Op& other = *graph.nodes()[n].op;
        const double ratio = time[n] / time[first];
        if (typeid(other) == typeid(op) && ratio <= kMostRatio && ratio >= 1 / kMostRatio) group.push_back(n);
        if (int(group.size()) == threads) break;
      }
    if (int(group.size()) < threads) group = {first};
    for (const size_t n : group) state.done(n);
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace ladarts
