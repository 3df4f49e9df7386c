// NVML, the library of the NVIDIA driver. It is loaded when asked for, and the few functions that are needed
// are declared here, so neither a toolkit nor a driver is needed to build or start.
#include <dlfcn.h>

#include "core/error.h"
#include "predictor/energy.h"

namespace ladarts {

namespace {

using Status = int;  // nvmlReturn_t; 0 is success
using DeviceHandle = struct nvmlDevice_st*;

struct Nvml {
  void* library = nullptr;
  Status (*init)() = nullptr;
  Status (*shutdown)() = nullptr;
  const char* (*error_string)(Status) = nullptr;
  Status (*device_by_pci)(const char*, DeviceHandle*) = nullptr;
  Status (*total_energy)(DeviceHandle, unsigned long long* millijoules) = nullptr;

  void check(Status status, const std::string& what) const {
    require(status == 0, "[energy] {}: NVML says {}", what, error_string(status));
  }
};

template <class F>
void find(const Nvml& nvml, const std::string& path, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(nvml.library, name));
  require(function != nullptr, "[energy] {} has no {}; update the NVIDIA driver", path, name);
}

class NvmlCounter : public EnergyCounter {
 public:
  NvmlCounter(const std::string& pci, const std::string& path) : pci_(pci) {
    nvml_.library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!nvml_.library) {
      const char* reason = dlerror();
      fail("[energy] {} cannot be loaded ({}); it comes with the NVIDIA driver", path,
           reason ? reason : "no reason given");
    }
    try {
      find(nvml_, path, "nvmlInit_v2", nvml_.init);
      find(nvml_, path, "nvmlShutdown", nvml_.shutdown);
      find(nvml_, path, "nvmlErrorString", nvml_.error_string);
      find(nvml_, path, "nvmlDeviceGetHandleByPciBusId_v2", nvml_.device_by_pci);
      find(nvml_, path, "nvmlDeviceGetTotalEnergyConsumption", nvml_.total_energy);
      nvml_.check(nvml_.init(), "starting");
      initialised_ = true;
      nvml_.check(nvml_.device_by_pci(pci.c_str(), &device_), "finding the GPU at " + pci);
      start_mj_ = read();
    } catch (...) {
      close();
      throw;
    }
  }
  ~NvmlCounter() override { close(); }

  double millijoules() override { return double(read() - start_mj_); }  // 64 bits: never wraps
  std::string name() const override { return "NVML total energy of the GPU at " + pci_; }
  double update_period_s() const override { return 20e-3; }

 private:
  unsigned long long read() const {
    unsigned long long mj = 0;
    nvml_.check(nvml_.total_energy(device_, &mj),
                "reading the energy counter of the GPU at " + pci_ + " (GPUs before Volta have none)");
    return mj;
  }
  void close() {
    if (initialised_) nvml_.shutdown();
    if (nvml_.library) dlclose(nvml_.library);
  }

  std::string pci_;
  Nvml nvml_;
  bool initialised_ = false;
  DeviceHandle device_ = nullptr;
  unsigned long long start_mj_ = 0;
};

}  // namespace

std::unique_ptr<EnergyCounter> open_nvml(const std::string& pci_bus_id, const std::string& library) {
  return std::make_unique<NvmlCounter>(pci_bus_id, library);
}

}  // namespace ladarts
