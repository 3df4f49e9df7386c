// Search spaces from and to JSON, and the presets.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include <fmt/ranges.h>

#include "core/error.h"
#include "core/fingerprint.h"
#include "nas/search_space.h"

namespace ladarts {

namespace {

using nlohmann::json;

struct Preset {
  const char* name;
  const char* text;
};

constexpr Preset kPresets[] = {{"darts", R"({
  "name": "darts",
  "cell_types": ["normal", "reduce"],
  "inputs": 2,
  "nodes": 4,
  "edges": "darts",
  "primitives": ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
                 "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"],
  "skeleton": {"kind": "darts", "reduce_at": [[1, 3], [2, 3]], "layers": 20, "channels": 36}
})"},
                               {"nasbench201", R"({
  "name": "nasbench201",
  "cell_types": ["cell"],
  "inputs": 1,
  "nodes": 3,
  "edges": "all",
  "primitives": ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"],
  "skeleton": {"kind": "residual_stages", "stages": 3, "layers": 5, "channels": 16}
})"}};

constexpr int kMaxNodes = 16, kMaxLayers = 1000, kMaxChannels = 4096, kMaxStages = 8;

// One JSON object whose fields are each read once; messages carry where it stands.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    require(object.is_object(), "[search space] {}: must be an object", where_);
  }

  const json& get(const char* field) {
    require(object_.contains(field), "[search space] {}: field '{}' is missing", where_, field);
    read_.push_back(field);
    return object_[field];
  }
  std::string text(const char* field) {
    const json& v = get(field);
    require(v.is_string() && !v.get_ref<const std::string&>().empty(),
            "[search space] {}: '{}' must be a text that is not empty", where_, field);
    return v;
  }
  int whole(const char* field, int low, int high) {
    const json& v = get(field);
    require(v.is_number_integer() && v >= low && v <= high,
            "[search space] {}: '{}' must be a whole number from {} to {}, is {}", where_, field, low, high,
            v.dump());
    return v;
  }
  std::vector<std::string> texts(const char* field) {
    const json& v = get(field);
    require(v.is_array() && !v.empty(), "[search space] {}: '{}' must be a list that is not empty", where_,
            field);
    std::vector<std::string> result;
    for (const json& item : v) {
      require(item.is_string() && !item.get_ref<const std::string&>().empty(),
              "[search space] {}: '{}' holds {}, which is no name", where_, field, item.dump());
      require(std::find(result.begin(), result.end(), item.get<std::string>()) == result.end(),
              "[search space] {}: '{}' lists {} twice", where_, field, item.dump());
      result.push_back(item);
    }
    return result;
  }
  void refuse_others() const {
    for (const auto& [key, value] : object_.items())
      require(std::find(read_.begin(), read_.end(), key) != read_.end(),
              "[search space] {}: field '{}' is not known", where_, key);
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
  std::vector<std::string> read_;
};

Skeleton skeleton_from(const json& object, const std::string& where) {
  Fields f(object, where);
  Skeleton s;
  const std::string kind = f.text("kind");
  require(kind == "darts" || kind == "residual_stages",
          "[search space] {}: 'kind' is \"{}\"; known are \"darts\" and \"residual_stages\"", where, kind);
  s.kind = kind == "darts" ? SkeletonKind::darts : SkeletonKind::residual_stages;
  s.layers = f.whole("layers", 1, kMaxLayers);
  s.channels = f.whole("channels", 1, kMaxChannels);
  if (s.kind == SkeletonKind::residual_stages) {
    s.stages = f.whole("stages", 1, kMaxStages);
  } else {
    const json& list = f.get("reduce_at");
    require(
        list.is_array() && list.size() < size_t(kMaxStages),
        "[search space] {}: 'reduce_at' must be a list of less than {} fractions of the depth such as [1, 3]",
        where, kMaxStages);
    for (const json& item : list) {
      require(item.is_array() && item.size() == 2 && item[0].is_number_integer() &&
                  item[1].is_number_integer() && item[0] >= 0 && item[0] < item[1] && item[1] <= kMaxLayers,
              "[search space] {}: 'reduce_at' holds {}, which is no fraction [a, b] with 0 <= a < b", where,
              item.dump());
      s.reduce_at.push_back({item[0], item[1]});
    }
    s.stages = int(s.reduce_at.size()) + 1;
  }
  f.refuse_others();
  return s;
}

