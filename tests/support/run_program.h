// Runs the real program, as a user would, and keeps what it printed.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/json_file.h"
#include "tests/support/temp_folder.h"

namespace ladarts {

struct ProgramResult {
  int code = 0;  // exit status; 128 + signal where a signal ended it
  std::string out, err;

  Json json() const { return parse_json(out, "standard output"); }
};

class RunningProgram {
 public:
  // `program` is LADARTS_PROGRAM; `folder` is its working directory where given.
  RunningProgram(const std::string& program, const std::vector<std::string>& arguments,
                 const std::filesystem::path& folder = {});
  ~RunningProgram();  // kills what still runs
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void signal(int number);
  bool running();
  std::string err_so_far() const;
  // Waits; throws Error after `timeout_s`.
  ProgramResult wait(double timeout_s = 300);

 private:
  bool reap();
  TempFolder output_;
  pid_t child_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

inline ProgramResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                                 const std::filesystem::path& folder = {}) {
  return RunningProgram(program, arguments, folder).wait();
}

}  // namespace ladarts
