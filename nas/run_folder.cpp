#include "nas/run_folder.h"

#include "core/error.h"

namespace ladarts {

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

RunFolder::RunFolder(std::filesystem::path path, const Json& config) : path_(std::move(path)) {
  std::error_code ec;
  std::filesystem::create_directories(path_, ec);
  require(!ec, "{}: cannot make the run's folder: {}; choose another --out", path_.string(), ec.message());
  const auto config_file = file("config.json");
  if (!std::filesystem::exists(config_file)) {
    write_json_file(config_file, config);
    return;
  }
  // Through text and back, so that both sides have the number types of a file.
  const std::string difference = first_difference(read_json_file(config_file), Json::parse(config.dump()));
  require(difference.empty(),
          "{}: holds a run with another configuration ({}); choose another folder or remove it",
          path_.string(), difference);
}

}  // namespace ladarts