void check_consistency(const SearchSpace& s, const std::string& where) {
  const bool darts = s.skeleton.kind == SkeletonKind::darts;
  require(s.inputs == (darts ? 2 : 1),
          "[search space] {}: a skeleton of kind \"{}\" needs 'inputs' to be {}, not {}", where,
          darts ? "darts" : "residual_stages", darts ? 2 : 1, s.inputs);
  require(s.cell_types.size() <= (darts ? 2u : 1u),
          "[search space] {}: 'cell_types' lists {} types; this skeleton has places for {}", where,
          s.cell_types.size(), darts ? "one, or normal and reduction cells" : "one");
  for (const std::string& type : s.cell_types)
    require(
        std::all_of(type.begin(), type.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; }),
        "[search space] {}: cell type \"{}\" may only have letters, digits and '_'", where, type);
  const auto known = known_primitives();
  for (const std::string& p : s.primitives)
    require(std::any_of(known.begin(), known.end(), [&](const Primitive& k) { return k.name == p; }),
            "[search space] {}: 'primitives' holds '{}', which is not known; known are {}", where, p,
            known_primitive_names());
  require(!s.choosable_primitives().empty(), "[search space] {}: 'primitives' needs one besides none", where);
}

json parse_text(const std::string& text, const std::string& origin) {
  try {
    return json::parse(text);
  } catch (const json::exception& e) {
    fail("[search space] {}: not valid JSON: {}", origin, e.what());
  }
}

}  // namespace

SearchSpace SearchSpace::from_json(const std::string& text, const std::string& origin) {
  const json document = parse_text(text, origin);
  Fields f(document, origin);
  SearchSpace s;
  s.name = f.text("name");
  s.cell_types = f.texts("cell_types");
  s.inputs = f.whole("inputs", 1, 2);
  s.nodes = f.whole("nodes", 1, kMaxNodes);
  const std::string rule = f.text("edges");
  require(rule == "darts" || rule == "all",
          "[search space] {}: 'edges' is \"{}\"; known are \"darts\" (two per node) and \"all\"", origin,
          rule);
  s.edge_rule = rule == "all" ? EdgeRule::all : EdgeRule::darts;
  s.primitives = f.texts("primitives");
  s.skeleton = skeleton_from(f.get("skeleton"), origin + ": skeleton");
  f.refuse_others();
  check_consistency(s, origin);
  return s;
}

std::string SearchSpace::to_json() const {
  nlohmann::ordered_json out;
  out["name"] = name;
  out["cell_types"] = cell_types;
  out["inputs"] = inputs;
  out["nodes"] = nodes;
  out["edges"] = edge_rule == EdgeRule::all ? "all" : "darts";
  out["primitives"] = primitives;
  nlohmann::ordered_json& s = out["skeleton"];
  s["kind"] = skeleton.kind == SkeletonKind::darts ? "darts" : "residual_stages";
  if (skeleton.kind == SkeletonKind::darts) {
    s["reduce_at"] = nlohmann::ordered_json::array();
    for (const Fraction& r : skeleton.reduce_at) s["reduce_at"].push_back({r.numerator, r.denominator});
  } else {
    s["stages"] = skeleton.stages;
  }
  s["layers"] = skeleton.layers;
  s["channels"] = skeleton.channels;
  return out.dump(2);
}

std::string SearchSpace::id() const {
  return is_preset(name) ? name : name + "-" + Fingerprint().add(to_json()).str();
}

const std::vector<std::string>& SearchSpace::preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> n;
    for (const Preset& p : kPresets) n.push_back(p.name);
    return n;
  }();
  return names;
}

bool SearchSpace::is_preset(std::string_view name) {
  return std::any_of(std::begin(kPresets), std::end(kPresets),
                     [&](const Preset& p) { return name == p.name; });
}

SearchSpace SearchSpace::load(const std::string& name_or_path) {
  for (const Preset& p : kPresets)
    if (name_or_path == p.name) return from_json(p.text, "preset " + name_or_path);
  std::ifstream file(name_or_path, std::ios::binary);
  require(bool(file), "[search space] '{}' is neither a preset ({}) nor a file that can be read",
          name_or_path, fmt::join(preset_names(), ", "));
  std::ostringstream text;
  text << file.rdbuf();
  require(bool(file) && !text.str().empty(), "[search space] '{}' cannot be read, or is empty", name_or_path);
  SearchSpace s = from_json(text.str(), name_or_path);
  require(
      !is_preset(s.name) || s == load(s.name),
      "[search space] {}: \"name\" is that of a preset, but the space differs from it; choose another name",
      name_or_path);
  return s;
}

}  // namespace ladarts
