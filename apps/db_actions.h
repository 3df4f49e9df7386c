// What ladarts db can do; each is a command below it.
#pragma once

#include <memory>

#include "apps/command.h"

namespace ladarts {

std::unique_ptr<Command> make_db_list();
std::unique_ptr<Command> make_db_check();
std::unique_ptr<Command> make_db_compare();
std::unique_ptr<Command> make_db_export();
std::unique_ptr<Command> make_db_import();
std::unique_ptr<Command> make_db_merge();
std::unique_ptr<Command> make_db_dedupe();
std::unique_ptr<Command> make_db_delete();

// The store that an action is about, as its first argument.
inline void add_store_argument(CLI::App& app, std::string& path) {
  app.add_option("store", path, "file of measurements")->required();
}

}  // namespace ladarts
