#include "nas/run_folder.h"

#include "core/error.h"
#include "core/kernel_choice.h"

namespace ladarts {

namespace {

constexpr const char* kCheckpoint = "checkpoint.safetensors";

}  // namespace

Json device_fields(Device device) {
  Json fields{{"device", device.str()}};
  const KernelPolicy& policy = kernel_policy(device.kind);
  std::string kernels = policy.str(device.kind);
  if (policy.tf32) kernels += kernels.empty() ? "tf32" : ", tf32";
  if (!kernels.empty()) fields["kernels"] = kernels;
  return fields;
}

std::string first_difference(const Json& here, const Json& asked, const std::string& where) {
  if (here == asked) return {};
  if (here.is_object() && asked.is_object()) {
    for (const auto& [key, value] : asked.items()) {
      const std::string name = where.empty() ? key : where + "." + key;
      if (!here.contains(key)) return name + ": absent here, " + to_json_line(value) + " asked for";
      if (std::string d = first_difference(here[key], value, name); !d.empty()) return d;
    }
    for (const auto& [key, value] : here.items())
      if (!asked.contains(key))
        return (where.empty() ? key : where + "." + key) + ": " + to_json_line(value) +
               " here, not asked for";
    return {};  // the order of keys alone
  }
  return fmt::format("{}: {} here, {} asked for", where.empty() ? "value" : where,
                     to_json_line(here).substr(0, 80), to_json_line(asked).substr(0, 80));
}

RunFolder::RunFolder(std::filesystem::path path, Json config)
    // Through text and back, so that both sides have the number types of a file.
    : path_(std::move(path)), config_(Json::parse(config.dump())) {
  std::error_code ec;
  std::filesystem::create_directories(path_, ec);
  require(!ec, "{}: cannot make the run's folder: {}; choose another --out", path_.string(), ec.message());
  if (!has("config.json")) return;
  const std::string difference = first_difference(read_json_file(file("config.json")), config_);
  require(difference.empty(),
          "{}: holds a run with another configuration ({}); choose another folder or remove it",
          path_.string(), difference);
}

void RunFolder::claim() const {
  if (!has("config.json")) write_json_file(file("config.json"), config_);
}

void RunFolder::save_checkpoint(const NamedStorages& state, const Json& position) const {
  save_storages(file(kCheckpoint), state, {{"position", position.dump()}});
}

Json RunFolder::load_checkpoint(const NamedStorages& state) const {
  if (!has(kCheckpoint)) return {};
  const std::string path = file(kCheckpoint).string();
  const auto metadata = load_storages(path, state);
  const auto position = metadata.find("position");
  require(position != metadata.end(), "{}: is no checkpoint of a run; remove it to start anew", path);
  return parse_json(position->second, path);
}

}  // namespace ladarts
