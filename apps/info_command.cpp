#include <sqlite3.h>

#include <fstream>

#include "apps/command.h"
#include "apps/format.h"
#include "core/device.h"
#include "core/error.h"
#include "core/kernel_choice.h"
#include "core/thread_pool.h"
#include "nas/search_space.h"
#include "predictor/energy.h"
#include "predictor/machine.h"

namespace ladarts {
namespace {

Json describe_devices() {
  Json devices = Json::array();
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda}) {
    const DeviceBackend* backend = device_backend(kind);
    for (int i = 0; backend && i < backend->device_count(); ++i) devices.push_back(Device{kind, i}.str());
  }
  return devices;
}

// What became of CUDA: "not in this build", "no NVIDIA driver", or each GPU with its facts.
Json describe_cuda() {
  const DeviceBackend* cuda = device_backend(DeviceKind::cuda);
  if (!cuda) return "not in this build";
  if (cuda->device_count() == 0) return cuda->what_is_missing();
  Json gpus = Json::object();
  for (int i = 0; i < cuda->device_count(); ++i) {
    const Device device{DeviceKind::cuda, i};
    for (const auto& [what, value] : cuda->describe(device)) gpus[device.str()][what] = value;
  }
  return gpus;
}

// What each library beside our kernels offers to GPUs: its version and ops, or what is missing.
Json describe_kernel_libraries() {
  Json libraries = Json::object();
  for (KernelLibrary* library : kernel_libraries(DeviceKind::cuda)) try {
      libraries[library->name()] = {
          {"version", library->version()}, {"file", library->file()}, {"ops", library->ops()}};
    } catch (const Error& e) {
      libraries[library->name()] = {{"missing", e.what()}};
    }
  return libraries;
}

Json describe_libraries() {
  return {{"fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"nlohmann_json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                        NLOHMANN_JSON_VERSION_PATCH)},
          {"sqlite", sqlite3_libversion()},
          {"cli11", CLI11_VERSION}};
}

// "MemTotal" or "MemAvailable" of this machine; 0 where the system does not say.
int64_t memory_bytes(const std::string& key) {
  std::ifstream file("/proc/meminfo");  // "MemTotal:       16384256 kB"
  std::string name, unit;
  for (int64_t kibibytes = 0; file >> name >> kibibytes;) {
    if (name == key + ":") return kibibytes * 1024;
    std::getline(file, unit);
  }
  return 0;
}

std::string gibibytes(const Json& bytes) {
  return fmt::format("{:.1f} GiB", bytes.get<double>() / (1 << 30));
}

// "RAPL package-0", or what is missing.
Json describe_energy_counter(Device device) {
  try {
    return {{"readable", true}, {"counter", open_energy_counter(device)->name()}};
  } catch (const Error& e) {
    return {{"readable", false}, {"missing", e.what()}};
  }
}

Json describe_energy_counters() {
  Json counters = Json::object();
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda}) {
    const DeviceBackend* backend = device_backend(kind);
    const int count = kind == DeviceKind::cpu ? 1 : backend ? backend->device_count() : 0;
    for (int i = 0; i < count; ++i) counters[Device{kind, i}.str()] = describe_energy_counter({kind, i});
  }
  return counters;
}

class InfoCommand : public Command {
 public:
  std::string name() const override { return "info"; }
  std::string summary() const override {
    return "show the machine, its devices, and what this program was built with";
  }
  std::string example() const override {
    return "ladarts info --json\nladarts info --space darts >my_space.json    # a form to change and give to "
           "--space";
  }
  void declare(CLI::App& app) override {
    app.add_option("--space", space_, "print a search space as JSON instead: darts, nasbench201 or a file")
        ->option_text("NAME|FILE");
  }

