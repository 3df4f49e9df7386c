#include "predictor/energy.h"

#include <unistd.h>

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
namespace fs = std::filesystem;

namespace {

// A folder like /sys/class/powercap.
class FakeSysfs {
 public:
  void zone(const std::string& folder, const std::string& name, int64_t energy_uj, int64_t range_uj) {
    fs::create_directories(root() / folder);
    std::ofstream(root() / folder / "name") << name << '\n';
    std::ofstream(root() / folder / "max_energy_range_uj") << range_uj << '\n';
    set(folder, energy_uj);
  }
  void set(const std::string& folder, int64_t energy_uj) const {
    std::ofstream(root() / folder / "energy_uj") << energy_uj << '\n';
  }
  fs::path root() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

// Time passes by running; the counter moves on every 1 ms.
struct FakeMachine : EnergyCounter {
  double time = 100, watts = 20;
  bool stuck = false;
  double millijoules() override { return stuck ? 0 : std::floor((time - 100) * 1e3) * watts; }
  std::string name() const override { return "fake"; }
  double update_period_s() const override { return 1e-3; }
};

}  // namespace

TEST_CASE("energy: RAPL packages are added up, through a wrap-around", "[predictor][energy]") {
  FakeSysfs sysfs;
  sysfs.zone("intel-rapl:0", "package-0", 900, 1000);
  sysfs.zone("intel-rapl:0:0", "core", 7, 1000);
  sysfs.zone("intel-rapl:1", "package-1", 0, 1000);
  sysfs.zone("intel-rapl:2", "psys", 5, 1000);
  sysfs.zone("intel-rapl-mmio:0", "package-0", 5, 1000);
  const auto counter = open_rapl(sysfs.root());
  CHECK(counter->name() == "RAPL package-0 + package-1");
  CHECK(counter->millijoules() == 0);
  sysfs.set("intel-rapl:0", 950);
  sysfs.set("intel-rapl:0:0", 500);
  sysfs.set("intel-rapl:1", 20);
  CHECK(counter->millijoules() == Approx(0.070));
  sysfs.set("intel-rapl:0", 30);  // 80 beyond 950
  CHECK(counter->millijoules() == Approx(0.150));
  CHECK(counter->millijoules() == Approx(0.150));
}

TEST_CASE("energy: what is missing is said", "[predictor][energy]") {
  FakeSysfs sysfs;
  CHECK_THROWS_WITH(open_rapl(sysfs.root() / "none"), ContainsSubstring("no energy counter of its CPU"));
  CHECK_THROWS_WITH(open_rapl(sysfs.root()), ContainsSubstring("intel_rapl_msr"));
  sysfs.zone("intel-rapl:0", "package-0", 1, 1000);
  const auto counter = open_rapl(sysfs.root());
  std::ofstream(sysfs.root() / "intel-rapl:0/energy_uj") << "nonsense";
  CHECK_THROWS_WITH(counter->millijoules(), ContainsSubstring("energy_uj cannot be read"));
  fs::remove(sysfs.root() / "intel-rapl:0/energy_uj");
  CHECK_THROWS_WITH(open_rapl(sysfs.root()), ContainsSubstring("No such file"));
  if (geteuid() != 0) {  // root may read anything
    sysfs.set("intel-rapl:0", 5);
    fs::permissions(sysfs.root() / "intel-rapl:0/energy_uj", fs::perms::none);
    CHECK_THROWS_WITH(open_rapl(sysfs.root()), ContainsSubstring("chmod a+r"));
  }
  CHECK_THROWS_WITH(open_nvml("0000:00:00.0", "libno-such-nvml.so.1"),
                    ContainsSubstring("comes with the NVIDIA driver"));
}

TEST_CASE("energy: NVML's counter is found by the GPU's bus and counts from its opening",
          "[predictor][energy]") {
  const auto counter = open_nvml("0000:3b:00.0", LADARTS_FAKE_NVML);
  CHECK(counter->millijoules() == 5);
  CHECK(counter->millijoules() == 10);
  CHECK_THAT(counter->name(), ContainsSubstring("0000:3b:00.0"));
  CHECK_THROWS_WITH(open_nvml("0000:99:00.0", LADARTS_FAKE_NVML), ContainsSubstring("Not Found"));
}

TEST_CASE("energy: power times time of a run, whatever the counter's steps", "[predictor][energy]") {
  for (const double run_s : {13e-6, 0.37e-3, 5.3e-3}) {
    FakeMachine machine;
    EnergyOptions options;
    options.now = [&] { return machine.time; };
    int64_t runs = 0;
    const EnergyReading e = measure_energy([&] { machine.time += run_s, ++runs; }, machine, options);
    INFO(run_s);
    CHECK(e.median_mj == Approx(machine.watts * run_s * 1e3).epsilon(0.005));
    CHECK(e.watts == Approx(machine.watts).epsilon(0.005));
    CHECK(e.windows == 5);
    CHECK(e.runs + e.warmup_runs == runs);
    CHECK(double(e.runs) * run_s == Approx(5 * 0.25).epsilon(0.03));
    CHECK(double(e.warmup_runs) * run_s >= 0.3);
  }
}

TEST_CASE("energy: a counter that stands still is an error", "[predictor][energy]") {
  FakeMachine machine;
  machine.stuck = true;
  EnergyOptions options;
  options.now = [&] { return machine.time; };
  CHECK_THROWS_WITH(measure_energy([&] { machine.time += 0.01; }, machine, options),
                    ContainsSubstring("has not changed"));
}
