// Options that every subcommand has, and how the program ends.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace ladarts {

struct CommonOptions {
  std::string device = "auto";
  int threads = 0;  // 0: one per core that the process may use
  uint64_t seed = 0;
  bool seed_given = false;  // on the command line
  std::string kernels = "ladarts", kernels_file;
  bool tf32 = false;
  bool json = false;
  bool quiet = false;
};

void add_common_options(CLI::App& app, CommonOptions& options);

// Sets the number of threads, and the silence of progress lines, for the process.
void apply(const CommonOptions& options);

// Sets whose kernels run on the device that the options name. Throws Error where there is no such device,
// where it has only one kind of kernels (the CPU), and where a library is missing.
void choose_kernels(const CommonOptions& options);

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,         // what the user asked for failed
  kExitUsage = 2,         // it could not be understood
  kExitInterrupted = 130  // Ctrl-C
};

}  // namespace ladarts
