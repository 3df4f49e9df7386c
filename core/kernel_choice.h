// Which kernel each node of a program gets on a device that has libraries beside the project's own kernels.
// It is decided by compile(), so that it is the same in every run of a program.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/kernel_library.h"

namespace ladarts {

struct KernelPolicy {
  enum class Mode : uint8_t {
    own,        // the project's kernels
    libraries,  // those of `libraries` where they have one for the node, the project's elsewhere
    fastest     // of all that there are, the one that took least time when measured for the node's shapes
  };
  Mode mode = Mode::own;
  std::vector<std::string> libraries = {};  // by falling precedence; fastest: those that were found
  bool tf32 = false;                        // see KernelNode::tf32
  // What fastest measured, kept for other programs; empty: forgotten when the process ends. The file holds
  // measurements of several devices, versions and builds; only those of this device, these libraries and this
  // `build` count.
  std::filesystem::path choices = {};
  std::string build = {};  // "0.1.0 4abe659"

  // "ladarts", "fastest", or libraries: "cudnn", "cudnn,cublas". Throws Error for another name, and where a
  // library (fastest: each of them) is missing, saying what is missing.
  static KernelPolicy parse(std::string_view names, DeviceKind kind);
  // What costs measured under this policy depend on: "cudnn 9.19.0, cublas 13.1.0", "fastest of ladarts,
  // cudnn 9.19.0". Empty for the project's own.
  std::string str(DeviceKind kind) const;
};

// Of programs that are compiled from now on, unless CompileOptions say otherwise.
void set_kernel_policy(DeviceKind kind, KernelPolicy policy);
const KernelPolicy& kernel_policy(DeviceKind kind);

// $XDG_CACHE_HOME/ladarts/kernels.json, or that under ~/.cache. Empty where neither is known.
std::filesystem::path default_kernel_choices();

inline constexpr const char* kOwnKernel = "ladarts";  // name of the project's own kernels

struct ChosenKernel {
  Kernel own = nullptr;                      // unless `prepared`
  std::shared_ptr<PreparedKernel> prepared;  // a library's
  size_t workspace_bytes = 0;

  std::string name() const { return prepared ? prepared->name() : kOwnKernel; }
  void run(const Op& op, const KernelArgs& args) const {
    if (prepared)
      prepared->run(op, args);
    else
      own(op, args);
  }
};

// For a node of a device other than the CPU. Throws Error where the op has no kernel there. `stream` is the
// device's; null where kernels have finished when they return.
ChosenKernel choose_kernel(const KernelNode& node, const KernelPolicy& policy, DeviceStream* stream);
// What was measured meanwhile, into the policy's file.
void save_kernel_choices(const KernelPolicy& policy);

}  // namespace ladarts
