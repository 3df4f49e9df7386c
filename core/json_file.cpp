#include "core/json_file.h"

#include <algorithm>

#include "core/atomic_file.h"

namespace ladarts {

namespace {

// "line:column" of a byte, both from one.
std::string position(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1);
  return fmt::format("{}:{}", line, column + 1);
}

// nlohmann's text without its "[json.exception.parse_error.101] parse error at line 1, column 2: ".
std::string_view reason(std::string_view what) {
  const size_t colon = what.find(": ");
  return colon == std::string_view::npos ? what : what.substr(colon + 2);
}

// Values are printed and copied by recursion; what is nested deeper than any real file could exhaust the
// stack.
constexpr int kMaxDepth = 200;

std::string dump(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  const auto limit_depth = [&](int depth, Json::parse_event_t, const Json&) {
    require(depth <= kMaxDepth, "{}: [json] nested more than {} deep", where, kMaxDepth);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), limit_depth);
  } catch (const Json::parse_error& e) {
    // e.byte counts from one and points behind the character that did not fit.
    const size_t byte = e.byte > 0 ? e.byte - 1 : 0;
    fail("{}:{}: [json] {}", where, position(text, byte), reason(e.what()));
  } catch (const Json::exception& e) {  // a number that no type holds
    fail("{}: [json] {}", where, reason(e.what()));
  }
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

void write_json_file(const std::filesystem::path& path, const Json& value) {
  write_file_atomically(path, dump(value, 2) + "\n");
}

std::string to_json_line(const Json& value) {
  return dump(value, -1);
}

const char* json_kind(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "true or false";
    case Json::value_t::null:
      return "null";
    default:
      return "a number";
  }
}

JsonFields::JsonFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  require(object.is_object(), "{}: [json] expected an object, found {}", where_, json_kind(object));
}

const Json& JsonFields::at(const std::string& key) {
  asked_.insert(key);
  const auto it = object_.find(key);
  require(it != object_.end(), "{}: [json] the field '{}' is missing", where_, key);
  return *it;
}

void JsonFields::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (asked_.contains(key)) continue;
    std::string known;
    for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
    fail("{}: [json] unknown field '{}'; known here: {}", where_, key, known.empty() ? "none" : known);
  }
}

}  // namespace ladarts
