// Public tables of measured architectures as data sets: which columns are costs, and what an architecture's
// row of features is.
#pragma once

#include <string>
#include <vector>

#include "predictor/csv.h"
#include "predictor/dataset.h"
#include "predictor/feature_expansion.h"

namespace ladarts::benchmarks {

struct CostTable {
  std::string name;
  FeatureMatrix features;  // one-hot operations, as in nas/encoding.h
  FeatureExpansion expansion;
  std::vector<std::string> columns;        // of costs
  std::vector<std::vector<double>> costs;  // of each column
  std::vector<std::string> architectures;  // as written

  Dataset dataset(size_t column) const { return {features, costs[column], {}, {}}; }
};

struct TableOptions {
  std::string
      live;  // NAS-Bench-201: a table of the same order with `output_reachable`; rows with 0 are left out
  std::string
      group;  // column that names the row measured in this one's stead; only rows that name themselves stay
};

// The form is told by the columns: `arch_str` (NAS-Bench-201), `genotype` (DARTS) or `op0`, `op1`, ... (a
// chain). Costs are the columns that end in _ms or _mj. Throws Error that names file, line and column.
CostTable read_table(const std::string& path, const TableOptions& options);

// Of any table; they throw Error that names file, line and column.
size_t required_column(const CsvTable& csv, const std::string& name);
double number(const CsvTable& csv, size_t row, size_t column);

}  // namespace ladarts::benchmarks
