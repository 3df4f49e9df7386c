#include "predictor/machine.h"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include <fmt/format.h>

#include "core/affinity.h"
#include "core/kernel_choice.h"
#include "ladarts_commit.h"

namespace ladarts {

namespace {

std::string trimmed(std::string s) {
  const auto begin = s.find_first_not_of(" \t\n");
  if (begin == std::string::npos) return "";
  return s.substr(begin, s.find_last_not_of(" \t\n") - begin + 1);
}

// The value of the first of these keys in /proc/cpuinfo's "key : value" lines.
std::string cpuinfo(std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      const auto colon = line.find(':');
      if (colon != std::string::npos && trimmed(line.substr(0, colon)) == key)
        return trimmed(line.substr(colon + 1));
    }
  }
  return "";
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return trimmed(line);
}

double number(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

double clock_mhz(const std::filesystem::path& system) {
  double sum = 0;
  int cores = 0;
  for (const int core : cores_by_preference(system)) {
    const double khz =
        number(first_line(system / fmt::format("devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", core)));
    sum += khz / 1e3;
    cores += khz > 0;
  }
  return cores > 0 ? sum / cores : number(cpuinfo({"cpu MHz"}));
}

// Names of drivers and zones that measure a CPU: "coretemp", "k10temp", "zenpower", "cpu_thermal",
// "x86_pkg_temp".
bool is_cpu_sensor(const std::string& name) {
  for (const char* part : {"coretemp", "k10temp", "zenpower", "cpu", "x86_pkg"})
    if (name.find(part) != std::string::npos) return true;
  return false;
}

// The hottest of all inputs class/GROUP/*/PREFIX*SUFFIX, in thousandths of a degree, of the sensors whose
// name is in NAME_FILE: {of CPUs, of all}.
std::pair<double, double> hottest(const std::filesystem::path& group, const std::string& name_file,
                                  const std::string& prefix, const std::string& suffix) {
  std::pair<double, double> found{0, 0};
  std::error_code error;
  for (const auto& sensor : std::filesystem::directory_iterator(group, error)) {
    const bool cpu = is_cpu_sensor(first_line(sensor.path() / name_file));
    std::error_code unreadable;
    for (const auto& input : std::filesystem::directory_iterator(sensor.path(), unreadable)) {
      const std::string name = input.path().filename().string();
      if (name.rfind(prefix, 0) != 0 || name.size() < suffix.size() ||
          name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
        continue;
      const double celsius = number(first_line(input.path())) / 1e3;
      if (cpu) found.first = std::max(found.first, celsius);
      found.second = std::max(found.second, celsius);
    }
  }
  return found;
}

double temperature_c(const std::filesystem::path& system) {
  const auto monitors = hottest(system / "class/hwmon", "name", "temp", "_input");
  const auto zones = hottest(system / "class/thermal", "type", "temp", "");
  const double cpu = std::max(monitors.first, zones.first);
  return cpu > 0 ? cpu : std::max(monitors.second, zones.second);
}

// The family tells CPUs apart whose model name is cut short ("AMD EPYC" in some virtual machines).
std::string cpu_name() {
  const std::string name = cpuinfo({"model name", "Model", "Hardware", "cpu model"});
  if (name.empty()) return "unknown";
  const std::string family = cpuinfo({"cpu family"}), model = cpuinfo({"model"});
  return family.empty() || model.empty() ? name : name + " (family " + family + " model " + model + ")";
}

int available_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace

Machine this_machine() {
  Machine m;
  m.cpu = cpu_name();
  m.cores = available_cores();
  m.isa = to_string(current_cpu_isa());
  m.clock_mhz = clock_mhz("/sys");
  m.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  utsname name{};
  if (uname(&name) == 0) {
    m.os = std::string(name.sysname) + " " + name.release + " " + name.machine;
    m.hostname = name.nodename;
  }
  return m;
}

MachineState machine_state(const std::filesystem::path& system) {
  return {.clock_mhz = clock_mhz(system), .temperature_c = temperature_c(system)};
}

std::string library_version() {
  return LADARTS_VERSION;
}

std::string library_commit() {
  return LADARTS_COMMIT;
}

void describe_device(CostContext& context, Device device, int threads) {
  context.library_version = library_version();
  if (context.device_kind == kAnyDevice) return;
  if (device.kind == DeviceKind::cuda) {
    for (const auto& [what, value] : device_backend(device.kind)->describe(device)) {
      if (what == "name") context.device = value;
      if (what == "compute capability") context.isa = "compute capability " + value;
    }
    const KernelPolicy& policy = kernel_policy(device.kind);
    if (const std::string kernels = policy.str(device.kind); !kernels.empty())
      context.isa += (context.isa.empty() ? "" : ", ") + kernels;
    if (policy.tf32) context.precision = "tf32";
    context.device_kind = "cuda";
    context.threads = 1;
    return;
  }
  const Machine m = this_machine();
  context.device = m.cpu;
  context.device_kind = "cpu";
  context.threads = threads;
  context.isa = m.isa;
}

}  // namespace ladarts
