// RAPL: /sys/class/powercap/intel-rapl:0/{name, energy_uj, max_energy_range_uj}, one folder for each package;
// intel-rapl:0:0 is a part of package 0.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/error.h"
#include "predictor/energy.h"

namespace ladarts {

namespace fs = std::filesystem;

namespace {

struct Package {
  std::string name;
  fs::path energy;
  int64_t range_uj = 0;  // the counter goes from here to 0
  int64_t last_uj = 0;
};

int64_t read_number(const fs::path& path) {
  errno = 0;
  std::ifstream file(path);
  int64_t value = -1;
  if (file >> value && value >= 0) return value;
  const int error = errno;
  fail("[energy] {} cannot be read{}{}", path.string(), error ? std::string(": ") + std::strerror(error) : "",
       error == EACCES ? fmt::format("; 'sudo chmod a+r {}' allows it until the next start", path.string())
                       : std::string());
}

class Rapl : public EnergyCounter {
 public:
  explicit Rapl(std::vector<Package> packages) : packages_(std::move(packages)) {
    for (Package& p : packages_) p.last_uj = read_number(p.energy);
  }

  double millijoules() override {
    for (Package& p : packages_) {
      const int64_t now = read_number(p.energy);
      total_uj_ += now >= p.last_uj ? now - p.last_uj : now + p.range_uj - p.last_uj;
      p.last_uj = now;
    }
    return double(total_uj_) * 1e-3;
  }

  std::string name() const override {
    std::string names;
    for (const Package& p : packages_) names += (names.empty() ? "RAPL " : " + ") + p.name;
    return names;
  }

  double update_period_s() const override { return 1e-3; }

 private:
  std::vector<Package> packages_;
  int64_t total_uj_ = 0;
};

}  // namespace

std::unique_ptr<EnergyCounter> open_rapl(const fs::path& root) {
  std::vector<Package> packages;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    const std::string folder = entry.path().filename().string();
    if (folder.rfind("intel-rapl:", 0) != 0 || std::count(folder.begin(), folder.end(), ':') != 1) continue;
    Package p;
    std::ifstream(entry.path() / "name") >> p.name;
    if (p.name.rfind("package", 0) != 0) continue;  // "psys", the whole platform, holds the packages too
    p.energy = entry.path() / "energy_uj";
    p.range_uj = read_number(entry.path() / "max_energy_range_uj");
    packages.push_back(p);
  }
  require(
      !packages.empty(),
      "[energy] this machine shows no energy counter of its CPU: there is no {}/intel-rapl:N of a package. "
      "Virtual machines seldom have one; elsewhere load the kernel module intel_rapl_msr",
      root.string());
  std::sort(packages.begin(), packages.end(),
            [](const Package& a, const Package& b) { return a.name < b.name; });
  return std::make_unique<Rapl>(std::move(packages));
}

}  // namespace ladarts
