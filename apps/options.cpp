#include "apps/options.h"

#include "core/progress.h"
#include "core/thread_pool.h"

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

}  // namespace ladarts
