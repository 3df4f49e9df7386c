// How long this process's threads were ready to run but had no core: other programs had it, for milliseconds
// at a time, too seldom for a SpeedProbe of a tenth of one to meet them.
#pragma once

#include <memory>
#include <vector>

#include "core/posix_file.h"

namespace ladarts {

class CoreWaiting {
 public:
  // Of the threads that there are now. Where the system does not tell (Linux does:
  // /proc/self/task/*/schedstat), they never wait.
  CoreWaiting();

  double seconds() const;  // sum over the threads since each began
  bool known() const { return !threads_.empty(); }

 private:
  std::vector<std::unique_ptr<FileDescriptor>> threads_;
};

}  // namespace ladarts