  Json run(const CommonOptions& common) override {
    if (!space_.empty()) return Json::parse(SearchSpace::load(space_).to_json());
    const Machine machine = this_machine();
    return {{"ladarts", library_version()},
            {"commit", library_commit()},
            {"build", {{"type", LADARTS_BUILD_TYPE}, {"compiler", LADARTS_COMPILER}}},
            {"device", Device::parse(common.device).str()},
            {"devices", describe_devices()},
            {"cuda", describe_cuda()},
            {"kernel_libraries", describe_kernel_libraries()},
            {"cpu", machine.cpu},
            {"clock", {{"mhz", machine.clock_mhz}, {"governor", machine.governor}}},
            {"energy_counters", describe_energy_counters()},
            {"cores", machine.cores},
            {"threads", ThreadPool::global().threads()},
            {"isa",
             {{"used", to_string(current_cpu_isa())},
              {"best", to_string(best_cpu_isa())},
              {"whole_vectors", whole_vectors()}}},
            {"memory_bytes",
             {{"available", memory_bytes("MemAvailable")}, {"machine", memory_bytes("MemTotal")}}},
            {"operating_system", machine.os},
            {"libraries", describe_libraries()}};
  }

  std::string text(const Json& r) const override {
    if (!space_.empty()) return r.dump(2) + "\n";
    std::string out;
    auto line = [&](const char* name, const std::string& value) {
      out += fmt::format("{:<18}{}\n", name, value);
    };
    line("ladarts", fmt::format("{} (commit {}, {}, {})", text_of(r["ladarts"]), text_of(r["commit"]),
                                text_of(r["build"]["type"]), text_of(r["build"]["compiler"])));
    std::string devices;
    for (const Json& d : r["devices"]) devices += (devices.empty() ? "" : ", ") + text_of(d);
    line("devices", fmt::format("{} (used: {})", devices, text_of(r["device"])));
    if (r["cuda"].is_string()) line("cuda", text_of(r["cuda"]));
    if (r["cuda"].is_object())
      for (const auto& [device, facts] : r["cuda"].items()) {
        std::string all;
        for (const auto& [what, value] : facts.items())
          all += (all.empty() ? "" : ", ") + what + " " + text_of(value);
        line(device.c_str(), all);
      }
    for (const auto& [name, library] : r["kernel_libraries"].items()) {
      std::string ops;
      for (const Json& op : library.value("ops", Json::array()))
        ops += (ops.empty() ? "" : ", ") + text_of(op);
      line(name.c_str(),
           library.contains("missing")
               ? text_of(library["missing"])
               : fmt::format("{} ({}) for {}", text_of(library["version"]), text_of(library["file"]), ops));
    }
    line("cpu", text_of(r["cpu"]));
    const std::string governor = text_of(r["clock"]["governor"]);
    line("clock", fmt::format("{:.0f} MHz now, governor {}", r["clock"]["mhz"].get<double>(),
                              governor.empty() ? "unknown" : governor));
    for (const auto& [device, counter] : r["energy_counters"].items())
      line(("energy of " + device).c_str(),
           text_of(counter["readable"].get<bool>() ? counter["counter"] : counter["missing"]));
    line("cores", fmt::format("{}", r["cores"].get<int>()));
    line("threads", fmt::format("{}", r["threads"].get<int>()));
    const Json& isa = r["isa"];
    line("instruction set",
         fmt::format("{} (best of this machine: {}{})", text_of(isa["used"]), text_of(isa["best"]),
                     isa["best"] != "avx512"            ? ""
                     : isa["whole_vectors"].get<bool>() ? ", vectors of 64 bytes executed whole"
                                                        : ", vectors of 64 bytes executed in halves"));
    line("memory", gibibytes(r["memory_bytes"]["available"]) + " available of " +
                       gibibytes(r["memory_bytes"]["machine"]));
    line("operating system", text_of(r["operating_system"]));
    std::string libraries;
    for (const auto& [name, version] : r["libraries"].items())
      libraries += (libraries.empty() ? "" : ", ") + name + " " + text_of(version);
    line("libraries", libraries);
    return out;
  }

 private:
  std::string space_;
};

}  // namespace

std::unique_ptr<Command> make_info_command() {
  return std::make_unique<InfoCommand>();
}

}  // namespace ladarts
