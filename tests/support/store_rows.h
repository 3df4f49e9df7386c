// How many architectures a file of measurements holds, while another process may be making it.
#pragma once

#include <string>

#include "core/error.h"
#include "predictor/measurement_store.h"

namespace ladarts {

inline int64_t architectures_in(const std::string& db) try {
  return MeasurementStore(db, MeasurementStore::Access::read_only).count({.replica = 0});
} catch (const Error&) {
  return 0;  // not yet a store
}

}  // namespace ladarts
