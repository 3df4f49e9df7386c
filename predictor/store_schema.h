// The tables of a measurement store's file, and what was there before them.
#pragma once

#include <cstdint>

#include "predictor/sqlite.h"

namespace ladarts::store_schema {

inline constexpr int64_t kVersion = 2;

// The version of the store's schema; 0 where the file is empty. Throws Error for anything else: a database of
// another program, a newer version, damage.
int64_t version(sqlite::Database& db);

// Makes the tables, or those of an older version into ours.
void prepare(sqlite::Database& db);

// Readers and a writer then do not wait for each other. The switch needs the file for itself for a moment
// and, unlike other statements, does not wait for it by itself. File systems without shared memory keep the
// rollback journal, which is as safe.
void use_write_ahead_log(sqlite::Database& db);

}  // namespace ladarts::store_schema
