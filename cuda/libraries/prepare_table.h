// Which ops a library has kernels for, and what prepares them.
#pragma once

#include <string>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include "core/kernel_library.h"

namespace ladarts::cuda {

class PrepareTable {
 public:
  using Prepare = PreparedKernels (*)(const KernelNode&);

  // `names`: Op::name() of each op of the type.
  void add(std::type_index type, const std::vector<std::string>& names, Prepare function) {
    prepare_.emplace(type, function);
    ops_.insert(ops_.end(), names.begin(), names.end());
  }
  const std::vector<std::string>& ops() const { return ops_; }
  PreparedKernels prepare(const KernelNode& node) const {
    const auto it = prepare_.find(typeid(node.op));
    return it == prepare_.end() ? PreparedKernels{} : it->second(node);
  }

 private:
  std::unordered_map<std::type_index, Prepare> prepare_;
  std::vector<std::string> ops_;
};

// At namespace scope, after `PreparedKernels prepare(const Conv2d& op, const KernelNode& node)`:
//   const PrepareRegistration<Conv2d, prepare> registered(cudnn_table(), {"conv2d"});
template <class O, PreparedKernels (*function)(const O&, const KernelNode&)>
struct PrepareRegistration {
  PrepareRegistration(PrepareTable& table, const std::vector<std::string>& names) {
    table.add(typeid(O), names,
              [](const KernelNode& node) { return function(static_cast<const O&>(node.op), node); });
  }
};

}  // namespace ladarts::cuda
