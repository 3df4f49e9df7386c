#include "apps/chrome_trace.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ladarts {

namespace {

constexpr int kProcess = 1, kNodeTrack = 1, kWholeTrack = 2, kKernelTrack = 3;

double us(int64_t ns) {
  return 1e-3 * double(ns);
}

std::vector<std::string> parts_of(const std::string& scope) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < scope.size();) {
    const size_t slash = std::min(scope.find('/', begin), scope.size());
    parts.push_back(scope.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return parts;
}

Json metadata(const char* what, int track, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", kProcess}, {"tid", track}, {"args", {{"name", name}}}};
}

Json slice(const std::string& name, const char* category, int track, int64_t begin_ns, int64_t end_ns) {
  return {
      {"name", name},    {"cat", category}, {"ph", "X"}, {"ts", us(begin_ns)}, {"dur", us(end_ns - begin_ns)},
      {"pid", kProcess}, {"tid", track}};
}

Json shapes(const std::vector<Shape>& list) {
  Json names = Json::array();
  for (const Shape& s : list) names.push_back(s.str());
  return names;
}

// Slices of the scopes around consecutive nodes. A slice's end is known when the next node leaves it, so its
// event is written when it opens and completed when it closes.
class Nesting {
 public:
  explicit Nesting(Json& events) : events_(events) {}

  // From `ns` on, nodes stand in `scope`.
  void enter(const std::string& scope, int64_t ns) {
    const std::vector<std::string> parts = parts_of(scope);
    size_t common = 0;
    while (common < open_.size() && common < parts.size() && open_[common].name == parts[common]) ++common;
    leave(common, ns);
    for (size_t i = common; i < parts.size(); ++i) {
      open_.push_back({parts[i], events_.size(), ns});
      events_.push_back(slice(parts[i], "scope", kNodeTrack, ns, ns));
    }
  }
  void leave(size_t depth, int64_t ns) {
    for (; open_.size() > depth; open_.pop_back())
      events_[open_.back().event]["dur"] = us(ns - open_.back().begin_ns);
  }

 private:
  struct Open {
    std::string name;
    size_t event;
    int64_t begin_ns;
  };
  Json& events_;
  std::vector<Open> open_;
};

void add_counter(Json& events, const char* name, int64_t ns, double value) {
  events.push_back({{"name", name},
                    {"ph", "C"},
                    {"ts", us(ns)},
                    {"pid", kProcess},
                    {"tid", kNodeTrack},
                    {"args", {{name, value}}}});
}

}  // namespace

Json chrome_trace(const ProgramProfile& profile, const std::string& title, const Json& about) {
  Json events = Json::array();
  events.push_back(metadata("process_name", kNodeTrack, title));
  events.push_back(metadata("thread_name", kNodeTrack, "ops, each timed"));
  events.push_back(metadata("thread_name", kWholeTrack, "a whole run without timers (median)"));
  events.push_back(slice("whole run", "run", kWholeTrack, 0, int64_t(std::llround(profile.whole_us * 1e3))));
  Nesting nesting(events);
  for (size_t i = 0; i < profile.nodes.size(); ++i) {
    const NodeInfo& node = profile.nodes[i];
    const int64_t begin = profile.marks_ns[i], end = profile.marks_ns[i + 1];
    nesting.enter(node.scope, begin);
    Json event = slice(node.op, "op", kNodeTrack, begin, end);
    const double ns = double(std::max<int64_t>(1, end - begin));
    event["args"] = {{"where", node.scope},
                     {"inputs", shapes(node.inputs)},
                     {"outputs", shapes(node.outputs)},
                     {"flops", node.cost.flops},
                     {"bytes", node.cost.bytes_moved},
                     {"gflops", node.cost.flops / ns},
                     {"gbs", node.cost.bytes_moved / ns},
                     {"median_us", profile.node_us[i]}};
    events.push_back(std::move(event));
    add_counter(events, "GFLOP/s", begin, node.cost.flops / ns);
    add_counter(events, "GB/s", begin, node.cost.bytes_moved / ns);
  }
  nesting.leave(0, profile.marks_ns.back());
  if (!profile.kernels.empty())
    events.push_back(metadata("thread_name", kKernelTrack, "kernels of a run without timers, by CUPTI"));
  for (const KernelTime& k : profile.kernels) {
    const NodeInfo& node = profile.nodes[size_t(k.node)];
    const int64_t begin = std::llround(k.start_us * 1e3);
    Json event =
        slice(k.record.name, "kernel", kKernelTrack, begin, begin + k.record.end_ns - k.record.begin_ns);
    event["args"] = {{"op", node.op},
                     {"where", node.scope},
                     {"grid", k.record.grid},
                     {"block", k.record.block},
                     {"registers", k.record.registers},
                     {"shared_bytes", k.record.shared_bytes},
                     {"local_bytes", k.record.local_bytes},
                     {"median_us", k.us}};
    events.push_back(std::move(event));
  }
  for (const char* name : {"GFLOP/s", "GB/s"}) add_counter(events, name, profile.marks_ns.back(), 0);
  return {{"displayTimeUnit", "ms"}, {"otherData", about}, {"traceEvents", std::move(events)}};
}

}  // namespace ladarts
