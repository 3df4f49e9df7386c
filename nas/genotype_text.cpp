// Genotypes from and to text: the field's two forms, JSON, files, presets.
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include <fmt/ranges.h>

#include "core/error.h"
#include "nas/genotype.h"

namespace ladarts {

namespace {

using nlohmann::json;

struct Preset {
  const char* name;
  const char* text;
};
constexpr Preset kPresets[] = {
    {"DARTS_V1",
     "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
     "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], "
     "normal_concat=range(2, 6), "
     "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), "
     "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], "
     "reduce_concat=range(2, 6))"},
    {"DARTS_V2",
     "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
     "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
     "normal_concat=range(2, 6), "
     "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
     "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
     "reduce_concat=range(2, 6))"},
    {"PC_DARTS_cifar",
     "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), "
     "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], "
     "normal_concat=range(2, 6), "
     "reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), "
     "('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], "
     "reduce_concat=range(2, 6))"},
    {"PC_DARTS_image",
     "Genotype(normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), ('skip_connect', 1), "
     "('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)], "
     "normal_concat=range(2, 6), "
     "reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 1), "
     "('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)], "
     "reduce_concat=range(2, 6))"},
};

// Reads the field's form, which is a call in Python's syntax.
class FieldForm {
 public:
  explicit FieldForm(const std::string& text) : text_(text) {}

  struct Argument {
    std::vector<GenotypeEdge> edges;
    std::vector<int> states;  // of a ..._concat argument
  };

  std::map<std::string, Argument> parse() {
    std::map<std::string, Argument> arguments;
    expect("Genotype");
    expect("(");
    while (!accept(")")) {
      const std::string name = word();
      expect("=");
      Argument argument;
      const bool is_concat = name.size() > 7 && name.ends_with("_concat");
      if (is_concat)
        argument.states = states();
      else
        argument.edges = edges();
      if (!arguments.emplace(name, argument).second) complain("'" + name + "' is given twice");
      if (!accept(",") && !peek(')')) complain("expected ',' or ')'");
    }
    skip_space();
    if (at_ < text_.size()) complain("text after the closing ')'");
    return arguments;
  }

 private:
  std::vector<GenotypeEdge> edges() {
    std::vector<GenotypeEdge> result;
    expect("[");
    while (!accept("]")) {
      expect("(");
      const char quote = peek('"') ? '"' : '\'';
      expect(std::string(1, quote).c_str());
      const std::string primitive = word();
      expect(std::string(1, quote).c_str());
      expect(",");
      result.push_back({primitive, number()});
      expect(")");
      if (!accept(",") && !peek(']')) complain("expected ',' or ']'");
    }
    return result;
  }

  std::vector<int> states() {
    std::vector<int> result;
    if (accept("range")) {
      expect("(");
      const int first = number();
      expect(",");
      const int end = number();
      expect(")");
      for (int s = first; s < end; ++s) result.push_back(s);
      return result;
    }
    expect("[");
    while (!accept("]")) {
      result.push_back(number());
      if (!accept(",") && !peek(']')) complain("expected ',' or ']'");
    }
    return result;
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool peek(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool accept(std::string_view token) {
    skip_space();
    if (std::string_view(text_).substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) complain("expected '" + std::string(token) + "'");
  }
  std::string word() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_'))
      ++at_;
    if (at_ == begin) complain("expected a name");
    return text_.substr(begin, at_ - begin);
  }
  int number() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
    if (at_ == begin || at_ - begin > 4) complain("expected a state's number");
    return std::stoi(text_.substr(begin, at_ - begin));
  }
  [[noreturn]] void complain(const std::string& what) {
    fail("[genotype] character {}: {}, found '{}'", at_ + 1, what, text_.substr(at_, 20));
  }

