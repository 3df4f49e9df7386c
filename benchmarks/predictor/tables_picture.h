// The picture of what tables_bench found on one table.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ladarts::benchmarks {

// `table`: {"table": name, "results": [...]} as tables_bench writes it. Mean relative error over the columns
// against the rows fitted on, a curve for each model. The band is the mean of the columns' bands: columns
// share their splits. Only numbers of rows at which a model has all the columns that it has anywhere are
// drawn, so that all points of a curve speak of the same devices.
std::string picture_of(const nlohmann::json& table);

// A file with one such table or an array of them; writes PREFIX-NAME.svg for each.
void draw_results(const std::string& json_path, const std::string& prefix);

}  // namespace ladarts::benchmarks
