#include "apps/store_filter_options.h"

#include "predictor/units.h"

namespace ladarts {

void StoreFilterOptions::declare(CLI::App& app) {
  const char* group = "Which rows; all that are given must match";
  auto text = [&](const char* option, std::string& value, const char* help) {
    return app.add_option(option, value, help)->option_text("TEXT")->group(group);
  };
  auto number = [&](const char* option, int& value, const char* help) {
    app.add_option(option, value, help)->check(CLI::NonNegativeNumber)->option_text("N")->group(group);
  };
  text("--metric", metric, "latency, cold_latency, peak_memory, parameters, macs or energy")
      ->check(CLI::IsMember(metric_names()));
  text("--space", space, "name of the search space, as listed");
  text("--network", network, "network around the cells, as listed");
  text("--on", device, "name of the device, as listed");
  text("--kind", kind, "kind of device: cpu, cuda, ...");
  text("--architecture", architecture, "architecture, as the store writes it");
  text("--status", status, "ok, or the text of a failure");
  number("--batch", batch, "images at once");
  number("--image", image, "side of the images");
  number("--measured-threads", threads, "CPU threads");
  number("--replica", replica, "number of the repetition; 0 is the first");
  app.add_option("--id", id, "number of the row, as listed")
      ->check(CLI::PositiveNumber)
      ->option_text("N")
      ->group(group);
}

MeasurementFilter StoreFilterOptions::filter() const {
  MeasurementFilter f;
  auto set = [](const std::string& from, std::optional<std::string>& to) {
    if (!from.empty()) to = from;
  };
  set(metric, f.metric), set(space, f.space), set(network, f.network), set(device, f.device);
  set(kind, f.device_kind), set(status, f.status), set(architecture, f.architecture);
  if (batch > 0) f.batch = batch;
  if (image > 0) f.image_size = image;
  if (threads > 0) f.threads = threads;
  if (replica >= 0) f.replica = replica;
  if (id > 0) f.id = id;
  return f;
}

bool StoreFilterOptions::empty() const {
  return metric.empty() && space.empty() && network.empty() && device.empty() && kind.empty() &&
         status.empty() && architecture.empty() && batch == 0 && image == 0 && threads == 0 && replica < 0 &&
         id == 0;
}

}  // namespace ladarts