  const std::string& text_;
  size_t at_ = 0;
};

Genotype from_field_form(const std::string& text, const SearchSpace& space) {
  require(space.skeleton.kind == SkeletonKind::darts,
          "[genotype] Genotype(...) is of a space with concatenated cells, not of space '{}', whose form is "
          "|op~0|+|op~0|op~1|+...",
          space.name);
  std::map<std::string, FieldForm::Argument> arguments = FieldForm(text).parse();
  Genotype g{space.name, space.inputs, {}};
  for (const std::string& type : space.cell_types) {
    require(arguments.count(type) == 1, "[genotype] '{}=[...]' is missing, a cell type of space '{}'", type,
            space.name);
    const std::vector<GenotypeEdge> edges = arguments[type].edges;
    int wanted = 0;
    for (int j = 0; j < space.nodes; ++j) wanted += space.kept_edges(j);
    require(int(edges.size()) == wanted, "[genotype] {} cell has {} edges, space '{}' wants {}", type,
            edges.size(), space.name, wanted);
    CellGenotype& cell = g.cells.emplace_back();
    cell.type = type;
    auto next = edges.begin();
    for (int j = 0; j < space.nodes; next += space.kept_edges(j++))
      cell.nodes.emplace_back(next, next + space.kept_edges(j));
    arguments.erase(type);
    if (const auto concat = arguments.find(type + "_concat"); concat != arguments.end()) {
      std::vector<int> all;
      for (int j = 0; j < space.nodes; ++j) all.push_back(space.inputs + j);
      require(concat->second.states == all,
              "[genotype] '{}_concat' must be every node, range({}, {}): cells of other outputs are not "
              "supported",
              type, space.inputs, space.inputs + space.nodes);
      arguments.erase(concat);
    }
  }
  if (!arguments.empty())
    fail("[genotype] '{}' is no cell type of space '{}' ({})", arguments.begin()->first, space.name,
         fmt::join(space.cell_types, ", "));
  return g;
}

// |op~0|+|op~0|op~1|+...: nodes are separated by '+', edges by '|'.
Genotype from_string_form(const std::string& text, const SearchSpace& space) {
  require(space.skeleton.kind == SkeletonKind::residual_stages,
          "[genotype] |op~0|+... is of a space whose cells return their last node, not of space '{}', whose "
          "form is "
          "Genotype(...)",
          space.name);
  Genotype g{space.name, space.inputs, {CellGenotype{space.cell_types[0], {}}}};
  std::istringstream nodes(text);
  for (std::string node; std::getline(nodes, node, '+');) {
    require(node.size() > 2 && node.front() == '|' && node.back() == '|',
            "[genotype] node '{}' of '{}' must look like |op~0|op~1|", node, text);
    std::vector<GenotypeEdge>& edges = g.cells[0].nodes.emplace_back();
    std::istringstream parts(node.substr(1));
    for (std::string part; std::getline(parts, part, '|');) {
      const size_t tilde = part.find('~');
      const std::string source = tilde == std::string::npos ? "" : part.substr(tilde + 1);
      require(!source.empty() && source.size() <= 3 &&
                  source.find_first_not_of("0123456789") == std::string::npos,
              "[genotype] edge '{}' of '{}' must look like op~0", part, text);
      edges.push_back({part.substr(0, tilde), std::stoi(source)});
    }
  }
  return g;
}

json parse_json(const std::string& text) {
  try {
    return json::parse(text);
  } catch (const json::exception& e) {
    fail("[genotype] not valid JSON: {}", e.what());
  }
}

std::string space_of_json(const json& document) {
  require(document.is_object() && document.size() == 2 && document.contains("space") &&
              document["space"].is_string() && document.contains("cells") && document["cells"].is_object(),
          "[genotype] JSON must be {{\"space\": name, \"cells\": {{type: nodes}}}} and no more");
  return document["space"];
}

Genotype from_json(const std::string& text, const SearchSpace& space) {
  const json document = parse_json(text);
  const std::string name = space_of_json(document);
  require(name == space.name, "[genotype] is of space '{}', not of space '{}'", name, space.name);
  const json& cells = document["cells"];
  Genotype g{space.name, space.inputs, {}};
  for (const std::string& type : space.cell_types) {
    require(cells.contains(type) && cells[type].is_array(),
            "[genotype] \"cells\" needs a list of nodes for cell type \"{}\"", type);
    CellGenotype& cell = g.cells.emplace_back();
    cell.type = type;
    for (const json& node : cells[type]) {
      require(node.is_array(), "[genotype] {} cell: node {} must be a list of [operation, source]", type,
              node.dump());
      std::vector<GenotypeEdge>& edges = cell.nodes.emplace_back();
      for (const json& edge : node) {
        require(edge.is_array() && edge.size() == 2 && edge[0].is_string() && edge[1].is_number_integer() &&
                    edge[1] >= 0 && edge[1] < 1000,
                "[genotype] {} cell: edge {} must be [operation, source]", type, edge.dump());
        edges.push_back({edge[0], edge[1]});
      }
    }
  }
  for (const auto& [type, nodes] : cells.items())
    require(type == "" ||
                std::find(space.cell_types.begin(), space.cell_types.end(), type) != space.cell_types.end(),
            "[genotype] \"{}\" is no cell type of space '{}'", type, space.name);
  return g;
}

enum class TextForm { call, arch_string, json_text, other };

TextForm form_of(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return TextForm::other;
  if (text[begin] == '|') return TextForm::arch_string;
  if (text[begin] == '{') return TextForm::json_text;
  return text.compare(begin, 9, "Genotype(") == 0 ? TextForm::call : TextForm::other;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// The text of a preset or file, or `what` itself where it is a genotype's text.
std::string resolve_text(const std::string& what) {
  if (form_of(what) != TextForm::other) return trimmed(what);
  for (const Preset& p : kPresets)
    if (what == p.name) return p.text;
  std::ifstream file(what, std::ios::binary);
  require(bool(file),
          "[genotype] '{}' is neither a preset ({}), nor a file that can be read, nor a genotype's text",
          what, fmt::join(genotype_preset_names(), ", "));
  std::string text(64 * 1024, '\0');
  file.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(file.gcount()));
  require(form_of(text) != TextForm::other && file.eof(), "[genotype] file '{}' does not hold a genotype",
          what);
  return trimmed(text);
}

}  // namespace

const std::vector<std::string>& genotype_preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> n;
    for (const Preset& p : kPresets) n.push_back(p.name);
    return n;
  }();
  return names;
}

