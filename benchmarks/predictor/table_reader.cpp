#include "benchmarks/predictor/table_reader.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "core/error.h"
#include "nas/encoding.h"

namespace ladarts::benchmarks {

namespace {

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

std::vector<size_t> rows_of(const CsvTable& csv, const TableOptions& o) {
  std::vector<size_t> rows(csv.rows.size());
  std::iota(rows.begin(), rows.end(), size_t(0));
  if (!o.live.empty()) {
    const CsvTable live = read_csv(o.live);
    require(live.rows.size() >= csv.rows.size(), "[table] '{}' has {} rows, '{}' {}", o.live,
            live.rows.size(), csv.path.string(), csv.rows.size());
    const size_t reachable = required_column(live, "output_reachable");
    std::erase_if(rows, [&](size_t i) { return number(live, i, reachable) == 0; });
  }
  if (!o.group.empty()) {
    const size_t group = required_column(csv, o.group), index = required_column(csv, "arch_index");
    std::erase_if(rows, [&](size_t i) { return csv.rows[i][group] != csv.rows[i][index]; });
  }
  return rows;
}

void add_chain(const CsvTable& csv, const std::vector<size_t>& rows, CostTable& table) {
  std::vector<size_t> columns;
  for (int c; (c = csv.column(fmt::format("op{}", columns.size()))) >= 0;) columns.push_back(size_t(c));
  require(!columns.empty(), "[table] '{}' has no column arch_str, genotype or op0", csv.path.string());
  int operations = 0;
  for (size_t r = 0; r < csv.rows.size(); ++r)
    for (const size_t c : columns) {
      const double op = number(csv, r, c);
      require(op >= 0 && op < 1000 && op == double(int(op)), "[table] {}, {}: operation {}", csv.place(r),
              csv.header[c], op);
      operations = std::max(operations, int(op) + 1);
    }
  for (const size_t r : rows) {
    std::vector<float> x(columns.size() * size_t(operations));
    std::string text;
    for (size_t l = 0; l < columns.size(); ++l) {
      x[l * size_t(operations) + size_t(number(csv, r, columns[l]))] = 1;
      text += (l ? "-" : "") + csv.rows[r][columns[l]];
    }
    table.features.append(x);
    table.architectures.push_back(text);
  }
  table.expansion = chain_features(int(columns.size()), operations);
}

}  // namespace

size_t required_column(const CsvTable& csv, const std::string& name) {
  const int column = csv.column(name);
  require(column >= 0, "[table] '{}' has no column '{}'", csv.path.string(), name);
  return size_t(column);
}

double number(const CsvTable& csv, size_t row, size_t column) {
  const std::string& text = csv.rows[row][column];
  size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
  }
  require(end == text.size() && end > 0, "[table] {}, {}: '{}' is no number", csv.place(row),
          csv.header[column], text);
  return value;
}

CostTable read_table(const std::string& path, const TableOptions& options) {
  const CsvTable csv = read_csv(path);
  const std::vector<size_t> rows = rows_of(csv, options);
  const std::filesystem::path file(path);
  CostTable table;
  table.name = file.parent_path().filename().string() + "/" + file.stem().string();
  const int cell = csv.column("arch_str"), genotype = csv.column("genotype");
  if (cell >= 0 || genotype >= 0) {
    const SearchSpace space = SearchSpace::load(cell >= 0 ? "nasbench201" : "darts");
    for (const size_t r : rows) {
      const std::string& text = csv.rows[r][size_t(cell >= 0 ? cell : genotype)];
      table.features.append(encode(parse_genotype(text, space), space));
      table.architectures.push_back(text);
    }
    table.expansion = structured_features(space);
  } else {
    add_chain(csv, rows, table);
  }
  for (size_t c = 0; c < csv.header.size(); ++c) {
    const std::string& name = csv.header[c];
    if (!name.ends_with("_ms") && !name.ends_with("_mj")) continue;
    table.columns.push_back(name);
    table.costs.emplace_back();
    for (const size_t r : rows) table.costs.back().push_back(number(csv, r, c));
  }
  require(!table.columns.empty(), "[table] '{}' has no column of costs (ending in _ms or _mj)", path);
  return table;
}

}  // namespace ladarts::benchmarks
