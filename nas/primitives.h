// The candidate operations that a search space may offer, by the names of the field.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ladarts {

enum class PrimitiveKind : uint8_t { none, max_pool, avg_pool, skip_connect, sep_conv, dil_conv, nor_conv };

struct Primitive {
  std::string_view name;  // "sep_conv_3x3"
  PrimitiveKind kind;
  int kernel;  // side of the window; 0 where there is none
};

// All known ones.
std::span<const Primitive> known_primitives();
std::string known_primitive_names();  // "none, max_pool_3x3, ..."
// Throws Error listing the known names.
const Primitive& find_primitive(std::string_view name);

}  // namespace ladarts
