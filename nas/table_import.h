// Tables of others' measurements as rows of a store: one line for each architecture, one column for each
// device.
#pragma once

#include <string>
#include <vector>

#include "nas/search_space.h"
#include "predictor/csv.h"
#include "predictor/measurement_store.h"

namespace ladarts {

struct TableImport {
  SearchSpace space;
  CostContext context;              // all but the device; its metric says which units there are
  std::string unit;                 // of the table's numbers: "us"
  std::string architecture_column;  // texts that parse_genotype() reads
  // Columns of costs: "gold_6240_ms", with the device's name "gold_6240_ms=Xeon Gold 6240", or a pattern with
  // * for several. Without a name the device is called as the column, without a unit at its end.
  std::vector<std::string> columns;
};

struct ImportedTable {
  std::vector<Measurement> rows;
  int64_t empty_cells = 0;  // left out: "", "nan", "NA"
};

// Numbers are converted to the unit of the metric; details name the file, the column and its unit. Throws
// Error naming file, line and column of what is no architecture or no positive number, and for a column whose
// name ends in another unit of the metric than `unit`.
ImportedTable import_table(const CsvTable& table, const TableImport& how);

}  // namespace ladarts
