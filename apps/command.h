// A subcommand of the program. Each lives in apps/NAME_command.cpp; main.cpp lists them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "apps/options.h"
#include "core/json_file.h"

namespace ladarts {

class Command {
 public:
  virtual ~Command() = default;
  virtual std::string name() const = 0;
  virtual std::string summary() const = 0;  // one line of `ladarts --help`
  virtual std::string example() const = 0;  // command lines, without indentation
  virtual void declare(CLI::App& app) = 0;  // its own options
  // Does the work and returns what --json prints. Throws Error, or Interrupted.
  virtual Json run(const CommonOptions& common) = 0;
  // The same for a person; ends with a newline.
  virtual std::string text(const Json& result) const = 0;
};

// Thrown by a command that stopped at a safe point after Ctrl-C; says how to go on.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::unique_ptr<Command> make_info_command();
std::unique_ptr<Command> make_data_command();
std::unique_ptr<Command> make_measure_command();
std::unique_ptr<Command> make_fit_command();
std::unique_ptr<Command> make_search_command();
std::unique_ptr<Command> make_derive_command();
std::unique_ptr<Command> make_train_command();
std::unique_ptr<Command> make_eval_command();
std::unique_ptr<Command> make_export_command();
std::unique_ptr<Command> make_verify_command();
std::unique_ptr<Command> make_run_command();
std::unique_ptr<Command> make_bench_command();
std::unique_ptr<Command> make_profile_command();

}  // namespace ladarts
