// What ladarts db can do; each is a command below it.
#pragma once

#include <memory>

#include "apps/command.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "predictor/measurement_store.h"

namespace ladarts {

std::unique_ptr<Command> make_db_list();
std::unique_ptr<Command> make_db_check();
std::unique_ptr<Command> make_db_compare();
std::unique_ptr<Command> make_db_export();
std::unique_ptr<Command> make_db_import();
std::unique_ptr<Command> make_db_merge();
std::unique_ptr<Command> make_db_dedupe();
std::unique_ptr<Command> make_db_delete();

// Progress of rows read and written; Ctrl-C leaves the file as it was.
class RowProgress {
 public:
  RowProgress(const std::string& action, std::string file, int64_t rows)
      : file_(std::move(file)), total_(rows), progress_(action, rows, {.unit = "row"}) {}

  void follow(MeasurementStore& store) {
    store.set_progress([this](int64_t rows) {
      if (interrupted()) throw Interrupted(fmt::format("interrupted; '{}' is as it was", file_));
      progress_.update(done_ += rows);
    });
  }
  void finish() {
    progress_.update(total_);
    progress_.finish();
  }

 private:
  std::string file_;
  int64_t total_, done_ = 0;
  Progress progress_;
};

// The store that an action is about, as its first argument.
inline void add_store_argument(CLI::App& app, std::string& path) {
  app.add_option("store", path, "file of measurements")->required();
}

}  // namespace ladarts
