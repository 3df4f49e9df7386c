// One op at one point of a grid of shapes, ready to be timed: what `ladarts bench ops` measures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/program.h"

namespace ladarts {

enum class Pass : uint8_t { forward, backward };
const char* to_string(Pass pass);

// Fields that an op does not have keep their value and say nothing.
struct OpPoint {
  std::string op;  // one of op_names()
  int64_t batch = 1, channels = 16, image = 32;
  int kernel = 3, stride = 1, dilation = 1;
  Pass pass = Pass::forward;
  std::string str() const;  // "conv2d n1 c16 32x32 k3 s1 d1 forward"
};

struct OpFields {
  bool image, kernel, stride, dilation;
  bool backward;
};
const std::vector<std::string>& op_names();
OpFields fields_of(const std::string& op);  // throws Error for an unknown op
std::string op_descriptions();              // "conv2d: C to C channels; ..."

// Somebody's implementation of the op at a point, on operands of its own: ours, or another library's beside
// it.
class TimedOp {
 public:
  virtual ~TimedOp() = default;
  virtual double run_us() = 0;    // once; waits until it is done
  virtual Cost cost() const = 0;  // by the op's definition
  virtual size_t scratch_bytes() const = 0;
  virtual std::vector<std::string> kernels() const = 0;  // of the timed nodes: NodeInfo::kernel, each once
};

// By the kernels that the policy chooses. A backward point records the whole op and times the nodes of its
// gradients with respect to the input and all weights; what they need of the forward pass runs before them,
// untimed. Throws Error where the op does not exist at this point.
std::unique_ptr<TimedOp> make_timed_op(const OpPoint& point, Device device, const KernelPolicy& kernels = {});

}  // namespace ladarts
