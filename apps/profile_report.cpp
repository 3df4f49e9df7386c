#include "apps/profile_report.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "apps/format.h"
#include "nas/primitives.h"

namespace ladarts {

namespace {

// The number of "cell12" after `word`; -1 for another text.
int number_after(std::string_view text, std::string_view word) {
  int value = -1;
  if (text.substr(0, word.size()) != word) return -1;
  const char *begin = text.data() + word.size(), *end = text.data() + text.size();
  const auto [last, error] = std::from_chars(begin, end, value);
  return error == std::errc() && last == end ? value : -1;
}

bool is_primitive(std::string_view text) {
  const auto known = known_primitives();
  return std::any_of(known.begin(), known.end(), [&](const Primitive& p) { return p.name == text; });
}

// What several nodes cost together.
struct Sum {
  double us = 0, flops = 0, bytes = 0, floor_us = 0, memory_us = 0, compute_us = 0;
  int nodes = 0;

  void add(double node_us, const Cost& cost, const std::optional<MachinePeak>& peak) {
    us += node_us;
    flops += cost.flops;
    bytes += cost.bytes_moved;
    ++nodes;
    if (!peak) return;
    const Roofline r = roofline(cost, *peak);
    floor_us += r.floor_us;
    (r.bound == Bound::compute ? compute_us : memory_us) += r.floor_us;
  }

  // Fields that groups and nodes share. A sum is bound by the side that takes most of its floor.
  void describe(Json& j, double total_us, bool peaks) const {
    j["us"] = us;
    j["share"] = us / total_us;
    j["flops"] = flops;
    j["bytes"] = bytes;
    j["gflops"] = us > 0 ? flops / us * 1e-3 : 0.0;
    j["gbs"] = us > 0 ? bytes / us * 1e-3 : 0.0;
    if (!peaks) return;
    j["floor_us"] = floor_us;
    j["share_of_floor"] = us > 0 ? floor_us / us : 0.0;
    j["bound"] = to_string(floor_us == 0            ? Bound::nothing
                           : compute_us > memory_us ? Bound::compute
                                                    : Bound::memory);
  }
};

Json shapes_json(const std::vector<Shape>& shapes) {
  Json list = Json::array();
  for (const Shape& s : shapes) list.push_back(s.str());
  return list;
}

Json index_or_null(int index) {
  return index < 0 ? Json() : Json(index);
}

}  // namespace

Place place_of(const std::string& scope) {
  Place place;
  std::string_view rest = scope;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view word = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (word == "backward") {
      place.backward = true;
    } else if (place.part.empty()) {
      place.part = word;
      place.cell = number_after(word, "cell");
    } else if (const int node = number_after(word, "node"); node >= 0) {
      place.node = node;
    } else if (const int edge = number_after(word, "edge"); edge >= 0) {
      place.edge = edge;
    } else if (is_primitive(word) || place.edge < 0) {
      place.primitive = word;  // or "preprocess"
    }
  }
  if (place.part.empty()) place.part = "other";
  return place;
}

std::string Place::role() const {
  if (!primitive.empty()) return primitive;
  if (cell < 0) return part;
  if (edge >= 0) return "edge";
  return node >= 0 ? "sum" : "concat";
}

std::string by_op(const NodeInfo& node) {
  return node.op;
}
std::string by_part(const NodeInfo& node) {
  return place_of(node.scope).part;
}
std::string by_kernel(const NodeInfo& node) {
  return node.kernel;
}
std::string by_role(const NodeInfo& node) {
  return place_of(node.scope).role();
}

Json group_json(const ProgramProfile& profile, const std::optional<MachinePeak>& peak, const GroupKey& key,
                bool in_order) {
  std::vector<std::pair<std::string, Sum>> groups;
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < profile.nodes.size(); ++i) {
    const auto [at, added] = index.try_emplace(key(profile.nodes[i]), groups.size());
    if (added) groups.push_back({at->first, {}});
    groups[at->second].second.add(profile.node_us[i], profile.nodes[i].cost, peak);
  }
  if (!in_order)
    std::stable_sort(groups.begin(), groups.end(),
                     [](const auto& a, const auto& b) { return a.second.us > b.second.us; });
  Json list = Json::array();
  for (const auto& [name, sum] : groups) {
    Json j{{"name", name}, {"nodes", sum.nodes}};
    sum.describe(j, profile.nodes_us(), peak.has_value());
    list.push_back(std::move(j));
  }
  return list;
}

Json kernels_json(const ProgramProfile& profile) {
  struct Launches {
    int launches = 0;
    double us = 0;
    const KernelTime* slowest = nullptr;
  };
  std::map<std::string, Launches> by_name;
  for (const KernelTime& k : profile.kernels) {
    Launches& sum = by_name[k.record.name];
    ++sum.launches;
    sum.us += k.us;
    if (!sum.slowest || k.us > sum.slowest->us) sum.slowest = &k;
  }
  Json list = Json::array();
  for (const auto& [name, k] : by_name) {
    const KernelRecord& r = k.slowest->record;
    list.push_back({{"name", name},
                    {"launches", k.launches},
                    {"us", k.us},
                    {"share", k.us / profile.kernels_us()},
                    {"grid", r.grid},
                    {"block", r.block},
                    {"registers", r.registers},
                    {"shared_bytes", r.shared_bytes},
                    {"local_bytes", r.local_bytes}});
  }
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a["us"].get<double>() > b["us"].get<double>();
  });
  return list;
}

