// Energy of something that runs repeatedly, from counters of the machine. Nothing is estimated: where a
// counter is absent or unreadable, opening it throws Error saying what is missing.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/device.h"

namespace ladarts {

class EnergyCounter {
 public:
  virtual ~EnergyCounter() = default;
  // What the device has used since the counter was opened. Call it more often than the hardware's register
  // wraps around (RAPL: minutes); one wrap-around between two calls is noticed. Throws Error.
  virtual double millijoules() = 0;
  virtual std::string name() const = 0;        // "RAPL package-0 + package-1"
  virtual double update_period_s() const = 0;  // how often the hardware brings it up to date
};

// All CPU packages of the machine (intel-rapl, which AMD processors have too); their memory is not included,
// other programs are. `root` is for tests.
std::unique_ptr<EnergyCounter> open_rapl(const std::filesystem::path& root = "/sys/class/powercap");
// The whole board of one NVIDIA GPU, named by its PCI bus id ("0000:3b:00.0"); since Volta.
std::unique_ptr<EnergyCounter> open_nvml(const std::string& pci_bus_id,
                                         const std::string& library = "libnvidia-ml.so.1");
// The one of this device.
std::unique_ptr<EnergyCounter> open_energy_counter(Device device);

struct EnergyOptions {
  double warmup_s = 0.3;
  int windows = 5;         // each gives one figure; the median counts
  double window_s = 0;     // 0: 250 update periods, so that one period more or less is 0.4%, at most 5 s
  double patience_s = 10;  // a counter that stands still for longer is an error
  std::function<double()> now = {};  // seconds, for tests; the monotonic clock if not given
};

struct EnergyReading {
  double median_mj = 0;  // of a run, over the windows
  double relative_spread = 0;
  double min_mj = 0;
  double mean_mj = 0;
  int windows = 0;
  int warmup_runs = 0;
  int64_t runs = 0;  // in all windows
  double watts = 0;  // on average over all windows
};

// Calls run(), which returns when its work is done, again and again. A window begins and ends where the
// counter moves on, so that it holds whole update periods.
EnergyReading measure_energy(const std::function<void()>& run, EnergyCounter& counter,
                             const EnergyOptions& options = {});

}  // namespace ladarts
