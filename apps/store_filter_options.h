// Options that choose rows of a measurement store.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "predictor/measurement_store.h"

namespace ladarts {

struct StoreFilterOptions {
  std::string metric, space, network, device, kind, status, architecture;
  int batch = 0, image = 0, threads = 0, replica = -1;
  int64_t id = 0;

  void declare(CLI::App& app);
  bool empty() const;  // matches every row
  MeasurementFilter filter() const;
};

}  // namespace ladarts