std::string kernels_table(const Json& kernels, size_t limit) {
  std::vector<std::vector<std::string>> cells;
  const auto size = [](const Json& xyz) {
    return fmt::format("{} x {} x {}", xyz[0].get<int>(), xyz[1].get<int>(), xyz[2].get<int>());
  };
  for (const Json& k : kernels) {
    if (cells.size() == limit) break;
    cells.push_back({text_of(k["name"]), std::to_string(k["launches"].get<int>()),
                     fmt::format("{:.1f}", k["us"].get<double>()), percent(k["share"].get<double>()),
                     size(k["grid"]), size(k["block"]), std::to_string(k["registers"].get<int>()),
                     std::to_string(k["shared_bytes"].get<int>()),
                     std::to_string(k["local_bytes"].get<int>())});
  }
  if (cells.empty()) return {};
  return table({"kernel", "launches", "us", "share", "blocks", "threads", "registers", "shared B", "local B"},
               cells);
}

Json nodes_json(const ProgramProfile& profile, const std::optional<MachinePeak>& peak) {
  Json list = Json::array();
  const double total = profile.nodes_us();
  for (size_t i = 0; i < profile.nodes.size(); ++i) {
    const NodeInfo& node = profile.nodes[i];
    const Place place = place_of(node.scope);
    Json j{{"name", node.op},
           {"where", node.scope},
           {"part", place.part},
           {"cell", index_or_null(place.cell)},
           {"node", index_or_null(place.node)},
           {"edge", index_or_null(place.edge)},
           {"role", place.role()},
           {"backward", place.backward},
           {"inputs", shapes_json(node.inputs)},
           {"outputs", shapes_json(node.outputs)},
           {"scratch_bytes", node.scratch_bytes},
           {"kernel", node.kernel},
           {"start_us", 1e-3 * double(profile.marks_ns[i])},
           {"spread", profile.node_spread[i]}};
    Sum sum;
    sum.add(profile.node_us[i], node.cost, peak);
    sum.describe(j, total, peak.has_value());
    list.push_back(std::move(j));
  }
  for (const KernelTime& k : profile.kernels)
    list[size_t(k.node)]["kernels"].push_back({{"name", k.record.name},
                                               {"us", k.us},
                                               {"start_us", k.start_us},
                                               {"grid", k.record.grid},
                                               {"block", k.record.block}});
  return list;
}

Json times_json(const ProgramProfile& p) {
  Json times{{"whole_us", p.whole_us},
             {"whole_best_us", p.whole_best_us},
             {"whole_spread", p.whole_spread},
             {"nodes_us", p.nodes_us()},
             {"gap_us", p.gap_us},
             {"timed_us", p.timed_us},
             {"clock_us", p.clock_us},
             {"repeats", p.repeats},
             {"disturbed", p.disturbed},
             {"noisy", p.noisy}};
  if (!p.no_kernels.empty()) times["no_kernels"] = p.no_kernels;
  if (!p.kernels.empty())
    times.update({{"kernels_us", p.kernels_us()},
                  {"kernel_span_us", p.kernel_span_us},
                  {"kernel_gap_us", p.kernel_gap_us}});
  return times;
}

Json floor_json(const ProgramProfile& profile, const MachinePeak& peak) {
  Sum all;
  for (size_t i = 0; i < profile.nodes.size(); ++i) all.add(profile.node_us[i], profile.nodes[i].cost, peak);
  return {{"floor_us", all.floor_us},
          {"share_of_floor", all.floor_us / profile.whole_us},
          {"memory_bound_us", all.memory_us},
          {"compute_bound_us", all.compute_us}};
}

std::string profile_table(const std::string& title, const Json& rows, size_t limit) {
  if (rows.empty() || limit == 0) return {};
  const bool peaks = rows[0].contains("floor_us"), nodes = rows[0].contains("where");
  std::vector<std::string> header{title, nodes ? "where" : "ops", "us", "share", "GFLOP/s", "GB/s"};
  if (peaks) header.insert(header.end(), {"roof us", "of roof", "bound"});
  std::vector<std::vector<std::string>> cells;
  for (const Json& r : rows) {
    if (cells.size() == limit) break;
    std::vector<std::string> row{text_of(r["name"]),
                                 nodes ? text_of(r["where"]) : std::to_string(r["nodes"].get<int>()),
                                 fmt::format("{:.1f}", r["us"].get<double>()),
                                 percent(r["share"].get<double>()),
                                 fmt::format("{:.1f}", r["gflops"].get<double>()),
                                 fmt::format("{:.1f}", r["gbs"].get<double>())};
    if (peaks)
      row.insert(row.end(), {fmt::format("{:.1f}", r["floor_us"].get<double>()),
                             percent(r["share_of_floor"].get<double>(), 0), text_of(r["bound"])});
    cells.push_back(std::move(row));
  }
  return table(header, cells);
}

}  // namespace ladarts
