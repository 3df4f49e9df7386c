// Stands in for a library whose headers the build did not find: asked for, it says so.
#pragma once

#include "core/error.h"
#include "core/kernel_library.h"

namespace ladarts::cuda {

class AbsentLibrary : public KernelLibrary {
 public:
  AbsentLibrary(std::string name, std::string header) : name_(std::move(name)), header_(std::move(header)) {}
  std::string name() const override { return name_; }
  std::string version() override { refuse(); }
  std::string file() override { refuse(); }
  std::vector<std::string> ops() const override { return {}; }
  PreparedKernels prepare(const KernelNode&) override { refuse(); }

 private:
  [[noreturn]] void refuse() const {
    fail(
        "[{}] this build has no {}: it was made without {}, or told to leave it out; install that and run "
        "CMake again",
        name_, name_, header_);
  }
  std::string name_, header_;
};

}  // namespace ladarts::cuda
