// How a measurement stands in the tables of its file. Internal to predictor/.
#pragma once

#include "predictor/measurement_store.h"
#include "predictor/sqlite.h"

namespace ladarts::store_columns {

inline constexpr const char* kContext =
    "metric, unit, space, network, batch, image_size, device, device_kind, threads, precision, isa, "
    "library_version";
inline constexpr int kContextCount = 12;

inline constexpr const char* kRow =
    "architecture, replica, median, relative_spread, min, mean, repeats, warmup_runs, disturbed_runs, "
    "noisy, status, seed, sample_index, commit_id, governor, clock_mhz, hostname, utc_time, details";
inline constexpr const char* kRowOfVersion1 =
    "architecture, replica, median, relative_spread, min, mean, repeats, warmup_runs, disturbed_runs, "
    "noisy, status, seed, sample_index, commit_id, governor, clock_mhz, hostname, utc_time, '{}'";
inline constexpr int kRowCount = 19;

// A context to the parameters from 0 on; from the columns from `first` on.
void bind_context(sqlite::Statement& s, const CostContext& c);
CostContext read_context(const sqlite::Statement& s, int first);
// The context's id, then the columns of a row.
void bind_row(sqlite::Statement& s, int64_t context_id, const Measurement& m);
// Its id at `first`, then the columns of a row; without its context.
Measurement read_row(const sqlite::Statement& s, int first);

// The id of a context's row, which is made where there is none.
int64_t context_id(sqlite::Database& db, const CostContext& context);

}  // namespace ladarts::store_columns
