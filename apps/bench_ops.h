// `ladarts bench ops`: single ops over a grid of shapes.
#pragma once

#include <string>
#include <vector>

#include "apps/op_bench.h"
#include "apps/options.h"
#include "core/json_file.h"

namespace ladarts {

class BenchOps {
 public:
  void declare(CLI::App& app);  // the subcommand's own options
  // Every point of the grid; points where an op does not exist are listed with the reason. Throws Error where
  // an option concerns none of the ops or no point is left; Interrupted.
  Json run(const CommonOptions& common) const;
  std::string text(const Json& result) const;

 private:
  void require_concerned(const char* option, const CLI::Option* given, bool OpFields::*field) const;
  std::vector<OpPoint> points() const;

  std::vector<std::string> ops_ = {"conv2d", "depthwise", "pointwise"};
  std::vector<int64_t> channels_ = {16, 32, 64}, images_ = {32}, batches_ = {1};
  std::vector<int> kernels_ = {3}, strides_ = {1}, dilations_ = {1};
  std::string pass_ = "forward";
  int repeats_ = 50;
  const CLI::Option *image_ = nullptr, *kernel_ = nullptr, *stride_ = nullptr, *dilation_ = nullptr;
};

}  // namespace ladarts
