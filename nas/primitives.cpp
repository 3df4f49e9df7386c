#include "nas/primitives.h"

#include "core/error.h"

namespace ladarts {

namespace {

using Kind = PrimitiveKind;
constexpr Primitive kPrimitives[] = {
    {"none", Kind::none, 0},
    {"max_pool_3x3", Kind::max_pool, 3},
    {"avg_pool_3x3", Kind::avg_pool, 3},
    {"skip_connect", Kind::skip_connect, 0},
    {"sep_conv_3x3", Kind::sep_conv, 3},
    {"sep_conv_5x5", Kind::sep_conv, 5},
    {"sep_conv_7x7", Kind::sep_conv, 7},
    {"dil_conv_3x3", Kind::dil_conv, 3},
    {"dil_conv_5x5", Kind::dil_conv, 5},
    {"nor_conv_1x1", Kind::nor_conv, 1},
    {"nor_conv_3x3", Kind::nor_conv, 3},
    {"nor_conv_5x5", Kind::nor_conv, 5},
};

}  // namespace

std::span<const Primitive> known_primitives() {
  return kPrimitives;
}

std::string known_primitive_names() {
  std::string names;
  for (const Primitive& p : kPrimitives) names += (names.empty() ? "" : ", ") + std::string(p.name);
  return names;
}

const Primitive& find_primitive(std::string_view name) {
  for (const Primitive& p : kPrimitives)
    if (p.name == name) return p;
  fail("[primitives] '{}' is not known; known are {}", name, known_primitive_names());
}

}  // namespace ladarts
