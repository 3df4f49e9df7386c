// Measurements as CSV and back without loss: every field but the id, numbers to the last bit.
#pragma once

#include <string>
#include <vector>

#include "predictor/csv.h"
#include "predictor/measurement_store.h"

namespace ladarts {

// Costs stand in columns median_ms, min_ms and mean_ms where all rows have one unit, else in median, min and
// mean; the column `unit` is there always. clock_mhz is in MHz, relative_spread a fraction.
std::string to_csv(const std::vector<Measurement>& rows);

// Whether the header is that of to_csv().
bool is_store_csv(const CsvTable& table);
// Throws Error naming file, line and column of what is no such value.
std::vector<Measurement> from_csv(const CsvTable& table);

}  // namespace ladarts