Genotype parse_genotype(const std::string& what, const SearchSpace& space) {
  const std::string text = resolve_text(what);
  const TextForm form = form_of(text);
  try {
    Genotype g = form == TextForm::call          ? from_field_form(text, space)
                 : form == TextForm::arch_string ? from_string_form(text, space)
                                                 : from_json(text, space);
    validate(g, space);
    return g;
  } catch (const Error& e) {
    const auto& presets = genotype_preset_names();
    const bool file =
        form_of(what) == TextForm::other && std::find(presets.begin(), presets.end(), what) == presets.end();
    if (!file) throw;
    fail("{}: {}", what, e.what());
  }
}

Genotype parse_genotype(const std::string& what) {
  const std::string text = resolve_text(what);
  std::string space = form_of(text) == TextForm::arch_string ? "nasbench201" : "darts";
  if (form_of(text) == TextForm::json_text) space = space_of_json(parse_json(text));
  require(SearchSpace::is_preset(space), "[genotype] is of space '{}', which is no preset: name its file too",
          space);
  return parse_genotype(what, SearchSpace::load(space));  // reads the file again, and names it in errors
}

std::string to_text(const Genotype& g, const SearchSpace& space) {
  validate(g, space);
  std::string text;
  if (space.skeleton.kind == SkeletonKind::residual_stages) {
    const Genotype sorted = g.canonical();
    for (const std::vector<GenotypeEdge>& node : sorted.cells[0].nodes) {
      text += text.empty() ? "|" : "+|";
      for (const GenotypeEdge& e : node) text += fmt::format("{}~{}|", e.primitive, e.source);
    }
    return text;
  }
  for (const CellGenotype& cell : g.cells) {
    std::string edges;
    for (const std::vector<GenotypeEdge>& node : cell.nodes)
      for (const GenotypeEdge& e : node)
        edges += fmt::format("{}('{}', {})", edges.empty() ? "" : ", ", e.primitive, e.source);
    text += fmt::format("{}{}=[{}], {}_concat=range({}, {})", text.empty() ? "" : ", ", cell.type, edges,
                        cell.type, g.inputs, g.inputs + int(cell.nodes.size()));
  }
  return "Genotype(" + text + ")";
}

std::string to_json(const Genotype& g) {
  nlohmann::ordered_json out;
  out["space"] = g.space;
  out["cells"] = nlohmann::ordered_json::object();
  for (const CellGenotype& cell : g.cells) {
    nlohmann::ordered_json& nodes = out["cells"][cell.type] = nlohmann::ordered_json::array();
    for (const std::vector<GenotypeEdge>& edges : cell.nodes) {
      nlohmann::ordered_json& node = nodes.emplace_back(nlohmann::ordered_json::array());
      for (const GenotypeEdge& e : edges) node.push_back({e.primitive, e.source});
    }
  }
  return out.dump();
}

}  // namespace ladarts
