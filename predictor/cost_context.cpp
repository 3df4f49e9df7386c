#include "predictor/cost_context.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace ladarts {

std::string CostContext::str() const {
  const std::string program =
      library_version.empty() ? "" : (device_kind == "runner" ? ", by " : ", ladarts ") + library_version;
  if (device_kind == kAnyDevice)
    return fmt::format("{} in {}, {}, {}, {}x{}, on any device{}", metric, unit, space, network, image_size,
                       image_size, program);
  return fmt::format("{} in {}, {}, {}, batch {}, {}x{}, on {} ({}, {} thread{}, {}{}{}){}", metric, unit,
                     space, network, batch, image_size, image_size, device, device_kind, threads,
                     threads == 1 ? "" : "s", isa, isa.empty() ? "" : ", ", precision, program);
}

void to_json(nlohmann::json& j, const CostContext& c) {
  j = {{"metric", c.metric},   {"unit", c.unit},
       {"space", c.space},     {"network", c.network},
       {"batch", c.batch},     {"image_size", c.image_size},
       {"device", c.device},   {"device_kind", c.device_kind},
       {"threads", c.threads}, {"precision", c.precision},
       {"isa", c.isa},         {"library_version", c.library_version}};
}

void from_json(const nlohmann::json& j, CostContext& c) try {
  j.at("metric").get_to(c.metric);
  j.at("unit").get_to(c.unit);
  j.at("space").get_to(c.space);
  j.at("network").get_to(c.network);
  j.at("batch").get_to(c.batch);
  j.at("image_size").get_to(c.image_size);
  j.at("device").get_to(c.device);
  j.at("device_kind").get_to(c.device_kind);
  j.at("threads").get_to(c.threads);
  j.at("precision").get_to(c.precision);
  j.at("isa").get_to(c.isa);
  j.at("library_version").get_to(c.library_version);
} catch (const nlohmann::json::exception& e) {
  fail("[cost context] {}", e.what());
}

}  // namespace ladarts
