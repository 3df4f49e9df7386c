#include "core/kernel_choice.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "core/kernel_memory.h"
#include "core/kernel_timing.h"

namespace ladarts {

namespace {

using Mode = KernelPolicy::Mode;

std::map<DeviceKind, std::map<std::string, std::unique_ptr<KernelLibrary>>>& library_registry() {
  static auto* all = new std::map<DeviceKind, std::map<std::string, std::unique_ptr<KernelLibrary>>>;
  return *all;
}

std::map<DeviceKind, KernelPolicy>& policies() {
  static auto* all = new std::map<DeviceKind, KernelPolicy>;
  return *all;
}

KernelLibrary& find_library(DeviceKind kind, const std::string& name) {
  std::string known;
  for (KernelLibrary* library : kernel_libraries(kind)) {
    if (library->name() == name) return *library;
    known += ", " + library->name();
  }
  fail("[kernels] '{}' is unknown for device {}; use {}{}{}", name, Device{kind}.str(), kOwnKernel, known,
       known.empty() ? "" : " or fastest");
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> list;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    list.emplace_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

// All that were found. Throws Error where none was.
std::vector<std::string> libraries_found(DeviceKind kind) {
  std::vector<std::string> found;
  std::string missing;
  for (KernelLibrary* library : kernel_libraries(kind)) try {
      library->version();
      found.push_back(library->name());
    } catch (const Error& e) {
      missing += fmt::format("; {}", e.what());
    }
  require(!found.empty(), "[kernels] there is nothing to choose the fastest from but the kernels of {}{}",
          kOwnKernel, missing);
  return found;
}

// "NVIDIA H100, compute capability 9.0, driver CUDA 13.0": what times depend on.
std::string device_text(Device device) {
  std::string text;
  for (const auto& [what, value] : device_backend(device.kind)->describe(device))
    if (what == "name" || what == "compute capability" || what == "driver")
      text += (text.empty() ? "" : ", ") + (what == "name" ? value : what + " " + value);
  return text.empty() ? device.str() : text;
}

std::string node_text(const KernelNode& node, const std::string& parameters) {
  std::string text = std::string(node.op.name());
  if (!parameters.empty()) text += " " + parameters;
  for (const Shape& s : node.shapes.inputs) text += " " + s.str();
  text += " ->";
  for (size_t i = 0; i < node.shapes.outputs.size(); ++i)
    text += (node.accumulates[i] ? " +" : " ") + node.shapes.outputs[i].str();
  return node.tf32 ? text + " tf32" : text;
}

ChosenKernel own_kernel(const KernelNode& node) {
  const DeviceKernel& kernel = find_device_kernel(node.op, node.device.kind);
  return {.own = kernel.run,
          .prepared = nullptr,
          .workspace_bytes = kernel.workspace ? kernel.workspace(node.op, node.shapes) : 0};
}

ChosenKernel library_kernel(std::shared_ptr<PreparedKernel> prepared) {
  const size_t bytes = prepared->workspace_bytes();
  return {.own = nullptr, .prepared = std::move(prepared), .workspace_bytes = bytes};
}

ChosenKernel fastest_kernel(const KernelNode& node, const KernelPolicy& policy, DeviceStream* stream) {
  std::vector<ChosenKernel> kernels{own_kernel(node)};
  std::string parameters;
  for (const std::string& name : policy.libraries) {
    PreparedKernels some = find_library(node.device.kind, name).prepare(node);
    if (!some.kernels.empty()) parameters = some.parameters;
    for (auto& k : some.kernels) kernels.push_back(library_kernel(std::move(k)));
  }
  if (kernels.size() == 1) return kernels[0];
  const std::string machine =
      fmt::format("{}; {}; {}", device_text(node.device), policy.str(node.device.kind), policy.build);
  const std::string text = node_text(node, parameters);
  KernelMemory& memory = kernel_memory(policy.choices);
  if (const auto known = memory.find(machine, text)) {
    for (const ChosenKernel& k : kernels)
      if (k.name() == known->kernel) return k;
  }
  const std::vector<double> us = time_kernels(node, kernels, stream);
  KernelMemory::Entry entry;
  for (size_t i = 0; i < kernels.size(); ++i) entry.us[kernels[i].name()] = us[i];
  const size_t best = size_t(std::min_element(us.begin(), us.end()) - us.begin());
  entry.kernel = kernels[best].name();
  memory.keep(machine, text, std::move(entry));
  return kernels[best];
}

}  // namespace

void register_kernel_library(DeviceKind kind, std::unique_ptr<KernelLibrary> library) {
  const std::string name = library->name();
  LADARTS_CHECK(library_registry()[kind].emplace(name, std::move(library)).second);
}

std::vector<KernelLibrary*> kernel_libraries(DeviceKind kind) {
  std::vector<KernelLibrary*> all;
  for (const auto& [name, library] : library_registry()[kind]) all.push_back(library.get());
  return all;
}

KernelPolicy KernelPolicy::parse(std::string_view names, DeviceKind kind) {
  KernelPolicy policy;
  if (names == kOwnKernel) return policy;
  if (names == "fastest") {
    policy.mode = Mode::fastest;
    policy.libraries = libraries_found(kind);
    return policy;
  }
  policy.mode = Mode::libraries;
  policy.libraries = split_names(names);
  for (const std::string& name : policy.libraries) find_library(kind, name).version();
  return policy;
}

std::string KernelPolicy::str(DeviceKind kind) const {
  if (mode == Mode::own) return {};
  std::string text = mode == Mode::fastest ? fmt::format("fastest of {}", kOwnKernel) : "";
  for (const std::string& name : libraries)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, find_library(kind, name).version());
  return text;
}

void set_kernel_policy(DeviceKind kind, KernelPolicy policy) {
  policies()[kind] = std::move(policy);
}

const KernelPolicy& kernel_policy(DeviceKind kind) {
  return policies()[kind];
}

std::filesystem::path default_kernel_choices() {
  const auto folder = [](const char* variable) {
    const char* value = std::getenv(variable);
    return std::filesystem::path(value ? value : "");
  };
  if (const auto cache = folder("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "ladarts" / "kernels.json";
  if (const auto home = folder("HOME"); home.is_absolute())
    return home / ".cache" / "ladarts" / "kernels.json";
  return {};
}

ChosenKernel choose_kernel(const KernelNode& node, const KernelPolicy& policy, DeviceStream* stream) {
  if (policy.mode == Mode::fastest) return fastest_kernel(node, policy, stream);
  for (const std::string& name : policy.libraries) {
    PreparedKernels some = find_library(node.device.kind, name).prepare(node);
    if (!some.kernels.empty()) return library_kernel(std::move(some.kernels.front()));
  }
  return own_kernel(node);
}

void save_kernel_choices(const KernelPolicy& policy) {
  if (policy.mode == Mode::fastest) kernel_memory(policy.choices).save();
}

}  // namespace ladarts
