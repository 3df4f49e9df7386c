#include "benchmarks/predictor/table_reader.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "core/error.h"
#include "nas/encoding.h"

namespace ladarts::benchmarks {

namespace {

struct Csv {
  std::string path;
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> rows;

  std::optional<size_t> find(const std::string& name) const {
    const auto it = std::find(names.begin(), names.end(), name);
    return it == names.end() ? std::nullopt : std::optional(size_t(it - names.begin()));
  }
  size_t column(const std::string& name) const {
    const auto i = find(name);
    require(i.has_value(), "[table] '{}' has no column '{}'", path, name);
    return *i;
  }
  double number(size_t row, size_t column) const {
    const std::string& text = rows[row][column];
    size_t end = 0;
    double value = 0;
    try {
      value = std::stod(text, &end);
    } catch (const std::exception&) {
    }
    require(end == text.size() && end > 0, "[table] '{}' line {}, {}: '{}' is no number", path, row + 2,
            names[column], text);
    return value;
  }
};

// Cells between commas, where quotes protect commas.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  return cells;
}

Csv read_csv(const std::string& path) {
  std::ifstream file(path);
  Csv csv{path, {}, {}};
  std::string line;
  require(bool(std::getline(file, line)), "[table] cannot read '{}'", path);
  csv.names = cells_of(line);
  while (std::getline(file, line)) {
    csv.rows.push_back(cells_of(line));
    require(csv.rows.back().size() == csv.names.size(), "[table] '{}' line {}: {} cells under {} columns",
            path, csv.rows.size() + 1, csv.rows.back().size(), csv.names.size());
  }
  return csv;
}

// A chain of layers that each have one of several operations: FBNet's. Beside each layer's operation, how
// often each occurs, in all and in each quarter of the depth.
FeatureExpansion chain_features(int layers, int operations) {
  constexpr int kParts = 4;
  ExpansionBuilder builder(layers * operations);
  auto count = [&](int op, int begin, int end) {
    Form sum;
    for (int l = begin; l < end; ++l) sum = sum + builder.input(l * operations + op);
    builder.feature(sum);
  };
  for (int i = 0; i < layers * operations; ++i) builder.feature(builder.input(i));
  builder.end_group();
  for (int op = 0; op < operations; ++op) count(op, 0, layers);
  builder.end_group();
  for (int part = 0; part < kParts; ++part)
    for (int op = 0; op < operations; ++op) count(op, layers * part / kParts, layers * (part + 1) / kParts);
  builder.end_group();
  return builder.build();
}

std::vector<size_t> rows_of(const Csv& csv, const TableOptions& o) {
  std::optional<Csv> live;
  if (!o.live.empty()) {
    live = read_csv(o.live);
    require(live->rows.size() >= csv.rows.size(), "[table] '{}' has {} rows, '{}' {}", o.live,
            live->rows.size(), csv.path, csv.rows.size());
  }
  std::vector<size_t> rows;
  for (size_t i = 0; i < csv.rows.size(); ++i) {
    if (live && live->number(i, live->column("output_reachable")) == 0) continue;
    if (!o.group.empty() && csv.rows[i][csv.column(o.group)] != csv.rows[i][csv.column("arch_index")])
      continue;
    rows.push_back(i);
  }
  return rows;
}

void add_chain(const Csv& csv, const std::vector<size_t>& rows, CostTable& table) {
  std::vector<size_t> columns;
  while (const auto c = csv.find(fmt::format("op{}", columns.size()))) columns.push_back(*c);
  require(!columns.empty(), "[table] '{}' has no column arch_str, genotype or op0", csv.path);
  int operations = 0;
  for (size_t r = 0; r < csv.rows.size(); ++r)
    for (const size_t c : columns) {
      const double op = csv.number(r, c);
      require(op >= 0 && op < 1000 && op == double(int(op)), "[table] '{}' line {}, {}: operation {}",
              csv.path, r + 2, csv.names[c], op);
      operations = std::max(operations, int(op) + 1);
    }
  for (const size_t r : rows) {
    std::vector<float> x(columns.size() * size_t(operations));
    std::string text;
    for (size_t l = 0; l < columns.size(); ++l) {
      x[l * size_t(operations) + size_t(csv.number(r, columns[l]))] = 1;
      text += (l ? "-" : "") + csv.rows[r][columns[l]];
    }
    table.features.append(x);
    table.architectures.push_back(text);
  }
  table.expansion = chain_features(int(columns.size()), operations);
}

}  // namespace

CostTable read_table(const std::string& path, const TableOptions& options) {
  const Csv csv = read_csv(path);
  const std::vector<size_t> rows = rows_of(csv, options);
  const std::filesystem::path file(path);
  CostTable table;
  table.name = file.parent_path().filename().string() + "/" + file.stem().string();
  const auto cell = csv.find("arch_str"), genotype = csv.find("genotype");
  if (cell || genotype) {
    const SearchSpace space = SearchSpace::load(cell ? "nasbench201" : "darts");
    for (const size_t r : rows) {
      const std::string& text = csv.rows[r][cell ? *cell : *genotype];
      table.features.append(encode(parse_genotype(text, space), space));
      table.architectures.push_back(text);
    }
    table.expansion = structured_features(space);
  } else {
    add_chain(csv, rows, table);
  }
  for (size_t c = 0; c < csv.names.size(); ++c) {
    const std::string& name = csv.names[c];
    if (!name.ends_with("_ms") && !name.ends_with("_mj")) continue;
    table.columns.push_back(name);
    table.costs.emplace_back();
    for (const size_t r : rows) table.costs.back().push_back(csv.number(r, c));
  }
  require(!table.columns.empty(), "[table] '{}' has no column of costs (ending in _ms or _mj)", path);
  return table;
}

}  // namespace ladarts::benchmarks
