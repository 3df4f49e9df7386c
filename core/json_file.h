// JSON files: read with errors that name file, line and column; written as a whole.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

#include "core/error.h"

namespace ladarts {

// Keeps the order in which keys were written. Not-a-number and infinities are written as null.
using Json = nlohmann::ordered_json;

// `where` (a file name) begins the message: "space.json:3:14: [json] ...".
Json parse_json(std::string_view text, const std::string& where);
Json read_json_file(const std::filesystem::path& path);
void write_json_file(const std::filesystem::path& path, const Json& value);  // indented; atomic
std::string to_json_line(const Json& value);                                 // no newline; bad UTF-8 replaced

// "string", "number", ... with its article, for messages.
const char* json_kind(const Json& value);

// Reads the fields of a JSON object one by one; errors name the place. finish() refuses fields that nobody
// asked for, so that a misspelt option is not silently ignored. The object must outlive the reader.
class JsonFields {
 public:
  // Throws Error unless `object` is an object. `where`: "run.json: search".
  JsonFields(const Json& object, std::string where);

  bool has(const std::string& key) const { return object_.contains(key); }
  const Json& at(const std::string& key);  // throws Error where it is missing

  template <class T>
  T get(const std::string& key) {
    return convert<T>(key, at(key));
  }
  template <class T>
  T get_or(const std::string& key, T fallback) {
    asked_.insert(key);
    return has(key) ? get<T>(key) : fallback;
  }
  const std::string& where() const { return where_; }
  void finish() const;

 private:
  template <class T>
  T convert(const std::string& key, const Json& value) const;

  const Json& object_;
  std::string where_;
  std::set<std::string> asked_;
};

template <class T>
T JsonFields::convert(const std::string& key, const Json& value) const {
  const char* expected = nullptr;
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) expected = "true or false";
  } else if constexpr (std::is_integral_v<T>) {
    // Beyond its range a number would wrap around in the conversion.
    const bool fits = value.is_number_unsigned()
                          ? std::in_range<T>(value.get<uint64_t>())
                          : value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
    if (!fits) expected = std::is_unsigned_v<T> ? "a whole number, not negative" : "a whole number";
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) expected = "a number";
  }
  require(expected == nullptr, "{}: [json] '{}' should be {}, is {}", where_, key, expected ? expected : "",
          to_json_line(value).substr(0, 80));
  try {
    return value.get<T>();
  } catch (const nlohmann::json::exception&) {
    fail("{}: [json] '{}' has the wrong type, it is {}: {}", where_, key, json_kind(value),
         to_json_line(value).substr(0, 80));
  }
}

}  // namespace ladarts
