#include "predictor/store_rules.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.h"

namespace ladarts {

namespace {

// All that two rows of the same context and architecture can differ in, but for id and replica.
auto contents(const Measurement& m) {
  return std::tie(m.utc_time, m.median, m.relative_spread, m.min, m.mean, m.repeats, m.warmup_runs,
                  m.disturbed_runs, m.noisy, m.status, m.seed, m.sample_index, m.commit, m.governor,
                  m.clock_mhz, m.hostname, m.details);
}

using Group = std::vector<Measurement*>;

// By age, without copies.
void order(Group& group) {
  std::stable_sort(group.begin(), group.end(),
                   [](const Measurement* a, const Measurement* b) { return a->utc_time < b->utc_time; });
  Group kept;
  for (Measurement* m : group)
    if (std::none_of(kept.begin(), kept.end(),
                     [&](const Measurement* k) { return contents(*k) == contents(*m); }))
      kept.push_back(m);
  group = std::move(kept);
}

void choose(Group& group, Keep keep) {
  Group ok;
  for (Measurement* m : group)
    if (m->status == "ok") ok.push_back(m);
  if (ok.empty()) {
    group = {group.back()};
    return;
  }
  group = std::move(ok);
  if (keep == Keep::all_as_replicas) return;
  Measurement* chosen = keep == Keep::newest ? group.back() : group.front();
  if (keep == Keep::least_spread)
    chosen = *std::min_element(group.begin(), group.end(), [](const Measurement* a, const Measurement* b) {
      return std::tie(a->noisy, a->relative_spread) < std::tie(b->noisy, b->relative_spread);
    });
  group = {chosen};
}

}  // namespace

const std::vector<std::string>& keep_names() {
  static const std::vector<std::string> names = {"first", "newest", "least-spread", "all-as-replicas"};
  return names;
}

Keep parse_keep(const std::string& text) {
  const auto& names = keep_names();
  const auto at = std::find(names.begin(), names.end(), text);
  require(at != names.end(), "[store] no rule '{}'; known are first, newest, least-spread, all-as-replicas",
          text);
  return Keep(at - names.begin());
}

std::vector<Measurement> apply_rule(std::vector<Measurement> rows, Keep keep) {
  std::map<std::string, size_t> contexts;  // few; a row's key is the number of its context and its text
  std::map<std::pair<size_t, std::string_view>, Group> groups;
  std::vector<std::pair<size_t, std::string_view>> in_order;
  for (Measurement& m : rows) {
    const CostContext& c = m.context;
    const std::string name = fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", c.metric, c.unit,
                                         c.space, c.network, c.batch, c.image_size, c.device, c.device_kind,
                                         c.threads, c.precision, c.isa, c.library_version);
    const std::pair<size_t, std::string_view> key{contexts.emplace(name, contexts.size()).first->second,
                                                  m.architecture};
    Group& group = groups[key];
    if (group.empty()) in_order.push_back(key);
    group.push_back(&m);
  }
  std::vector<Group> chosen;
  for (const auto& key : in_order) {
    Group& group = groups[key];
    order(group);
    choose(group, keep);
    chosen.push_back(group);
  }
  std::vector<Measurement> result;
  for (const Group& group : chosen)
    for (size_t i = 0; i < group.size(); ++i) {
      result.push_back(*group[i]);
      result.back().replica = int(i);
    }
  return result;
}

}  // namespace ladarts
