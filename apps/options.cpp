#include "apps/options.h"

#include "core/device.h"
#include "core/error.h"
#include "core/kernel_choice.h"
#include "core/progress.h"
#include "core/thread_pool.h"
#include "predictor/machine.h"

namespace ladarts {

namespace {

std::string check_device(const std::string& name) {
  const bool indexed = name.size() > 5 && name.compare(0, 5, "cuda:") == 0 &&
                       name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (indexed || name == "auto" || name == "cpu" || name == "cuda") return {};
  return "'" + name + "' is not a device; use auto, cpu, cuda or cuda:INDEX";
}

// The library would turn -3 into 18446744073709551613.
std::string check_seed(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? "" : "'" + text + "' is not a seed; give a whole number from 0 to 2^64 - 1";
}

}  // namespace

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--device", options.device, "where to compute: auto, cpu, cuda or cuda:INDEX")
      ->capture_default_str()
      ->check(CLI::Validator(check_device, "DEVICE"))
      ->option_text("DEVICE [auto]")
      ->group("Common options");
  app.add_option("--kernels", options.kernels,
                 "whose kernels an NVIDIA GPU runs: ladarts, cudnn or cublas (or both: cudnn,cublas) where "
                 "that has one, "
                 "or fastest: measured once for each shape and remembered in a file")
      ->option_text("NAME [ladarts]")
      ->group("Common options");
  app.add_option("--kernels-file", options.kernels_file,
                 "with --kernels fastest: where that is remembered, else ~/.cache/ladarts/kernels.json")
      ->option_text("FILE")
      ->group("Common options");
  app.add_flag("--tf32", options.tf32,
               "with other kernels than ladarts': products may round their factors to 11 bits (TF32)")
      ->group("Common options");
  app.add_option("--threads", options.threads, "CPU threads; 0 is one per available core")
      ->check(CLI::Range(0, 1024))
      ->option_text("N [0]")
      ->group("Common options");
  app.add_option("--seed", options.seed, "seed of everything random; same seed, same result")
      ->check(CLI::Validator(check_seed, "SEED"))
      ->each([&options](const std::string&) { options.seed_given = true; })
      ->option_text("N [0]")
      ->group("Common options");
  app.add_flag("--json", options.json, "print the result as one JSON object")->group("Common options");
  app.add_flag("--quiet", options.quiet, "no progress on the terminal")->group("Common options");
}

void apply(const CommonOptions& options) {
  Progress::set_silent(options.quiet);
  ThreadPool::set_global_threads(options.threads);
}

void choose_kernels(const CommonOptions& options) {
  const Device device = Device::parse(options.device);
  const bool own = options.kernels == kOwnKernel;
  require(own || device.kind != DeviceKind::cpu,
          "[kernels] --kernels {} is about NVIDIA GPUs, and this command computes on the CPU; leave it out, "
          "or choose "
          "a GPU (--device cuda; ladarts info lists the devices)",
          options.kernels);
  require(
      !own || !options.tf32,
      "[kernels] --tf32 is for libraries' kernels, ladarts' own are exact; add --kernels cudnn or fastest");
  require(options.kernels == "fastest" || options.kernels_file.empty(),
          "[kernels] --kernels-file is where --kernels fastest keeps its choices; add that, or leave it out");
  if (own) return;
  KernelPolicy policy = KernelPolicy::parse(options.kernels, device.kind);
  policy.tf32 = options.tf32;
  policy.choices =
      options.kernels_file.empty() ? default_kernel_choices() : std::filesystem::path(options.kernels_file);
  policy.build = fmt::format("ladarts {} {}", library_version(), library_commit());
  set_kernel_policy(device.kind, std::move(policy));
}

}  // namespace ladarts
