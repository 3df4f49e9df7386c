#include "core/kernel.h"

#include <array>
#include <cstdlib>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ladarts {

namespace {

using KernelTable = std::unordered_map<std::type_index, std::array<Kernel, 3>>;

KernelTable& table() {
  static auto* t = new KernelTable;
  return *t;
}

std::map<std::pair<DeviceKind, std::type_index>, DeviceKernel>& device_table() {
  static auto* t = new std::map<std::pair<DeviceKind, std::type_index>, DeviceKernel>;
  return *t;
}

std::optional<CpuIsa>& chosen_isa() {
  static std::optional<CpuIsa> isa;
  return isa;
}

CpuIsa isa_from_environment() {
  const char* name = std::getenv("LADARTS_ISA");
  if (!name || !*name) return best_cpu_isa();
  for (CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
    if (std::string_view(name) != to_string(isa)) continue;
    require(isa <= best_cpu_isa(), "[isa] LADARTS_ISA={} but this machine supports {} at most", name,
            to_string(best_cpu_isa()));
    return isa;
  }
  fail("[isa] LADARTS_ISA={} is unknown; use baseline, avx2 or avx512", name);
}

// CPUID has a flag for it, AMD's FP512, but virtual machines tend to hide that: by families and models. 19h
// is Zen 4; of Zen 5, 1Ah, models 20h to 2Fh and 60h to 6Fh (Strix Point, Krackan Point) have the halved
// units.
bool machine_has_whole_vectors() {
#if defined(__x86_64__)
  if (best_cpu_isa() != CpuIsa::avx512) return false;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__builtin_cpu_is("amd") || !__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return true;
  const unsigned family = (eax >> 8 & 0xf) + (eax >> 20 & 0xff), series = eax >> 16 & 0xf;  // model / 16
  return family != 0x19 && !(family == 0x1a && (series == 2 || series == 6));
#else
  return false;
#endif
}

bool whole_vectors_from_environment() {
  const char* set = std::getenv("LADARTS_WHOLE_VECTORS");
  if (!set || !*set) return machine_has_whole_vectors();
  const std::string_view value = set;
  require(value == "0" || value == "1", "[isa] LADARTS_WHOLE_VECTORS={} is unknown; use 0 or 1", value);
  return value == "1";
}

}  // namespace

const char* to_string(CpuIsa isa) {
  return isa == CpuIsa::avx512 ? "avx512" : isa == CpuIsa::avx2 ? "avx2" : "baseline";
}

CpuIsa best_cpu_isa() {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("x86-64-v4");
  const bool avx2 = __builtin_cpu_supports("x86-64-v3");
  if (avx512) return CpuIsa::avx512;
  if (avx2) return CpuIsa::avx2;
#endif
  return CpuIsa::baseline;
}

CpuIsa current_cpu_isa() {
  if (!chosen_isa()) chosen_isa() = isa_from_environment();
  return *chosen_isa();
}

void set_cpu_isa(CpuIsa isa) {
  require(isa <= best_cpu_isa(), "[isa] this machine supports {} at most", to_string(best_cpu_isa()));
  chosen_isa() = isa;
}

bool whole_vectors() {
  static const bool whole = whole_vectors_from_environment();
  return whole;
}

void register_cpu_kernel(std::type_index op, CpuIsa isa, Kernel kernel) {
  Kernel& slot = table()[op][size_t(isa)];
  LADARTS_CHECK(slot == nullptr);
  slot = kernel;
}

Kernel find_cpu_kernel(const Op& op, CpuIsa isa) {
  auto it = table().find(typeid(op));
  if (it != table().end())
    for (int i = int(isa); i >= 0; --i)
      if (Kernel kernel = it->second[size_t(i)]) return kernel;
  fail("[{}] has no CPU kernel in this program", op.name());
}

void register_device_kernel(std::type_index op, DeviceKind kind, DeviceKernel kernel) {
  LADARTS_CHECK(kind != DeviceKind::cpu);
  LADARTS_CHECK(device_table().emplace(std::pair(kind, op), kernel).second);
}

const DeviceKernel& find_device_kernel(const Op& op, DeviceKind kind) {
  auto it = device_table().find({kind, typeid(op)});
  require(it != device_table().end(), "[{}] has no kernel for device {} in this program; use --device cpu",
          op.name(), Device{kind}.str());
  return it->second;
}

}  // namespace ladarts
